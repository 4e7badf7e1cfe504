"""Background and brightness, estimated from stacks whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from napari_unfold.estimation.background import (
    estimate_background,
    estimate_crowding,
    estimate_molecule_photons,
)
from napari_unfold.imaging.camera import to_photons
from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.settings.microscope import Camera, Optics
from napari_unfold.settings.recipe import Recipe
from napari_unfold.simulation.exposure import expose
from napari_unfold.simulation.scenes import simulate
from napari_unfold.simulation.simulated_microscope import EMCCD

POINT_ENERGY = SeparableOperator((8, 8), 4, 1.1).point_energy


@pytest.mark.parametrize("scene", ["random", "filaments"])
@pytest.mark.parametrize("density", [0.5, 3.0, 6.0])
@pytest.mark.parametrize("frames", [10, 100])
def test_background_and_brightness_at_any_density(scene, density, frames):
    made = simulate(
        scene, frames=frames, density_per_um2=density, background_photons=20, seed=frames
    )
    photons = to_photons(made.stack, made.camera)
    background = estimate_background(photons, made.camera)
    assert background.shape == (64, 64)
    assert np.median(background) == pytest.approx(20, rel=0.2)
    assert background.max() < 45
    brightness = estimate_molecule_photons(photons, background, made.camera, POINT_ENERGY)
    # bright molecules count more: E[N^2] / E[N] = 1500 (1 + 0.2^2)
    # within a fifth; a sparse stack of a few frames holds too few molecules for that
    assert brightness == pytest.approx(1560, rel=0.2 if frames * density > 20 else 0.35)


def test_background_follows_a_gradient():
    camera = replace(EMCCD, excess_noise=1)
    truth = np.linspace(10, 60, 96)[None, :] + np.zeros((64, 1))
    frames = expose(np.broadcast_to(truth, (60, 64, 96)), camera, np.random.default_rng(2))
    background = estimate_background(to_photons(frames, camera), camera)
    np.testing.assert_allclose(background[:, 10:-10], truth[:, 10:-10], rtol=0.15)


@pytest.mark.parametrize("excess_noise", [1.0, 2.0])
@pytest.mark.parametrize("photons", [0.3, 1.0, 5.0, 20.0, 100.0])
def test_dim_and_bright_backgrounds(photons, excess_noise):
    camera = replace(EMCCD, excess_noise=excess_noise)
    frames = expose(np.full((100, 32, 32), photons), camera, np.random.default_rng(6))
    background = estimate_background(to_photons(frames, camera), camera)
    np.testing.assert_allclose(background, photons, rtol=0.15, atol=0.15)


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 9, 40), (300, 8, 8)])
def test_small_stacks_have_a_background_too(shape):
    camera = replace(EMCCD, excess_noise=1)
    frames = expose(np.full(shape, 30.0), camera, np.random.default_rng(3))
    background = estimate_background(to_photons(frames, camera), camera)
    np.testing.assert_allclose(background, 30, rtol=0.25)


def test_brightness_of_unequal_cameras():
    recipe = Recipe(
        optics=Optics(psf_sigma_nm=110), camera=Camera(excess_noise=1, read_noise_photons=8)
    )
    made = simulate(
        "random", frames=100, molecule_photons=800, brightness_spread=0, recipe=recipe, seed=5
    )
    photons = to_photons(made.stack, made.camera)
    background = estimate_background(photons, made.camera)
    brightness = estimate_molecule_photons(photons, background, made.camera, POINT_ENERGY)
    assert brightness == pytest.approx(800, rel=0.15)


def test_a_stack_without_molecules_has_a_detection_limit_instead():
    camera = replace(EMCCD, excess_noise=1)
    frames = expose(np.full((50, 32, 32), 25.0), camera, np.random.default_rng(4))
    photons = to_photons(frames, camera)
    brightness = estimate_molecule_photons(photons, np.full((32, 32), 25.0), camera, POINT_ENERGY)
    # four standard deviations of a matched filter: 4 sqrt(25 / point energy)
    assert brightness == pytest.approx(4 * np.sqrt(25 / POINT_ENERGY), rel=0.1)


@pytest.mark.parametrize(
    ("name", "sigma_px", "photons"),
    [("microtubules_odd", 1.0955, 1556), ("random_density6", 1.07, 2259)],
)
def test_published_stacks(shared_data, name, sigma_px, photons):
    """Background 20 photons; brightness E[N^2] / E[N] of the listed or fitted distribution."""
    frames = to_photons(tifffile.imread(shared_data / "deep-storm" / f"{name}.tif"), EMCCD)
    background = estimate_background(frames, EMCCD)
    assert np.median(background) == pytest.approx(20, rel=0.2)
    energy = SeparableOperator((64, 64), 4, sigma_px).point_energy
    estimate = estimate_molecule_photons(frames, background, EMCCD, energy)
    assert estimate == pytest.approx(photons, rel=0.1)


@pytest.mark.parametrize(("density", "frames"), [(0.5, 60), (4.0, 10), (2.0, 1)])
def test_crowding_is_the_density_in_the_area_of_a_psf(density, frames):
    made = simulate("random", frames=frames, density_per_um2=density, brightness_spread=0, seed=5)
    photons = to_photons(made.stack, made.camera)
    crowding = estimate_crowding(photons, np.full((64, 64), 20.0), 1500.0, 1.1)
    expected = density * 4 * np.pi * 0.11**2
    assert crowding.mean() == pytest.approx(expected, rel=0.2)
    assert crowding.min() > 0


def test_crowding_of_many_frames_follows_the_structure_and_of_few_does_not():
    rows = np.zeros((1, 40, 40))
    rows[:, 20] = 100.0
    dark = np.zeros((40, 40))
    many = estimate_crowding(np.repeat(rows, 200, 0), dark, 1000.0, 1.0)
    one = estimate_crowding(rows, dark, 1000.0, 1.0)
    assert many[20, 7] == pytest.approx(0.1 * 4 * np.pi, rel=0.1)
    assert many[5, 7] < 0.1 * many[20, 7]
    assert one[20, 7] < 0.1 * many[20, 7]
