"""Spots against optics: Airy's zeros and encircled energy, light that is kept, defocus."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from napari_unfold.errors import InputError
from napari_unfold.imaging.psf import MeasuredPSF
from napari_unfold.simulation.spot_shapes import (
    FOCAL_DEPTH_NM,
    REACH_NM,
    AirySpot,
    BeadSpot,
    GaussianSpot,
    render,
)

AIRY = AirySpot(numerical_aperture=1.4, wavelength_nm=600.0)
UNIT_NM = 600.0 / 1.4
PIXEL_NM, SIDE = 100.0, 61
MIDDLE_NM = SIDE * PIXEL_NM / 2


def image_of(spot, y_nm=MIDDLE_NM, x_nm=MIDDLE_NM, depth_nm=0.0, pixel_nm=PIXEL_NM, side=SIDE):
    one = np.ones(1)
    return spot.light(y_nm * one, x_nm * one, depth_nm * one, one, (side, side), pixel_nm)


def gaussian_bead(sigma_px, oversampling=5, half=40):
    r2 = (np.arange(-half, half + 1)[:, None] / oversampling) ** 2
    r2 = r2 + (np.arange(-half, half + 1) / oversampling) ** 2
    return MeasuredPSF(np.exp(-r2 / (2 * sigma_px**2)), 1 / oversampling)


def test_the_first_dark_ring_is_where_airy_says():
    r = np.linspace(0.55, 0.67, 2001) * UNIT_NM
    darkest = r[AIRY.density_per_um2(r).argmin()]
    assert darkest / UNIT_NM == pytest.approx(3.8317 / (2 * math.pi), abs=1e-4)


@pytest.mark.parametrize("radius_nm", [150.0, 261.0, 478.0, 1000.0])
def test_the_light_within_a_circle_is_rayleighs(radius_nm):
    """Rayleigh: ``1 - J0(v)^2 - J1(v)^2``; 84 % within the first dark ring."""
    r = np.linspace(0, radius_nm, 20_001)
    light = np.trapezoid(2 * np.pi * r * AIRY.density_per_um2(r), r) / 1e6
    v = 2 * np.pi * radius_nm / UNIT_NM
    assert light == pytest.approx(1 - special.j0(v) ** 2 - special.j1(v) ** 2, abs=1e-6)


@given(
    y=st.floats(-0.5, 0.5), x=st.floats(-0.5, 0.5), depth=st.sampled_from([0.0, 400.0]),
    pixel_nm=st.sampled_from([65.0, 100.0, 160.0]),
)  # fmt: skip
@settings(max_examples=20)
def test_pixels_hold_all_light_but_that_of_far_rings(y, x, depth, pixel_nm):
    side = 2 * math.ceil(REACH_NM / pixel_nm) + 5
    middle = side * pixel_nm / 2
    image = image_of(AIRY, middle + y * pixel_nm, middle + x * pixel_nm, depth, pixel_nm, side)
    assert image.min() > -1e-6
    v = 2 * np.pi * REACH_NM / UNIT_NM
    outside = special.j0(v) ** 2 + special.j1(v) ** 2
    assert 1 - outside - 1e-3 < image.sum() < 1


def test_a_pixel_holds_the_integral_of_the_pattern_over_it():
    y_nm, x_nm = MIDDLE_NM + 23.0, MIDDLE_NM - 41.0
    image = image_of(AIRY, y_nm, x_nm)
    nodes, weights = np.polynomial.legendre.leggauss(24)
    for row, column in [(30, 30), (31, 29), (34, 27)]:
        ys = (row + 0.5 + nodes / 2) * PIXEL_NM - y_nm
        xs = (column + 0.5 + nodes / 2) * PIXEL_NM - x_nm
        density = AIRY.density_per_um2(np.hypot(ys[:, None], xs).ravel()).reshape(24, 24)
        exact = weights @ density @ weights / 4 * (PIXEL_NM / 1000) ** 2
        assert image[row, column] == pytest.approx(exact, abs=2e-6)


def test_the_image_is_centred_on_the_molecule():
    for spot in (AIRY, GaussianSpot(110.0), BeadSpot(gaussian_bead(1.1), PIXEL_NM)):
        image = image_of(spot, MIDDLE_NM + 30.0, MIDDLE_NM - 20.0)
        centers = (np.arange(SIDE) + 0.5) * PIXEL_NM
        assert (image.sum(1) @ centers) / image.sum() == pytest.approx(MIDDLE_NM + 30.0, abs=1.5)
        assert (image.sum(0) @ centers) / image.sum() == pytest.approx(MIDDLE_NM - 20.0, abs=1.5)


def test_out_of_focus_the_pattern_widens_alike_on_both_sides_and_keeps_its_light():
    r = np.linspace(0, 6000, 40_001)

    def light(depth_nm):
        return np.trapezoid(2 * np.pi * r * AIRY.density_per_um2(r, depth_nm), r) / 1e6

    assert light(600.0) == pytest.approx(light(0.0), abs=0.005)
    np.testing.assert_allclose(AIRY.density_per_um2(r, -300.0), AIRY.density_per_um2(r, 300.0))
    peaks = [AIRY.density_per_um2(np.zeros(1), z)[0] for z in (0.0, 200.0, 400.0)]
    assert peaks[0] > 1.1 * peaks[1] > 1.1 * peaks[2]
    assert peaks[0] == pytest.approx(np.pi / (UNIT_NM / 1000) ** 2)


def test_the_gaussian_most_like_an_airy_pattern_is_the_one_in_the_literature():
    """Zhang, Zerubia & Olivo-Marin, Applied Optics 46 (2007): 0.21 wavelength / NA, rounded."""
    assert AIRY.sigma_nm / UNIT_NM == pytest.approx(0.21, abs=0.006)


def test_a_gaussian_spot_out_of_focus_is_wider():
    image = image_of(GaussianSpot(110.0), depth_nm=FOCAL_DEPTH_NM)
    one = np.ones(1)
    wider = render(
        MIDDLE_NM * one, MIDDLE_NM * one, one, (SIDE, SIDE), PIXEL_NM, 110.0 * math.sqrt(2)
    )
    np.testing.assert_allclose(image, wider)


def test_each_molecule_has_its_own_width():
    y, x = np.array([1500.0, 4500.0]), np.array([1500.0, 4500.0])
    photons, sigma = np.array([10.0, 20.0]), np.array([100.0, 200.0])
    together = render(y, x, photons, (SIDE, SIDE), PIXEL_NM, sigma)
    apart = sum(
        render(y[[i]], x[[i]], photons[[i]], (SIDE, SIDE), PIXEL_NM, float(sigma[i]))
        for i in range(2)
    )
    np.testing.assert_allclose(together, apart, atol=1e-12)


def test_the_image_of_a_gaussian_bead_makes_gaussian_spots():
    bead = BeadSpot(gaussian_bead(1.3), PIXEL_NM)
    assert bead.sigma_nm == pytest.approx(130.0, rel=0.02)
    place = MIDDLE_NM + 37.0, MIDDLE_NM - 12.0
    image = image_of(bead, *place)
    assert image.sum() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(image, image_of(GaussianSpot(130.0), *place), atol=5e-4)


def test_a_bead_in_focus_does_not_tell_of_other_planes():
    with pytest.raises(InputError, match="out of focus"):
        image_of(BeadSpot(gaussian_bead(1.3), PIXEL_NM), depth_nm=100.0)


def test_light_beyond_the_frame_is_lost():
    for spot in (AIRY, GaussianSpot(110.0), BeadSpot(gaussian_bead(1.1), PIXEL_NM)):
        assert image_of(spot, 0.0, MIDDLE_NM).sum() == pytest.approx(
            image_of(spot).sum() / 2, abs=2e-3
        )
