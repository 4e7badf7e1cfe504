"""Frames that look like those of a stack, against a stack whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_unfold.estimation.lamp import Lamp
from napari_unfold.estimation.observe import MoleculeObservation
from napari_unfold.imaging.camera import CameraModel
from napari_unfold.imaging.forward import forward_operator
from napari_unfold.imaging.psf import GaussianPSF
from napari_unfold.learning.look_alike import (
    chosen_tiles,
    full_frame_brightness,
    look_alikes,
    part_shares,
    sharpened,
)
from napari_unfold.localization.brightness import BrightnessPrior, LearnedBrightness
from napari_unfold.localization.profiles import GaussianSpot
from napari_unfold.simulation.scenes import SEEN_SHARE, render
from napari_unfold.simulation.simulated_microscope import SCMOS_MICROSCOPE
from napari_unfold.simulation.switching import Switching

SIGMA_PX, PIXEL_NM = 1.1, 100.0


def observation(shape: tuple[int, int] = (48, 64), per_pixel: float = 0.02) -> MoleculeObservation:
    """Return what is known of a stack of molecules of 1000 photons, spread evenly."""
    rows, columns = np.indices(shape)
    return MoleculeObservation(
        frames=(0, 10),
        shape=shape,
        recipe=SCMOS_MICROSCOPE,
        camera=CameraModel(
            np.full(shape, 100, np.float32) + rows.astype(np.float32),
            2.0,
            1.0,
            np.full(shape, 1.5, np.float32),
        ),
        background=(10.0 + columns).astype(np.float32),
        notes=[],
        psf=GaussianPSF(SIGMA_PX),
        spot=GaussianSpot(SIGMA_PX),
        molecule_photons=1000.0,
        brightness=BrightnessPrior(1000.0, 0.2),
        detection_limit_photons=50.0,
        crowding=np.full(shape, per_pixel * 4.0 * np.pi * SIGMA_PX**2, np.float32),
        lamp=Lamp(),
        refined=False,
    )


@pytest.mark.slow
def test_a_part_has_the_background_the_camera_and_the_light_of_its_place() -> None:
    seen = observation()
    for part in look_alikes(seen, None, 3):
        made = part.record(400, seed=1)
        mean_adu = made.stack.mean(axis=0)
        expected = 0.02 * 1000.0 + seen.background[part.region]
        offset = np.asarray(seen.camera.offset_adu)[part.region]
        # 8 molecules of 1000 photons a pixel in 400 frames: the mean over rows or columns
        for axis in (0, 1):
            measured = (mean_adu - offset).mean(axis) / 2.0
            np.testing.assert_allclose(measured, expected.mean(axis), rtol=0.35, atol=4.0)
        assert (mean_adu - offset).mean() / 2.0 == pytest.approx(expected.mean(), rel=0.03)


def test_the_truth_is_what_is_in_the_frames() -> None:
    (part,) = look_alikes(observation((32, 32)), None, 1)
    made = part.record(60, seed=2)
    light = sum(
        render(
            table["y_nm"].to_numpy(), table["x_nm"].to_numpy(), table["photons"].to_numpy(),
            (32, 32), PIXEL_NM, SIGMA_PX * PIXEL_NM,
        )
        for _, table in made.truth.groupby("frame")
    )  # fmt: skip
    photons = (made.stack - np.asarray(part.seen.camera.offset_adu)) / 2.0 - made.background
    inner = (slice(4, -4), slice(4, -4))  # others shine in from outside
    assert np.corrcoef(light[inner].ravel(), photons.sum(axis=0)[inner].ravel())[0, 1] > 0.98
    assert made.truth["x_nm"].between(0, 3200).all()


def test_the_same_seed_gives_the_same_frames_and_another_others() -> None:
    (part,) = look_alikes(observation((32, 32)), 3.0, 1)
    one, again, other = (part.record(4, seed).stack for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


@pytest.mark.slow
def test_molecules_stay_on_as_long_as_was_seen() -> None:
    (part,) = look_alikes(observation((32, 32), per_pixel=0.05), 4.0, 1)
    rows = part.record(200, seed=3).truth.groupby("track").size()
    # of an exponential time of 4 frames, 5 frames see more than a part; long gaps lie between
    assert 3.5 < rows.mean() / (200 / (4.0 * 51) + 1) < 6.0


def test_molecules_lie_where_the_light_of_the_stack_comes_from() -> None:
    truth = torch.zeros(128, 128)
    truth[24:104:16, 40] = 5.0
    operator = forward_operator((32, 32), 4, GaussianPSF(SIGMA_PX))
    light = operator.forward(truth)
    found = sharpened(operator, light)
    assert found.sum() == pytest.approx(float(truth.sum()), rel=1e-3)
    assert (found >= 0).all()
    spread = [
        float((image.sum(0) * (torch.arange(len(image)) * 32 / len(image) - 10.0) ** 2).sum())
        / float(image.sum())
        for image in (found, light)
    ]
    assert spread[0] < 0.6 * spread[1]


def test_parts_are_chosen_by_the_molecules_they_hold() -> None:
    crowding = np.full((32, 96), 0.1)
    crowding[:, 64:] = 10.0
    tiles = chosen_tiles(crowding, 3)
    assert tiles == [(slice(0, 32), slice(64, 96))]  # nearly all are there
    assert len(chosen_tiles(np.ones((32, 96)), 3)) == 3
    assert chosen_tiles(np.ones((20, 24)), 3) == [(slice(0, 20), slice(0, 24))]


def test_light_of_whole_frames_is_told_from_that_of_parts() -> None:
    rng = np.random.default_rng(5)
    on_frames, whole = 2.0, 1200.0
    _, _, share = Switching(on_frames, 50 * on_frames).on_shares(4000, 40, rng)
    rows = whole * share[share >= SEEN_SHARE] * rng.normal(1.0, 0.05, (share >= SEEN_SHARE).sum())
    learned = LearnedBrightness(rows, np.ones(len(rows)), lambda photons: 0.05 * photons)
    seen = replace(observation(), brightness=learned, molecule_photons=float(rows.mean()))
    assert rows.mean() < 0.8 * whole
    assert full_frame_brightness(seen, on_frames).photons == pytest.approx(whole, rel=0.05)
    # where every frame shows other molecules, what was seen is the light of whole frames
    assert full_frame_brightness(seen, None).photons == pytest.approx(float(rows.mean()))


def test_the_shares_of_frames_are_those_of_the_switching() -> None:
    assert part_shares(5.0).sum() == pytest.approx(1.0)
    # the longer molecules stay on, the more frames are lit throughout
    assert part_shares(1.0)[-1] < part_shares(5.0)[-1] < part_shares(20.0)[-1]
