"""The PSF from simulated beads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import j1

from napari_unfold.errors import InputError
from napari_unfold.estimation.beads import measure_beads
from napari_unfold.imaging.psf import measured_psf
from napari_unfold.localization.profiles import GaussianSpot, Spot, product, spot_of
from napari_unfold.localization.spots import Molecules, SpotModel

SIDE = 110


def airy() -> Spot:
    """Return Airy's pattern for an oil objective: the first dark ring at 2.6 pixels."""
    at = np.arange(-96, 97) / 8
    v = 3.8317 * np.hypot(at[:, None], at) / 2.6 + 1e-9
    return spot_of(measured_psf((2 * j1(v) / v) ** 2, 12.5, 100.0))


def recording(spot: Spot, places: list[tuple[float, float, float]]) -> np.ndarray:
    """Return 5 frames of beads at y, x with so many photons, 2 ADU/photon above 100 ADU."""
    table = torch.tensor(places)
    model = SpotModel((1, SIDE, SIDE), spot)
    beads = Molecules(torch.zeros(len(table), dtype=torch.long), table[:, :2], table[:, 2])
    model.locate(beads)
    mean = model.light(beads)[0].numpy() + 30.0
    return (100 + 2 * np.random.default_rng(0).poisson(mean, (5, SIDE, SIDE))).astype(np.uint16)


def grid(photons: float = 2e4) -> list[tuple[float, float, float]]:
    """Return 16 beads far apart, each elsewhere on its pixel."""
    rng = np.random.default_rng(1)
    at = 15 + 26 * np.indices((4, 4)).reshape(2, -1).T + rng.uniform(-2, 2, (16, 2))
    return [(y, x, photons * rng.uniform(0.8, 1.2)) for y, x in at]


def image(spot: Spot) -> np.ndarray:
    """Return the shares of the pixels around a molecule a quarter off the middle of one."""
    pixels, at = torch.arange(-4, 5)[None], torch.full((1,), 0.75, dtype=torch.float64)
    picture = product(*(spot.profiles(axis, pixels, at)[0] for axis in (0, 1)))[0].numpy()
    return picture / picture.sum()


@pytest.mark.parametrize(
    ("true", "error"), [(GaussianSpot(1.1), 0.01), (airy(), 0.03)], ids=["gaussian", "airy"]
)
def test_the_image_is_that_of_a_molecule(true: Spot, error: float) -> None:
    beads = measure_beads(recording(true, grid()).mean(0))
    assert beads.count == 16
    assert beads.pixel_size_px == 0.125
    assert beads.image.sum() == pytest.approx(1.0, rel=1e-5)
    found = spot_of(measured_psf(beads.image, 12.5, 100.0))
    expected = image(true)
    np.testing.assert_allclose(image(found), expected, rtol=0, atol=error * expected.max())


def test_pairs_clumps_and_beads_at_the_border_are_left_out() -> None:
    spoilt = [(3.0, 50.0, 2e4), (28.0, 21.0, 1e4), (67.0, 67.5, 2e5)]
    beads = measure_beads(recording(GaussianSpot(1.1), [*grid()[:5], *grid()[6:], *spoilt]).mean(0))
    assert beads.count < 15
    assert beads.sigma_px == pytest.approx(1.1, rel=0.01)


@pytest.mark.parametrize("places", [[], [(50.0, 50.0, 2e4), (55.0, 50.0, 2e4)]])
def test_without_a_lone_bead_it_is_refused(places) -> None:
    stack = recording(GaussianSpot(1.1), places or [(0.0, 0.0, 0.0)])
    with pytest.raises(InputError, match="no bright bead"):
        measure_beads(stack.mean(0))
