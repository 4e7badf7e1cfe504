"""Brightness and background learned from fits, on simulations of what a microscope does."""

import numpy as np
import pytest

from napari_unfold.estimation.background import estimate_background, frames_are_independent
from napari_unfold.estimation.learn_molecules import learn_molecules
from napari_unfold.imaging.camera import CameraModel, to_photons
from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.jobs import run_to_end
from napari_unfold.localization.profiles import GaussianSpot
from napari_unfold.settings.microscope import Camera, Optics
from napari_unfold.settings.recipe import Recipe
from napari_unfold.settings.simulation import Sample
from napari_unfold.simulation.scenes import acquire

SIGMA_PX = 1.1
CAMERA = Camera(
    type="scmos", offset_adu=100, adu_per_photon=2, excess_noise=1, read_noise_photons=1.2
)
RECIPE = Recipe(optics=Optics(psf_sigma_nm=110), camera=CAMERA)
ENERGY = SeparableOperator((8, 8), 4, SIGMA_PX).point_energy


def made(frames=40, seed=1, **sample):
    usual = {"molecule_photons": 1000.0, "brightness_spread": 0.0}
    field = {"height_px": 48, "width_px": 48}
    return acquire(Sample(frames=frames, seed=seed, **{**usual, **field, **sample}), recipe=RECIPE)


def learned(acquisition):
    camera = CameraModel.of(CAMERA)
    photons = to_photons(acquisition.stack, camera)
    background = estimate_background(photons, camera)
    job = learn_molecules(photons, background, camera, GaussianSpot(SIGMA_PX), ENERGY)
    return photons, run_to_end(job)


def mean_of(truth):
    """Mean light of the molecules that a frame shows."""
    return truth["photons"].mean()


@pytest.mark.parametrize("on_frames", [None, 3.0, 12.0])
@pytest.mark.parametrize("density", [0.5, 2.0])
def test_the_brightness_is_right_however_long_molecules_stay_on(on_frames, density):
    acquisition = made(density_per_um2=density, on_frames=on_frames)
    _, found = learned(acquisition)
    assert found.photons == pytest.approx(mean_of(acquisition.truth), rel=0.1)
    assert 0 < found.error_photons < 0.1 * found.photons


@pytest.mark.parametrize("spread", [0.0, 0.3, 0.6])
def test_the_distribution_is_as_wide_as_that_of_the_molecules(spread):
    acquisition = made(density_per_um2=1.0, brightness_spread=spread)
    _, found = learned(acquisition)
    assert found.photons == pytest.approx(mean_of(acquisition.truth), rel=0.12)
    assert found.brightness.width / found.brightness.median < 0.08 + 0.5 * spread


def test_few_frames_tell_less_and_say_so():
    few, many = (learned(made(frames, density_per_um2=1.5))[1] for frames in (4, 40))
    assert few.photons == pytest.approx(many.photons, rel=0.1)
    assert few.error_photons > 2 * many.error_photons


def test_the_background_of_lit_cells_is_found_beneath_the_molecules():
    acquisition = made(density_per_um2=1.5, on_frames=3.0, background="cells", seed=5)
    _, found = learned(acquisition)
    error = found.background - acquisition.background
    assert np.sqrt(np.mean(error**2)) < 0.05 * acquisition.background.max()


def test_without_molecules_nothing_is_learned():
    acquisition = made(density_per_um2=1e-6)
    _, found = learned(acquisition)
    assert found is None


@pytest.mark.parametrize(("on_frames", "independent"), [(None, True), (4.0, False), (15.0, False)])
def test_molecules_that_stay_on_are_noticed(on_frames, independent):
    acquisition = made(density_per_um2=2.0, on_frames=on_frames)
    camera = CameraModel.of(CAMERA)
    photons = to_photons(acquisition.stack, camera)
    assert frames_are_independent(photons, np.full((48, 48), 20.0), camera) is independent
