"""The camera: means and variances it must produce, and frames it must refuse."""

from dataclasses import replace

import numpy as np
import pytest

from napari_unfold.errors import InputError
from napari_unfold.estimation.observe import check_offset, check_range, dark_noise_photons
from napari_unfold.imaging.camera import CameraModel, noise_variance, to_photons
from napari_unfold.simulation.exposure import expose
from napari_unfold.simulation.simulated_microscope import EMCCD

CAMERAS = [
    EMCCD,
    CameraModel(offset_adu=400, adu_per_photon=0.5, excess_noise=1, read_noise_photons=6),
    CameraModel(offset_adu=0, adu_per_photon=4, excess_noise=1.4, read_noise_photons=1),
]


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("mean", [20.0, 300.0])
def test_pictures_have_the_mean_and_the_variance_of_the_camera(camera, mean):
    rng = np.random.default_rng(1)
    photons = to_photons(expose(np.full(200_000, mean), camera, rng), camera)
    rounding = 1 / (12 * camera.adu_per_photon**2)
    assert photons.mean() == pytest.approx(mean, rel=0.01)
    expected = noise_variance(np.array(mean), camera) + rounding
    assert photons.var() == pytest.approx(float(expected), rel=0.03)


def test_published_emccd_noise():
    """The camera of the deep-storm stacks: variance = 4 (mean - 100) in ADU."""
    variance_adu = noise_variance(np.array([50.0]), EMCCD) * EMCCD.adu_per_photon**2
    assert variance_adu[0] == 4 * (50.0 * 2)


def test_frames_below_the_offset_are_refused():
    camera = replace(EMCCD, offset_adu=500)
    with pytest.raises(InputError, match=r"darker than the camera offset.*110 ADU") as error:
        check_offset(to_photons(np.full((3, 8, 8), 110), camera), camera)
    assert error.value.field == "camera.offset_adu"
    check_offset(np.random.default_rng(0).normal(0, 1, (3, 8, 8)), EMCCD)


@pytest.mark.parametrize("read_noise", [1.0, 6.0])
def test_values_below_zero_photons_give_read_noise_away(read_noise):
    rng = np.random.default_rng(5)
    dark = rng.normal(0, read_noise, (10, 40, 40))
    assert dark_noise_photons(dark) == pytest.approx(read_noise, rel=0.03)
    # molecules do not change it, bright frames say nothing
    dark[:, :20] += 50
    assert dark_noise_photons(dark) == pytest.approx(read_noise, rel=0.05)
    assert dark_noise_photons(rng.poisson(20, (10, 40, 40)).astype(float)) == 0


def test_impossible_light_is_refused():
    with pytest.raises(InputError, match=r"grey values up to 1e\+38"):
        check_range(to_photons(np.full((1, 3, 3), 1e38), EMCCD), EMCCD)
