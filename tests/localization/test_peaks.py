"""Peaks are the same compiled, in single precision, as in torch, in double precision."""

import pytest
import torch

from napari_unfold.localization import kernels
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.peaks import find_spots, residual_peaks
from napari_unfold.localization.profiles import GaussianSpot

pytestmark = pytest.mark.skipif(not kernels.AVAILABLE, reason="needs numba")


def assert_alike(compiled, exact):
    assert compiled.frame.tolist() == exact.frame.tolist()
    assert torch.allclose(compiled.table.double(), exact.table, rtol=1e-4, atol=1e-4)
    assert len(exact) > 10


@pytest.mark.parametrize("sigma_px", [0.8, 1.3])
def test_of_what_is_left(sigma_px):
    draw = torch.Generator().manual_seed(1)
    b = 5.0 + 20.0 * torch.rand(3, 40, 33, generator=draw, dtype=torch.float64)
    light = 60.0 * torch.rand(3, 40, 33, generator=draw, dtype=torch.float64) ** 8
    spots = 120.0 * torch.rand(3, 40, 33, generator=draw, dtype=torch.float64) ** 20
    y = torch.poisson(b + light + spots, generator=draw)

    def peaks(dtype):
        frames = Frames(y.to(dtype), b.to(dtype), GaussianSpot(sigma_px), 1.4, 2.0)
        return residual_peaks(frames, light.to(dtype))

    assert_alike(peaks(torch.float32), peaks(torch.float64))


def test_of_the_reconstruction():
    draw = torch.Generator().manual_seed(2)
    x = torch.rand(4, 60, 48, generator=draw, dtype=torch.float64)
    x = 500.0 * x * (torch.rand(x.shape, generator=draw) < 0.06)
    assert_alike(find_spots(x.float(), 200.0, 4), find_spots(x, 200.0, 4))


def test_dark_frames_have_none():
    assert len(find_spots(torch.zeros(2, 16, 16), 1.0, 4)) == 0
