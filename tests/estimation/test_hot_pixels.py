"""Noisy and dead pixels are found from the stack itself, and nothing else is taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from napari_unfold.estimation.hot_pixels import PixelNoise, find_hot_pixels
from napari_unfold.imaging.camera import CameraModel, to_photons
from napari_unfold.settings.recipe import Recipe
from napari_unfold.simulation.exposure import expose
from napari_unfold.simulation.scenes import render, simulate

SCMOS = CameraModel(100.0, 2.0, 1.0, 1.5)
EMCCD = CameraModel(100.0, 2.0, 2.0, 0.0)
RECIPE = {"type": "scmos", "offset_adu": 100, "adu_per_photon": 2, "read_noise_photons": 1.5}


def taken(n_frames: int, density: float, camera: CameraModel = SCMOS, seed: int = 0) -> np.ndarray:
    """Return frames in grey values of molecules on filaments, other ones in every frame."""
    kind = "emccd" if camera.excess_noise == 2 else "scmos"
    stated = {**RECIPE, "type": kind, "read_noise_photons": camera.read_noise_photons}
    made = simulate(
        frames=n_frames, density_per_um2=density, molecule_photons=1000, seed=seed,
        recipe=Recipe.model_validate({"camera": stated}),
    )  # fmt: skip
    return made.stack.astype(np.float32)


def found_in(grey: np.ndarray, camera: CameraModel = SCMOS) -> tuple[PixelNoise, np.ndarray]:
    noise = find_hot_pixels(to_photons(grey, camera), camera)
    return noise, (noise.extra_variance > 0) | noise.unusable


@pytest.mark.parametrize("camera", [SCMOS, EMCCD], ids=["scmos", "emccd"])
@pytest.mark.parametrize("n_frames", [1, 2, 10, 100])
@pytest.mark.parametrize("density", [0.2, 3, 6])
def test_light_of_molecules_makes_no_pixel_noisy(camera, n_frames, density) -> None:
    _, found = found_in(taken(n_frames, density, camera), camera)
    assert found.mean() < 1e-3


def test_molecules_that_never_go_out_and_lit_filaments_make_no_pixel_noisy() -> None:
    rng = np.random.default_rng(3)
    place = rng.uniform(300, 6100, (150, 2))
    y = np.linspace(500, 5900, 400)
    filament = np.stack([y, 3200 + 900 * np.sin(y / 900)], axis=1)
    y_nm, x_nm = np.concatenate([place, filament]).T
    photons = np.repeat([900.0, 150.0], [150, 400])
    light = render(y_nm, x_nm, photons, (64, 64), 100.0, 110.0)
    for n_frames in (10, 80):
        grey = expose(np.broadcast_to(light + 20, (n_frames, 64, 64)), SCMOS, rng)
        assert not found_in(grey.astype(np.float32))[1].any()


@pytest.mark.parametrize("n_frames", [10, 100])
@pytest.mark.parametrize("density", [0.2, 3])
def test_one_hot_pixel_is_found_and_no_other(n_frames, density) -> None:
    grey = taken(n_frames, density)
    grey[:, 20, 40] += np.random.default_rng(1).poisson(2000, n_frames)
    noise, found = found_in(grey)
    assert noise.unusable[20, 40]
    assert found.sum() == 1


def test_how_noisy_a_pixel_is_comes_out_within_the_error_of_a_variance() -> None:
    n_frames = 200
    rng = np.random.default_rng(2)
    grey = taken(n_frames, 0.2)
    variance = np.array([60.0, 150.0, 400.0, 2500.0])
    places = [(10, 10), (30, 50), (45, 13), (60, 0)]
    for place, v in zip(places, variance, strict=True):
        grey[:, *place] += rng.normal(0, 2 * np.sqrt(v), n_frames)
    noise, found = found_in(grey)
    assert set(map(tuple, np.argwhere(found))) == set(places)
    measured = np.array([noise.extra_variance[place] for place in places])
    # photons of 20 of background and of molecules scatter too: 60 photons squared at most
    error = (variance + 60) * np.sqrt(2 / n_frames)
    np.testing.assert_array_less(abs(measured - variance), 4 * error)


@pytest.mark.parametrize("value", [0.0, 140.0, 65535.0])
def test_dead_and_stuck_pixels_and_rows_tell_nothing(value) -> None:
    grey = taken(30, 2)
    dead = np.zeros((64, 64), bool)
    dead[21:23] = dead[50, 50] = dead[0, 0] = dead[63, 10] = True
    grey[:, dead] = value
    noise, found = found_in(grey)
    assert noise.unusable[dead].all()
    assert not found[~dead].any()


def test_a_wrong_gain_or_read_noise_does_not_matter() -> None:
    grey = taken(60, 1)
    grey[:, 5, 7] += np.random.default_rng(1).normal(0, 100, 60)
    for camera in (CameraModel(100.0, 4.0, 1.0, 0.0), CameraModel(100.0, 1.0, 1.0, 8.0)):
        _, found = found_in(grey, camera)
        assert list(map(tuple, np.argwhere(found))) == [(5, 7)]


def test_neighbours_stand_for_what_tells_nothing_and_noisy_pixels_count_for_less() -> None:
    grey = taken(100, 0.2)
    rng = np.random.default_rng(1)
    grey[:, 5, 7] += rng.normal(0, 200, 100)
    grey[:, 9, 30] += rng.normal(0, 20, 100)
    noise, _ = found_in(grey)
    camera = noise.added_to(SCMOS)
    assert (camera.read_variance[5, 7], camera.read_variance[0, 0]) == (1e5, pytest.approx(2.25))
    assert 40 < camera.read_variance[9, 30] < 200
    photons = to_photons(grey, camera)
    assert photons[:, 5, 7].std() < 0.4 * to_photons(grey, SCMOS)[:, 5, 7].std()
    np.testing.assert_array_equal(photons[:, 9, 30], to_photons(grey, SCMOS)[:, 9, 30])
    assert "2 of 4096 pixels" in noise.sentence()


def test_a_stack_without_noisy_pixels_leaves_the_camera_alone() -> None:
    noise, _ = found_in(taken(20, 1))
    assert noise.added_to(SCMOS) is SCMOS
    assert noise.sentence() == ""


def test_a_simulation_without_any_background_has_no_dead_pixels() -> None:
    light = render(
        np.array([1500.0]), np.array([1700.0]), np.array([2000.0]), (32, 32), 100.0, 110.0
    )
    light[light < 1] = 0
    perfect = CameraModel(0.0, 4.0, 2.0, 0.0)
    grey = expose(np.broadcast_to(light, (50, 32, 32)), perfect, np.random.default_rng(0))
    assert not found_in(grey.astype(np.float32), perfect)[1].any()
