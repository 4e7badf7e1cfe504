"""The PSF measured on the lone spots of a stack: simulated with other PSFs than the stated one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import j1

from napari_unfold.estimation.psf_from_stack import LoneSpots, spot_from_stack, tail_light
from napari_unfold.imaging.psf import measured_psf
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.profiles import GaussianSpot, Spot, product, spot_of
from napari_unfold.localization.refine import fit
from napari_unfold.localization.spots import Molecules, SpotModel

BACKGROUND = 10.0
SIDE, FRAMES, A_FRAME = 40, 16, 12


def airy() -> Spot:
    """Return Airy's pattern for an oil objective: the first dark ring at 2.6 pixels."""
    at = np.arange(-96, 97) / 8
    v = 3.8317 * np.hypot(at[:, None], at) / 2.6 + 1e-9
    return spot_of(measured_psf((2 * j1(v) / v) ** 2, 12.5, 100.0))


def fitted(true: Spot, stated: Spot, photons: float = 3000.0, seed: int = 0) -> LoneSpots:
    """Return frames with Poisson noise of molecules of one PSF, fitted with another."""
    generator = torch.Generator().manual_seed(seed)
    frame = torch.arange(FRAMES).repeat_interleave(A_FRAME)
    position = 1.0 + (SIDE - 2.0) * torch.rand(len(frame), 2, generator=generator)
    molecules = Molecules(frame, position, torch.full((len(frame),), photons))
    model = SpotModel((FRAMES, SIDE, SIDE), true)
    model.locate(molecules)
    y = torch.poisson(model.light(molecules) + BACKGROUND, generator=generator)
    frames = Frames(y, torch.full_like(y, BACKGROUND), stated)
    return LoneSpots.of(frames, fit(molecules, frames, 10))


def image(spot: Spot, reach: int = 6) -> np.ndarray:
    """Return the shares of the pixels around a molecule in the middle of one."""
    pixels = torch.arange(-reach, reach + 1)[None]
    middle = torch.full((1,), 0.5, dtype=torch.float64)
    y, x = (spot.profiles(axis, pixels, middle)[0] for axis in (0, 1))
    return product(y, x)[0].numpy()


def nearer(found: Spot, stated: Spot, true: Spot) -> float:
    """Return the error of the image that was found, in units of that of the stated one."""
    images = [image(spot) for spot in (found, stated, true)]
    shapes = [i / np.linalg.norm(i) for i in images]  # the light far out is not known
    return float(np.linalg.norm(shapes[0] - shapes[2]) / np.linalg.norm(shapes[1] - shapes[2]))


def test_rings_are_found() -> None:
    true, stated = airy(), GaussianSpot(0.87)
    found = spot_from_stack(fitted(true, stated))
    assert found is not None
    assert nearer(found, stated, true) < 0.3
    assert tail_light(found) > 4 * tail_light(stated)


@pytest.mark.parametrize("wrong", [0.93, 1.07])
def test_a_width_stated_wrongly_is_found(wrong: float) -> None:
    true = GaussianSpot(1.1)
    found = spot_from_stack(fitted(true, GaussianSpot(wrong * 1.1)))
    assert found is not None
    assert found.sigma_px == pytest.approx(1.1, rel=0.02)


def test_an_ellipse_is_found() -> None:
    """The same Gaussian on pixels that are not square."""

    class Ellipse(GaussianSpot):
        def profiles(self, axis, pixels, position):
            return GaussianSpot((1.0, 1.2)[axis]).profiles(axis, pixels, position)

    true, stated = Ellipse(1.1), GaussianSpot(1.1)
    found = spot_from_stack(fitted(true, stated))
    assert found is not None
    assert nearer(found, stated, true) < 0.4


@pytest.mark.parametrize("seed", range(4))
def test_the_right_gaussian_stays(seed: int) -> None:
    stated = GaussianSpot(1.1)
    assert spot_from_stack(fitted(stated, stated, seed=seed)) is None


def test_a_few_spots_tell_no_shape() -> None:
    lone = fitted(airy(), GaussianSpot(0.87))
    few = LoneSpots(lone.frames, lone.molecules, lone.alone & (torch.arange(len(lone.alone)) < 20))
    assert spot_from_stack(few) is None


def test_spots_near_others_or_the_border_or_too_bright_do_not_count() -> None:
    y = torch.zeros(1, 40, 40)
    position = torch.tensor([[10.0, 10], [10, 12], [30, 30], [0.5, 20], [20, 30], [30, 10]])
    photons = torch.tensor([100.0, 100, 100, 100, 400, 100])
    molecules = Molecules(torch.zeros(6, dtype=torch.long), position, photons)
    lone = LoneSpots.of(Frames(y, y, GaussianSpot(1.0)), molecules)
    assert lone.alone.tolist() == [False, False, True, False, False, True]
