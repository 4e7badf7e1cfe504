"""Whole acquisitions: the light, the truth and the maps are as asked for."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from napari_unfold.errors import InputError
from napari_unfold.settings.simulation import Instrument, Sample
from napari_unfold.simulation.brightness import Brightness
from napari_unfold.simulation.scenes import SEEN_SHARE, acquire, drift, simulate
from napari_unfold.simulation.sensor import HOT_READ_NOISE, sensor
from napari_unfold.simulation.simulated_microscope import SCMOS, SCMOS_MICROSCOPE
from napari_unfold.simulation.structures import structure
from napari_unfold.simulation.uneven_background import background_map, fading, flicker


def sample(**settings):
    return Sample.model_validate({"scene": "random", "seed": 3, **settings})


def photons_of(made):
    camera = made.camera
    return (made.stack.astype(float) - camera.offset_adu) / camera.adu_per_photon


def test_without_more_it_is_the_stack_of_independent_frames():
    made = acquire(sample(scene="filaments", frames=4))
    same = simulate("filaments", frames=4, seed=3)
    assert np.array_equal(made.stack, same.stack)
    assert made.truth.equals(same.truth)
    assert made.truth["track"].is_unique


@pytest.mark.parametrize("distribution", ["gamma", "log-normal", "exponential"])
def test_brightness_has_its_mean_and_spread(distribution):
    photons = Brightness(800.0, 0.5, distribution).draw(200_000, np.random.default_rng(0))
    assert photons.min() > 0
    assert photons.mean() == pytest.approx(800, rel=0.01)
    spread = 1.0 if distribution == "exponential" else 0.5
    assert photons.std() / photons.mean() == pytest.approx(spread, rel=0.02)


def test_log_normal_brightness_is_symmetric_on_a_logarithmic_scale():
    light = np.log(Brightness(800.0, 0.5, "log-normal").draw(100_000, np.random.default_rng(0)))
    assert light.mean() == pytest.approx(np.median(light), abs=0.01)


def test_a_molecule_that_stays_on_is_one_molecule_of_one_brightness():
    made = acquire(sample(frames=100, on_frames=6, off_frames=60, brightness_spread=0.4))
    full = 0
    for _, rows in made.truth.groupby("track"):
        assert rows["x_nm"].nunique() == rows["y_nm"].nunique() == 1
        brightest = rows["photons"].max()
        # whole frames between a beginning and an end are equally bright
        full += np.isclose(rows["photons"], brightest).sum()
        assert (rows["photons"] >= SEEN_SHARE * brightest * (1 - 1e-9)).all()
    assert full > 0.6 * len(made.truth)


@pytest.mark.parametrize(("on", "off"), [(0.7, 20.0), (4.0, 96.0)])
def test_as_many_molecules_are_on_as_asked_and_give_their_light(on, off):
    made = acquire(
        sample(frames=200, on_frames=on, off_frames=off, density_per_um2=2, molecule_photons=700),
        seen_share=0.0,
    )
    at_a_time = 2 * 6.4**2
    assert made.truth["photons"].sum() / 200 == pytest.approx(700 * at_a_time, rel=0.06)
    budget = 700 * at_a_time + 20 * 64**2
    assert photons_of(made).sum() / 200 == pytest.approx(budget, rel=0.05)


def test_the_truth_leaves_out_short_glimpses_only():
    settings = sample(frames=50, on_frames=2, off_frames=30)
    everything = acquire(settings, seen_share=0.0).truth
    half = acquire(settings, seen_share=0.5).truth
    assert 0 < len(half) < len(everything)
    assert len(half.merge(everything, on=["frame", "track", "photons"])) == len(half)


def test_what_cannot_be_held_is_refused():
    with pytest.raises(InputError, match="more than can be simulated"):
        acquire(sample(on_frames=1, off_frames=1e6, density_per_um2=10))
    with pytest.raises(InputError, match="a background of"):
        acquire(sample(background="cells", background_photons=1e5, background_contrast=1000))


def test_bleaching_leaves_fewer_molecules():
    made = acquire(
        sample(frames=101, on_frames=2, off_frames=20, bleaching_frames=50, density_per_um2=6),
        seen_share=0.0,
    )
    light = made.truth.groupby("frame")["photons"].sum()
    late, early = light.loc[80:100].mean(), light.loc[0:20].mean()
    assert late / early == pytest.approx(np.exp(-80 / 50), rel=0.15)


def test_clusters_are_denser_than_chance():
    rng = np.random.default_rng(0)
    points = structure("clusters", np.array([6400.0, 6400.0]), rng)(4000, rng)
    counts = np.histogram2d(*points.T, bins=32)[0]
    assert counts.var() / counts.mean() > 5  # a Poisson process has 1


@pytest.mark.parametrize("name", ["gradient", "cells"])
def test_uneven_background_runs_from_the_darkest_to_the_brightest_place(name):
    light = background_map(name, (64, 48), 100.0, 12.0, 6.0, np.random.default_rng(1))
    assert light.shape == (64, 48)
    assert light.min() == pytest.approx(12)
    assert light.max() == pytest.approx(72)


def test_cells_have_blurred_edges():
    """A step blurred by sigma rises by at most its height over ``sqrt(2 pi) sigma`` a pixel."""
    light = background_map("cells", (128, 128), 100.0, 10.0, 2.0, np.random.default_rng(1))
    steepest = np.hypot(*np.gradient(light)).max()
    assert steepest < 2 * 10 / (np.sqrt(2 * np.pi) * 3.0)  # brightness of cells may add up
    assert np.ptp(light) == pytest.approx(10)


def test_the_background_fades_and_the_lamp_flickers():
    assert fading(101, 50.0)[[0, 50, 100]] == pytest.approx(np.exp([0.0, -1.0, -2.0]))
    assert (fading(10, None) == 1).all()
    light = flicker(50_000, 0.1, np.random.default_rng(0))
    assert light.mean() == pytest.approx(1, abs=0.002)
    assert light.std() == pytest.approx(0.1, rel=0.02)
    made = acquire(
        sample(
            frames=60, density_per_um2=0, background="gradient", background_contrast=4,
            background_bleaching_frames=100, lamp_flicker=0.1,
        ),
        recipe=SCMOS_MICROSCOPE,
    )  # fmt: skip
    expected = made.background * made.background_course[:, None, None]
    seen = photons_of(made)
    assert seen.mean(axis=(1, 2)) == pytest.approx(expected.mean(axis=(1, 2)), rel=0.02)
    deviation = (seen - expected) / np.sqrt(expected + 1.5**2)
    assert deviation.var() == pytest.approx(1, abs=0.03)
    assert made.recipe.background.photons == pytest.approx(expected.mean(), rel=1e-2)


def test_a_flickering_lamp_dims_molecules_too():
    steady, flickering = (
        acquire(sample(frames=20, on_frames=3, lamp_flicker=spread)) for spread in (0.0, 0.3)
    )
    light, dimmed = (m.truth.groupby("frame")["photons"].sum() for m in (steady, flickering))
    assert flickering.lamp.std() > 0.1
    np.testing.assert_allclose(dimmed / light, flickering.lamp)


def test_drift_moves_all_molecules_of_a_frame_alike():
    way = drift(40, 300.0, np.random.default_rng(2))
    assert way[0] == pytest.approx([0.0, 0.0])
    assert np.hypot(*way[-1]) == pytest.approx(300.0)
    settings = {"frames": 40, "on_frames": 10, "off_frames": 40}
    still = acquire(sample(**settings), seen_share=0.0)
    moved = acquire(sample(**settings, drift_nm=300.0), seen_share=0.0)
    pairs = moved.truth.merge(still.truth, on=["frame", "track"])
    assert len(pairs) > 0.9 * len(still.truth)  # a few leave the field
    shift = moved.drift_nm[pairs["frame"]]
    np.testing.assert_allclose(pairs["y_nm_x"] - pairs["y_nm_y"], shift[:, 0], atol=1e-9)
    np.testing.assert_allclose(pairs["x_nm_x"] - pairs["x_nm_y"], shift[:, 1], atol=1e-9)


def test_surroundings_do_not_change_the_molecules():
    plain = acquire(sample(frames=10, on_frames=2))
    uneven = acquire(
        sample(frames=10, on_frames=2, background="cells", depth_nm=200),
        Instrument(psf="airy", hot_pixels=0.02),
    )
    assert plain.truth.equals(uneven.truth)


def test_pixels_of_a_sensor_scatter_as_asked():
    instrument = Instrument(gain_spread=0.05, offset_spread_adu=4, hot_pixels=0.03)
    maps = sensor(SCMOS, instrument, (300, 300), np.random.default_rng(0))
    assert maps.offset_adu.mean() == pytest.approx(100, abs=0.1)
    assert maps.offset_adu.std() == pytest.approx(4, rel=0.02)
    assert np.log(maps.adu_per_photon / 2).std() == pytest.approx(0.05, rel=0.02)
    hot = maps.read_noise_photons > 3 * 1.5
    assert hot.mean() == pytest.approx(0.03, abs=0.002)
    assert np.median(maps.read_noise_photons) == pytest.approx(1.5, rel=0.02)
    assert maps.read_noise_photons.max() < 1.6 * 1.5 * HOT_READ_NOISE[1]
    assert sensor(SCMOS, Instrument(), (8, 8), np.random.default_rng(0)) is None


def test_every_pixel_has_the_mean_and_the_variance_of_its_maps():
    """Photon transfer of each pixel: mean ``offset + gain b``, variance ``gain^2 b + read``."""
    made = acquire(
        sample(frames=3000, height_px=16, width_px=16, density_per_um2=0, background_photons=40),
        Instrument(gain_spread=0.1, offset_spread_adu=5, hot_pixels=0.05),
        recipe=SCMOS_MICROSCOPE,
    )
    maps, stack = made.sensor, made.stack.astype(float)
    variance = maps.adu_per_photon**2 * 40 + maps.variance_adu2
    usual = variance < 40**2  # the noise of others may leave the range of grey values
    assert usual.mean() > 0.9
    mean_error = (stack.mean(0) - maps.offset_adu - maps.adu_per_photon * 40)[usual]
    assert np.abs(mean_error / np.sqrt(variance[usual] / 3000)).max() < 5
    ratio = stack.var(0)[usual] / variance[usual]
    np.testing.assert_allclose(ratio, 1, atol=5.5 * np.sqrt(2 / 3000))


def test_the_recipe_names_the_gaussian_most_like_an_airy_pattern():
    made = acquire(sample(frames=1), Instrument(psf="airy"))
    assert made.recipe.optics.psf_sigma_nm == pytest.approx(0.21 * 600 / 1.4, rel=0.03)


@pytest.mark.parametrize(
    ("stack", "on", "full"), [("blink_dense", 4, 1100), ("persistent", 12, 900)]
)
def test_light_and_length_of_tracks_are_those_of_another_simulator(shared_data, stack, on, full):
    """Of storm-analysis, with the same exponential times."""
    theirs = pd.read_csv(shared_data / "acquisitions" / f"{stack}_truth.csv")
    ours = acquire(
        sample(
            frames=150, on_frames=on, off_frames=49 * on, density_per_um2=4,
            molecule_photons=full, brightness_spread=0,
        )
    ).truth  # fmt: skip
    assert stats.ks_2samp(theirs["photons"], ours["photons"]).statistic < 0.02
    lengths = theirs.groupby(["x_nm", "y_nm"]).size(), ours.groupby("track").size()
    assert lengths[1].mean() == pytest.approx(lengths[0].mean(), rel=0.05)
