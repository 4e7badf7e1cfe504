"""What a molecule looks like: Gaussian and measured images, their light and their derivatives."""

import numpy as np
import pytest
import torch
from scipy.special import j1

from napari_unfold.imaging.camera import CameraModel
from napari_unfold.imaging.psf import GaussianPSF, measured_psf
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.patches import patches_around
from napari_unfold.localization.profiles import (
    GaussianSpot,
    MeasuredSpot,
    product,
    spot_image,
    spot_of,
)
from napari_unfold.localization.spots import Molecules, SpotModel
from napari_unfold.simulation.spot_shapes import pixel_shares, render

SIGMA = 1.1


def gaussian_table(sigma, samples=8, reach=6):
    """Shares of pixels at all distances of a molecule with a Gaussian image."""
    at = np.arange(-reach * samples, reach * samples + 1) / samples
    shares = pixel_shares(0.5 - at, 1, 1.0, sigma)
    return np.outer(shares[:, 0], shares[:, 0])


def airy_image(step, half, radius=1.6):
    """Airy's pattern, whose first dark ring has a radius of `radius` pixels, as bead image."""
    at = np.arange(-half, half + 1) * step
    v = 3.8317 * np.hypot(at[:, None], at) / radius + 1e-9
    return (2 * j1(v) / v) ** 2


SPOTS = [
    GaussianSpot(SIGMA),
    MeasuredSpot(gaussian_table(SIGMA), 8, SIGMA),
    spot_of(measured_psf(airy_image(0.125, 70), 12.5, 100.0)),
]


def patch_of(spot):
    """Return the function from the position to the shares of light in a patch of fixed pixels."""
    rows = torch.arange(3, 14)[None]

    def light(position):
        y, x = (spot.profiles(axis, rows, position[:, axis])[0] for axis in (0, 1))
        return product(y, x)

    return rows, light


@pytest.mark.parametrize("spot", SPOTS, ids=["gaussian", "measured gaussian", "airy"])
def test_slopes_and_curvatures_are_the_derivatives(spot):
    position = torch.tensor([[8.31, 8.77]], dtype=torch.float64)
    rows, light = patch_of(spot)
    y, dy = spot.profiles(0, rows, position[:, 0])
    x, dx = spot.profiles(1, rows, position[:, 1])
    slopes = torch.autograd.functional.jacobian(light, position)[..., 0, :]
    torch.testing.assert_close(product(dy, x), slopes[..., 0])
    torch.testing.assert_close(product(y, dx), slopes[..., 1])

    def slope(at):
        return product(spot.profiles(0, rows, at)[1], x)

    (bend,) = torch.autograd.functional.jacobian(slope, (position[:, 0],))
    torch.testing.assert_close(product(spot.curvatures(0, rows, position[:, 0]), x), bend[..., 0])


@pytest.mark.parametrize("spot", SPOTS, ids=["gaussian", "measured gaussian", "airy"])
def test_all_the_light_of_a_molecule_falls_on_the_frame_wherever_it_sits(spot):
    generator = torch.Generator().manual_seed(0)
    position = 20 + torch.rand(50, 2, dtype=torch.float64, generator=generator)
    molecules = Molecules(torch.arange(50), position, torch.full((50,), 100.0).double())
    model = SpotModel((50, 41, 41), spot)
    model.locate(molecules)
    # patches of an Airy pattern end where a hundredth of the light is left
    light = model.light(molecules).sum((1, 2)).numpy()
    np.testing.assert_allclose(light, 100.0, rtol=0.015)


def test_a_measured_gaussian_is_the_gaussian():
    position = torch.rand(40, 2, dtype=torch.float64) + 8
    of_measured = patch_of(SPOTS[1])[1]
    of_gaussian = patch_of(SPOTS[0])[1]
    np.testing.assert_allclose(of_measured(position), of_gaussian(position), atol=1e-5)


@pytest.mark.parametrize(("pixel", "error"), [(0.25, 2e-3), (0.5, 2e-3), (1.0, 0.012)])
def test_pixels_of_a_bead_image_have_integrated_already(pixel, error):
    """Taken for points, pixels as large as the camera's would lower the peak by 6 %.

    Between them the image is interpolated; finer ones leave less to that.
    """
    n = int(25 / pixel) | 1
    middle = np.array([n * pixel / 2])
    bead = render(middle, middle, np.array([1e5]), (n, n), pixel, SIGMA)
    spot = spot_of(measured_psf(bead, 100.0 * pixel, 100.0))
    position = torch.rand(40, 2, dtype=torch.float64) + 8
    expected = patch_of(SPOTS[0])[1](position).numpy()
    found = patch_of(spot)[1](position).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=error * expected.max())


def test_an_airy_pattern_is_drawn_as_the_integral_over_its_pixels():
    fine = 40
    truth = airy_image(1 / fine, 25 * fine)
    truth /= truth.sum()
    spot = SPOTS[2]
    y, x = 8.3, 8.775
    grid = (np.arange(-25 * fine, 25 * fine + 1)) / fine
    rows, columns = np.floor(grid + y + 1e-6).astype(int), np.floor(grid + x + 1e-6).astype(int)
    expected = np.array(
        [[truth[np.ix_(rows == i, columns == j)].sum() for j in range(3, 14)] for i in range(3, 14)]
    )
    found = patch_of(spot)[1](torch.tensor([[y, x]], dtype=torch.float64))[0].numpy()
    # the image ends, and with it the light it is divided by
    found *= (expected * found).sum() / (found**2).sum()
    np.testing.assert_allclose(found, expected, atol=0.02 * expected.max())


def test_the_cramer_rao_bound_of_a_measured_gaussian_is_that_of_the_gaussian():
    camera = CameraModel(100, 2, 2, 1.0)
    at = Molecules(
        torch.zeros(1, dtype=torch.long), torch.tensor([[8.3, 8.6]]), torch.tensor([900.0])
    )
    y = torch.full((1, 17, 17), 20.0)
    bounds = []
    for spot in SPOTS[:2]:
        frames = Frames(y, y, spot, camera.excess_noise, camera.read_noise_photons**2)
        light = frames.spot_model(at).light(at)
        patches = patches_around(at, at.table[:, None], frames, light)
        _, information = patches.gradient_and_information(at.table[:, None])
        bounds.append(torch.linalg.inv(information).diagonal(dim1=1, dim2=2).sqrt())
    torch.testing.assert_close(bounds[0], bounds[1], rtol=1e-3, atol=0)


def test_the_stated_gaussian_stays_one():
    assert spot_of(GaussianPSF(1.3)) == GaussianSpot(1.3)


def test_the_image_of_a_spot_is_as_wide_as_its_light_seen_through_pixels():
    """The variance of a Gaussian integrated over pixels is ``sigma^2 + 1/12`` along each axis."""
    image = spot_image(GaussianSpot(1.6), 4)
    assert image.shape[0] == image.shape[1] == 2 * 7 * 4 + 1
    assert image.sum() == pytest.approx(1, rel=1e-6)
    at = (np.arange(len(image)) - len(image) // 2) / 4
    for axis in (0, 1):
        assert (image.sum(axis) * at**2).sum() == pytest.approx(1.6**2 + 1 / 12, rel=2e-3)
