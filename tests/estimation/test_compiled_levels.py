"""The levels of dark pixels are the same compiled as in the form that is to be read."""

import numpy as np
import pytest

from napari_unfold.estimation import lamp
from napari_unfold.estimation.dark_levels import dark_shifts, shifts_in_windows
from napari_unfold.imaging.camera import CameraModel
from napari_unfold.localization import kernels

SHAPE = (30, 24, 31)
WINDOWS = [slice(0, 6), slice(3, 9), slice(18, 24)], [slice(0, 7), slice(24, 31)]


def scene(seed, excess_noise):
    """Frames with a few bright places, their background, light and factors, and a camera."""
    rng = np.random.default_rng(seed)
    read_noise = rng.uniform(0.5, 3.0, SHAPE[1:]).astype(np.float32)
    camera = CameraModel(100.0, 1.0, excess_noise, read_noise)
    background = rng.uniform(10.0, 40.0, SHAPE[1:]).astype(np.float32)
    light = (rng.uniform(0.0, 1.0, SHAPE) ** 12 * 300.0).astype(np.float32)
    factors = rng.uniform(0.8, 1.2, SHAPE[0]).astype(np.float32)
    mean = background * factors[:, None, None] + light
    photons = rng.poisson(mean) + rng.normal(0.0, 1.0, SHAPE) * read_noise
    return photons.astype(np.float32), background, light, factors, camera


@pytest.mark.skipif(not kernels.AVAILABLE, reason="needs numba")
@pytest.mark.parametrize("excess_noise", [1.0, 2.0])
@pytest.mark.parametrize("off", [-5.0, 0.0, 5.0])
def test_shifts_in_windows(excess_noise, off):
    photons, background, light, factors, camera = scene(3, excess_noise)
    for known in ({}, {"light": light}, {"light": light, "factors": factors}):
        given = (photons, background + off, camera, WINDOWS)
        here = shifts_in_windows(*given, **known)
        assert here == pytest.approx(dark_shifts(*given, **known), abs=1e-3)


@pytest.mark.skipif(not kernels.AVAILABLE, reason="needs numba")
def test_windows_that_molecules_cover_tell_nothing():
    photons, background, light, _, camera = scene(4, 1.0)
    shifts = shifts_in_windows(photons, background, camera, WINDOWS, light + 100.0)
    assert (shifts == 0.0).all()


@pytest.mark.skipif(not kernels.AVAILABLE, reason="needs numba")
def test_levels_of_frames(monkeypatch):
    photons, background, _, _, camera = scene(5, 1.5)
    compiled = lamp.levels(photons, background, camera)
    monkeypatch.setattr(kernels, "AVAILABLE", False)
    # as fine as the bisection is
    assert compiled == pytest.approx(lamp.levels(photons, background, camera), rel=1e-3)
