"""The camera: means and variances it must produce, and frames it must refuse."""

import numpy as np
import pytest

from napari_unfold.imaging.camera import check_offset, expose, noise_variance, to_photons
from napari_unfold.jobs import InputError
from napari_unfold.recipe import Camera

CAMERAS = [
    Camera(offset_adu=100, adu_per_photon=2, excess_noise=2),
    Camera(offset_adu=400, adu_per_photon=0.5, excess_noise=1, read_noise_photons=6),
    Camera(offset_adu=0, adu_per_photon=4, excess_noise=1.4, read_noise_photons=1),
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
    camera = Camera(offset_adu=100, adu_per_photon=2, excess_noise=2)
    variance_adu = noise_variance(np.array([50.0]), camera) * camera.adu_per_photon**2
    assert variance_adu[0] == 4 * (50.0 * 2)


def test_frames_below_the_offset_are_refused():
    camera = Camera(offset_adu=500)
    with pytest.raises(InputError, match=r"darker than the camera offset.*110 ADU") as error:
        check_offset(to_photons(np.full((3, 8, 8), 110), camera), camera)
    assert error.value.field == "camera.offset_adu"
    check_offset(np.random.default_rng(0).normal(0, 1, (3, 8, 8)), Camera())
