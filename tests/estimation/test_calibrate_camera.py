"""Maps from dark and lit stacks, against the camera that took them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_unfold.errors import InputError
from napari_unfold.estimation.calibrate_camera import calibrate_camera
from napari_unfold.files.stacks import as_stack
from napari_unfold.imaging.camera import CameraModel
from napari_unfold.jobs import run_to_end
from napari_unfold.simulation.exposure import expose

SHAPE = (20, 30)
RNG = np.random.default_rng(0)
OFFSET = RNG.normal(1000, 3, SHAPE)
GAIN = RNG.normal(2.0, 0.2, SHAPE)
READ_NOISE = RNG.gamma(20, 0.1, SHAPE) * np.where(RNG.random(SHAPE) < 0.03, 20, 1)


def camera(excess_noise: float = 1.0) -> CameraModel:
    return CameraModel(OFFSET, GAIN, excess_noise, READ_NOISE)


def taken(photons: float, n: int, excess_noise: float = 1.0, flicker: float = 0.0) -> np.ndarray:
    lamp = 1 + flicker * RNG.standard_normal((n, 1, 1))
    mean = photons * lamp * np.ones(SHAPE)
    return expose(mean, camera(excess_noise), np.random.default_rng(int(photons) + n))


def calibrated(dark: np.ndarray, *flats: np.ndarray, excess_noise: float = 1.0):
    stacks = [as_stack(flat, f"flat {i}") for i, flat in enumerate(flats)]
    return run_to_end(calibrate_camera(as_stack(dark, "dark"), stacks, excess_noise))


@pytest.fixture(scope="module")
def dark() -> np.ndarray:
    return taken(0, 2000)


def test_offset_and_variance_are_recovered_within_their_errors(dark) -> None:
    maps = calibrated(dark)
    assert maps.gain is None
    variance = (READ_NOISE * GAIN) ** 2 + 1 / 12  # of rounding to whole grey values
    offset_z = (maps.offset - OFFSET) / np.sqrt(variance / 2000)
    variance_z = (maps.variance / variance - 1) / np.sqrt(2 / 2000)
    for z in (offset_z, variance_z):
        assert abs(z.mean()) < 4 / np.sqrt(z.size)
        assert z.std() == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("flicker", [0.0, 0.01])
def test_the_gain_of_each_pixel_is_recovered_within_its_error(dark, flicker) -> None:
    flats = [taken(photons, 400, flicker=flicker) for photons in (30, 200, 1000, 5000)]
    maps = calibrated(dark, *flats)
    left = maps.gain / GAIN - 1
    usual = READ_NOISE < 5
    assert abs(left[usual].mean()) < 0.01
    assert left[usual].std() < np.sqrt(2 / 1600) * 1.15
    assert np.corrcoef(maps.gain[usual], GAIN[usual])[0, 1] > 0.9


def test_where_pixels_are_alike_few_frames_do_not_make_them_differ(dark) -> None:
    even = CameraModel(OFFSET, 2.0, 1.0, READ_NOISE)
    flat = expose(np.full((50, *SHAPE), 1000.0), even, np.random.default_rng(3))
    maps = calibrated(dark, flat)
    # one would scatter by sqrt(2 / 50), a fifth
    assert (maps.gain / 2 - 1).std() < 0.1


def test_an_em_register_is_taken_into_account(dark) -> None:
    flats = [taken(photons, 300, excess_noise=2.0) for photons in (300, 1500)]
    maps = calibrated(dark, *flats, excess_noise=2.0)
    assert np.median(maps.gain / GAIN) == pytest.approx(1, abs=0.02)


def test_memory_does_not_depend_on_how_much_is_read_at_once(dark, monkeypatch) -> None:
    flat = taken(500, 60)
    whole = calibrated(dark[:60], flat)
    monkeypatch.setattr("napari_unfold.estimation.calibrate_camera.BATCH_PIXELS", 600 * 7)
    parts = calibrated(dark[:60], flat)
    for name, values in whole.given.items():
        np.testing.assert_allclose(parts.given[name], values, rtol=1e-5)


def test_what_is_no_calibration_is_refused(dark) -> None:
    short, small = dark[:3], dark[:50, :10]
    bright = np.full((50, *SHAPE), 65535, np.uint16)
    for stacks, problem in (
        ((short,), "too few"),
        ((dark, short), "too few"),
        ((dark, small), "frames of 10 x 30 pixels"),
        ((dark, dark), "no brighter than the dark"),
        ((dark, bright), "saturated"),
    ):
        with pytest.raises(InputError, match=problem) as error:
            calibrated(*stacks)
        assert error.value.remedy
