"""Simulated stacks: reproducible, and as bright and as dense as asked for."""

import numpy as np
import pytest

from napari_unfold.errors import InputError
from napari_unfold.imaging.camera import to_photons
from napari_unfold.settings.microscope import Camera, Optics
from napari_unfold.settings.recipe import Recipe
from napari_unfold.simulation.scenes import render, simulate


@pytest.mark.parametrize("scene", ["filaments", "random"])
def test_same_seed_same_stack(scene):
    first, second, other = (simulate(scene, frames=3, seed=s) for s in (4, 4, 5))
    assert np.array_equal(first.stack, second.stack)
    assert first.truth.equals(second.truth)
    assert not np.array_equal(first.stack, other.stack)


@pytest.mark.parametrize("scene", ["filaments", "random"])
def test_density_light_and_place_are_as_asked(scene):
    made = simulate(
        scene, frames=60, shape=(40, 60), density_per_um2=4, molecule_photons=900,
        background_photons=15, seed=1,
    )  # fmt: skip
    assert made.stack.shape == (60, 40, 60)
    assert made.stack.dtype == np.uint16
    assert len(made.truth) / 60 == pytest.approx(4 * 4.0 * 6.0, rel=0.05)
    assert made.truth["photons"].mean() == pytest.approx(900, rel=0.02)
    assert made.truth["photons"].std() == pytest.approx(180, rel=0.05)
    assert made.truth["x_nm"].between(0, 6000).all()
    assert made.truth["y_nm"].between(0, 4000).all()
    photons = to_photons(made.stack, made.camera)
    expected = 15 * 2400 + 900 * 4 * 24  # background, and molecules less what leaves the frame
    assert photons.sum(axis=(1, 2)).mean() == pytest.approx(expected, rel=0.06)


def test_filament_molecules_share_few_curves():
    """On filaments the nearest neighbour over all frames is far closer than at random."""
    from scipy.spatial import cKDTree

    def neighbour_nm(scene):
        points = simulate(scene, frames=20, seed=2).truth[["y_nm", "x_nm"]].to_numpy()
        return np.median(cKDTree(points).query(points, k=2)[0][:, 1])

    assert neighbour_nm("filaments") < 0.4 * neighbour_nm("random")


def test_the_brightest_pixel_holds_the_molecule():
    image = render(np.array([1250.0]), np.array([430.0]), np.array([1.0]), (20, 16), 100.0, 110.0)
    assert np.unravel_index(image.argmax(), image.shape) == (12, 4)


def test_a_camera_without_noise_shows_the_expected_light():
    recipe = Recipe(optics=Optics(psf_sigma_nm=110), camera=Camera(excess_noise=1))
    made = simulate("random", frames=400, shape=(8, 8), density_per_um2=0, recipe=recipe)
    assert to_photons(made.stack, made.camera).var() == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize(
    "setting",
    [
        {"frames": 0}, {"shape": (4, 64)}, {"density_per_um2": -1}, {"molecule_photons": 0},
        {"background_photons": 0}, {"density_per_um2": float("nan")}, {"seed": -1},
    ],
)  # fmt: skip
def test_nonsense_is_refused(setting):
    with pytest.raises(InputError, match="not usable"):
        simulate("random", **setting)
