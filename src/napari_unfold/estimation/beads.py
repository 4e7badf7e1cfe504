"""The PSF from a recording of beads: lone bright spots, averaged where each of them really is.

Every bead sits elsewhere on its pixel. The image that all of them share is fitted at their
sub-pixel positions (`estimation.psf_from_stack`), finer than the camera's pixels and without their
blur.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_unfold.errors import InputError
from napari_unfold.estimation.psf_from_stack import (
    KNOTS,
    Differences,
    LoneSpots,
    equations,
    through_pixels,
)
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.profiles import SAMPLES, GaussianSpot, Spot, spot_of_table
from napari_unfold.localization.refine import fit
from napari_unfold.localization.spots import Molecules

BRIGHT = 20.0
"""Beads stand out from the noise by so many standard deviations."""

NEIGHBOUR = 0.05
"""A spot of more than this share of a bead's height, in the same cut-out, spoils the bead."""

CLUMP = 2.0
"""Brighter ones, in units of the median, are several beads."""

ROUNDS = 4

BACKGROUND_SIGMA = 15.0
"""Side, in units of sigma, of the window whose median is the background."""

_LARGEST = 30
"""Half the side of the window in which the width of a spot is looked for, in pixels."""


@dataclass(frozen=True)
class Beads:
    """What a recording of beads told.

    Attributes
    ----------
    image : array (P, P), float32
        Light per area, of sum 1, the bead in the middle.
    pixel_size_px : float
        Of the image, in camera pixels.
    sigma_px : float
        Of the Gaussian that looks most alike, in camera pixels.
    count : int
        Beads that were averaged.
    """

    image: NDArray[np.float32]
    pixel_size_px: float
    sigma_px: float
    count: int


def measure_beads(image: NDArray[np.floating]) -> Beads:
    """Average the beads of an image.

    Parameters
    ----------
    image : array (Y, X)
        Mean of the frames, in any unit.

    Raises
    ------
    InputError
        If there is no bead that stands alone.
    """
    flat, noise = _flattened(image, 2.0)
    sigma = _width(flat, noise)
    flat, noise = _flattened(image, sigma)
    reach = math.ceil(KNOTS[-1] * sigma)
    rows, columns = _lone(flat, noise, reach, sigma)
    around = np.arange(-reach, reach + 1)
    cut = flat[rows[:, None, None] + around[:, None], columns[:, None, None] + around]
    # noise that grows with the light, and in the background is as large as there
    y = torch.as_tensor(cut + noise**2, dtype=torch.float32)
    n = len(cut)
    start = torch.full((n, 2), reach + 0.5)
    found = Molecules(torch.arange(n), start, y.sum((1, 2)) - float(noise**2) * y[0].numel())
    differences = Differences(sigma)
    at = np.arange(-(differences.tables.shape[1] // 2), differences.tables.shape[1] // 2 + 1)
    profile = np.exp(-0.5 * (at / (SAMPLES * sigma)) ** 2) / (math.sqrt(2 * math.pi) * sigma)
    density = np.outer(profile, profile)
    spot: Spot = GaussianSpot(sigma)
    for _ in range(ROUNDS):
        frames = Frames(y, torch.full_like(y, float(noise**2)), spot)
        found = fit(found, frames, 10)
        beads = LoneSpots(frames, found, torch.ones(n, dtype=torch.bool))
        (h0, g0), (h1, g1) = (equations(beads, differences, half) for half in (0, 1))
        difference = differences.coefficients(h0 + h1, g0 + g1)
        density = np.maximum(density + np.tensordot(difference, differences.densities, 1), 0.0)
        spot = spot_of_table(through_pixels(density))
    picture = (density / density.sum()).astype(np.float32)
    return Beads(picture, 1.0 / SAMPLES, spot.sigma_px, n)


def _flattened(image: NDArray[np.floating], sigma: float) -> tuple[NDArray[np.float64], float]:
    """Remove the background; return the standard deviation of the noise too."""
    step = math.ceil(sigma)
    side = 2 * math.ceil(BACKGROUND_SIGMA * sigma / step / 2.0) + 1
    flat = np.asarray(image, dtype=np.float64)
    coarse = ndimage.median_filter(flat[::step, ::step], side, mode="reflect")
    flat = flat - np.kron(coarse, np.ones((step, step)))[: flat.shape[0], : flat.shape[1]]
    noise = 1.4826 * float(np.median(np.abs(flat)))
    return flat, max(noise, 1e-6 * float(flat.max()), 1e-12)


def _peaks(
    flat: NDArray[np.float64], noise: float, apart: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return rows, columns and heights of the spots that stand out."""
    smooth = ndimage.gaussian_filter(flat, 0.7)
    peak = (smooth == ndimage.maximum_filter(smooth, 2 * apart + 1)) & (smooth > 5.0 * noise)
    rows, columns = np.nonzero(peak)
    return rows, columns, smooth[peak]


def _width(flat: NDArray[np.float64], noise: float) -> float:
    """Return the sigma, in pixels, told by the area of bright spots at half their height."""
    rows, columns, heights = _peaks(flat, noise, 2)
    bright = heights > BRIGHT * noise
    areas = []
    for row, column in zip(rows[bright], columns[bright], strict=True):
        top, left = max(0, row - _LARGEST), max(0, column - _LARGEST)
        around = flat[top : row + _LARGEST + 1, left : column + _LARGEST + 1]
        labels, _ = ndimage.label(around > flat[row, column] / 2.0)
        areas.append(np.count_nonzero(labels == labels[row - top, column - left]))
    if not areas:
        raise _no_beads()
    return max(0.5, math.sqrt(float(np.median(areas)) / (2.0 * math.pi * math.log(2.0))))


def _lone(
    flat: NDArray[np.float64], noise: float, reach: int, sigma: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pixels of the beads that have a cut-out for themselves."""
    rows, columns, heights = _peaks(flat, noise, math.ceil(2.0 * sigma))
    points = np.stack([rows, columns], 1).astype(np.float64)
    inner = ((points >= reach) & (points < np.array(flat.shape) - reach)).all(axis=1)
    chosen = np.flatnonzero(inner & (heights > BRIGHT * noise))
    near = cKDTree(points).query_ball_point(points[chosen], 1.5 * reach) if len(chosen) else []
    lone = [
        i for i, others in zip(chosen, near, strict=True)
        if heights[[j for j in others if j != i]].max(initial=0.0) < NEIGHBOUR * heights[i]
    ]  # fmt: skip
    lone = [i for i in lone if heights[i] < CLUMP * np.median(heights[lone])]
    if not lone:
        raise _no_beads()
    return rows[lone], columns[lone]


def _no_beads() -> InputError:
    return InputError(
        "the recording shows no bright bead that stands alone",
        "Record beads in focus, many pixels apart from each other and from the border",
        field="stack",
    )
