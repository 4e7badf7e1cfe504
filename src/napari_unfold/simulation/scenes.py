"""Simulated stacks with known truth: molecules, light, camera.

Written without the forward operator of the reconstruction: molecules sit anywhere, not on the fine
grid, so that a simulation can tell whether the reconstruction is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from napari_unfold.errors import InputError
from napari_unfold.imaging.camera import CameraModel
from napari_unfold.settings.microscope import Background
from napari_unfold.settings.recipe import Recipe
from napari_unfold.settings.training import SceneName
from napari_unfold.simulation.exposure import expose
from napari_unfold.simulation.simulated_microscope import (
    BACKGROUND_PHOTONS,
    MICROSCOPE,
    MOLECULE_PHOTONS,
    SIGMA_NM,
    completed,
)

FILAMENT_RADIUS_NM = 12.5
"""Labels sit this far from the axis of a filament, as on an immunostained microtubule."""


@dataclass(frozen=True)
class Simulation:
    """A simulated acquisition.

    Attributes
    ----------
    stack : array (T, Y, X), uint16
        Grey values.
    truth : DataFrame
        One row per molecule and frame: frame (from 0), x_nm, y_nm (corner origin), photons.
    recipe : Recipe
        The optics, camera and background that were used.
    """

    stack: NDArray[np.uint16]
    truth: pd.DataFrame
    recipe: Recipe

    @property
    def camera(self) -> CameraModel:
        """The camera that took the stack."""
        return CameraModel.of(self.recipe.camera)


def simulate(
    scene: SceneName = "filaments",
    *,
    frames: int = 50,
    shape: tuple[int, int] = (64, 64),
    density_per_um2: float = 3.0,
    molecule_photons: float = MOLECULE_PHOTONS,
    brightness_spread: float = 0.2,
    background_photons: float = BACKGROUND_PHOTONS,
    recipe: Recipe | None = None,
    seed: int = 0,
) -> Simulation:
    """Simulate a stack of blinking molecules.

    Parameters
    ----------
    scene : {"filaments", "random"}
        Molecules on curved filaments, or anywhere.
    frames : int
        Number of frames T.
    shape : tuple of int
        Camera pixels ``(Y, X)``.
    density_per_um2 : float
        Mean number of molecules per square micrometre and frame; the number varies as a Poisson
        variable, and every frame shows other molecules.
    molecule_photons : float
        Mean photons of a molecule in a frame.
    brightness_spread : float
        Standard deviation of the brightness relative to its mean (gamma distributed).
    background_photons : float
        Photons per camera pixel.
    recipe : Recipe, optional
        Optics and camera; what it leaves open is as in `simulated_microscope.MICROSCOPE`.
    seed : int
        Same seed, same stack.

    Raises
    ------
    InputError
        If a number makes no sense.
    """
    limits = [
        ("number of frames", frames, 1, 1_000_000),
        ("frame height in pixels", shape[0], 8, 8192),
        ("frame width in pixels", shape[1], 8, 8192),
        ("density per square micrometre", density_per_um2, 0, 1000),
        ("number of photons per molecule", molecule_photons, 1, 1e7),
        ("spread of the brightness", brightness_spread, 0, 3),
        ("background in photons per pixel", background_photons, 0.01, 1e5),
        ("seed", seed, 0, 2**63),
    ]
    for name, value, low, high in limits:
        if not low <= value <= high:
            raise InputError(
                f"the {name} is {value:g}, which cannot be simulated",
                f"Give a number between {low:g} and {high:g}",
            )
    recipe = completed(recipe or MICROSCOPE)
    recipe = recipe.model_copy(update={"background": Background(photons=background_photons)})
    pixel_nm = recipe.optics.pixel_size_nm
    sigma_nm = recipe.optics.psf_sigma_nm or SIGMA_NM
    camera = CameraModel.of(recipe.camera)
    rng = np.random.default_rng(seed)
    size_nm = np.array(shape) * pixel_nm
    draw = Filaments(size_nm, rng) if scene == "filaments" else _Anywhere(size_nm)

    stack = np.empty((frames, *shape), dtype=np.uint16)
    tables = []
    for t in range(frames):
        count = rng.poisson(density_per_um2 * size_nm.prod() / 1e6)
        y_nm, x_nm = draw(count, rng).T
        photons = _brightness(count, molecule_photons, brightness_spread, rng)
        light = render(y_nm, x_nm, photons, shape, pixel_nm, sigma_nm)
        stack[t] = expose(light + background_photons, camera, rng)
        tables.append(pd.DataFrame({"frame": t, "x_nm": x_nm, "y_nm": y_nm, "photons": photons}))
    return Simulation(stack, pd.concat(tables, ignore_index=True), recipe)


def render(
    y_nm: NDArray[np.floating],
    x_nm: NDArray[np.floating],
    photons: NDArray[np.floating],
    shape: tuple[int, int],
    pixel_size_nm: float,
    sigma_nm: float,
) -> NDArray[np.float64]:
    """Return the expected photons ``(Y, X)`` of molecules at any position, for a Gaussian PSF."""
    rows = pixel_shares(y_nm, shape[0], pixel_size_nm, sigma_nm)
    columns = pixel_shares(x_nm, shape[1], pixel_size_nm, sigma_nm)
    return (rows * photons[:, None]).T @ columns


def pixel_shares(
    position_nm: NDArray[np.floating], n_pixels: int, pixel_size_nm: float, sigma_nm: float
) -> NDArray[np.float64]:
    """Return the shares ``(N, n_pixels)`` of each molecule's light in the pixels of one axis."""
    edges_nm = np.arange(n_pixels + 1) * pixel_size_nm
    cdf = special.ndtr((edges_nm - position_nm[:, None]) / sigma_nm)
    return np.asarray(np.diff(cdf, axis=1))


def _brightness(
    count: int, mean: float, spread: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    if spread == 0:
        return np.full(count, mean)
    return rng.gamma(spread**-2, mean * spread**2, count)


class _Anywhere:
    def __init__(self, size_nm: NDArray[np.floating]) -> None:
        self.size_nm = size_nm

    def __call__(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        return rng.uniform(0.0, self.size_nm, (count, 2))


class Filaments:
    """Smooth random curves through the field of view, labelled evenly along their length.

    Called with a number of molecules, it returns their positions ``(N, 2)``, y and x in nm.

    Parameters
    ----------
    size_nm : array (2,)
        Height and width of the field of view.
    rng : numpy.random.Generator
        Draws the curves.
    """

    SPACING_NM = 5.0
    MEAN_DISTANCE_NM = 1100.0
    TURN_PER_STEP = 0.004

    def __init__(self, size_nm: NDArray[np.floating], rng: np.random.Generator) -> None:
        self.size_nm = size_nm
        n_filaments = max(3, round(float(size_nm.mean()) / self.MEAN_DISTANCE_NM) + 2)
        curves = [self._curve(rng) for _ in range(n_filaments)]
        self.axis = np.concatenate([c for c, _ in curves])
        self.normal = np.concatenate([n for _, n in curves])

    def _curve(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Points on a curve that crosses the field of view, and the normals there."""
        steps = int(2.0 * np.hypot(*self.size_nm) / self.SPACING_NM)
        bend = np.convolve(rng.normal(0, self.TURN_PER_STEP, steps), np.ones(40) / 6, "same")
        angle = rng.uniform(0, 2 * np.pi) + np.cumsum(bend)
        tangent = np.stack([np.sin(angle), np.cos(angle)], axis=1)
        points = np.cumsum(tangent, axis=0) * self.SPACING_NM
        points += rng.uniform(0.15, 0.85, 2) * self.size_nm - points[steps // 2]
        inside = ((points > 0) & (points < self.size_nm)).all(axis=1)
        normal = tangent[:, ::-1] * (1.0, -1.0)
        return points[inside], normal[inside]

    def __call__(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return positions ``(count, 2)`` on the curves."""
        chosen = rng.integers(0, len(self.axis), count)
        # labels sit all around the tube; seen from above, the sine of a random angle
        offset = FILAMENT_RADIUS_NM * np.sin(rng.uniform(0, 2 * np.pi, (count, 1)))
        along = rng.uniform(-0.5, 0.5, (count, 1)) * self.SPACING_NM
        normal = self.normal[chosen]
        tangent = normal[:, ::-1] * (-1.0, 1.0)
        position = self.axis[chosen] + offset * normal + along * tangent
        return np.asarray(np.clip(position, 0.0, self.size_nm - 1e-6))
