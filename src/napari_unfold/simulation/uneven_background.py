"""Light that does not come from molecules in focus: uneven in space, and changing in time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_unfold.settings.simulation import BackgroundName

CELL_DIAMETER_NM = 3000.0
CELL_EDGE_NM = 300.0
"""Light above and below the focal plane blurs the edge of a lit cell (sigma)."""

CELLS_PER_FIELD = 0.35
"""Share of the field that lit cells cover, about."""


def background_map(
    name: BackgroundName,
    shape: tuple[int, int],
    pixel_size_nm: float,
    photons: float,
    contrast: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the photons ``(Y, X)`` of every camera pixel without any molecule.

    Parameters
    ----------
    name : {"flat", "gradient", "cells"}
        Everywhere the same, rising across the field, or lit cells of different brightness with
        blurred edges.
    shape : tuple of int
        Camera pixels ``(Y, X)``.
    pixel_size_nm : float
        Side of a camera pixel.
    photons : float
        Of the darkest place.
    contrast : float
        Brightest over darkest place, at least 1.
    rng : numpy.random.Generator
        Draws direction, or cells.
    """
    if name == "flat" or contrast == 1:
        return np.full(shape, photons)
    relief = _slope(shape, rng) if name == "gradient" else _cells(shape, pixel_size_nm, rng)
    relief -= relief.min()
    return np.asarray(photons * (1.0 + (contrast - 1.0) * relief / max(relief.max(), 1e-12)))


def fading(n_frames: int, bleaching_frames: float | None) -> NDArray[np.float64]:
    """Return the background of each frame over that of the first: bleaching, if there is any."""
    return np.exp(-np.arange(n_frames) / (bleaching_frames or math.inf))


def flicker(n_frames: int, spread: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the light of the lamp in each frame over its mean.

    Parameters
    ----------
    n_frames : int
    spread : float
        Standard deviation over mean of a log-normal distribution; frames are independent.
    rng : numpy.random.Generator
    """
    sigma = math.sqrt(math.log1p(spread**2))
    return rng.lognormal(-(sigma**2) / 2.0, sigma, n_frames)


def _slope(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    angle = rng.uniform(0.0, 2.0 * np.pi)
    rows, columns = np.indices(shape)
    return np.asarray(math.sin(angle) * rows + math.cos(angle) * columns)


def _cells(
    shape: tuple[int, int], pixel_size_nm: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the sum of round to oval cells, each of its own brightness, blurred."""
    radius = CELL_DIAMETER_NM / 2.0 / pixel_size_nm
    field = float(np.prod(shape))
    count = max(1, round(CELLS_PER_FIELD * field / (math.pi * radius**2)))
    rows, columns = np.indices(shape)
    light = np.zeros(shape)
    for _ in range(count):
        y, x = rng.uniform(0.0, shape)
        angle, stretch = rng.uniform(0.0, np.pi), rng.uniform(1.0, 1.6)
        along = math.sin(angle) * (rows - y) + math.cos(angle) * (columns - x)
        across = math.cos(angle) * (rows - y) - math.sin(angle) * (columns - x)
        inside = (along / stretch) ** 2 + (across * stretch) ** 2 < radius**2
        light += inside * rng.uniform(0.5, 1.0)
    return np.asarray(ndimage.gaussian_filter(light, CELL_EDGE_NM / pixel_size_nm))
