"""Levels of the dark pixels in windows of a stack, to which molecules can only add light.

For Gaussian noise of standard deviation ``s`` the values below the true level ``b`` lie
``s sqrt(2 / pi)`` below it on average, however few they are.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_unfold.imaging.camera import CameraModel, noise_skewness, noise_variance
from napari_unfold.localization import kernels

VALUES_PER_WINDOW = 400

FEWEST_VALUES = 16

DIM_PHOTONS = 3.0
PATCH_PX = 4
"""Below this background, in units of the excess noise, patches are looked at instead of pixels."""


def is_dim(background: NDArray[np.floating], camera: CameraModel) -> NDArray[np.bool_]:
    """Mask of pixels whose photons are too few to be Gaussian distributed."""
    return np.asarray(background <= DIM_PHOTONS * camera.excess_noise)


def dark_levels(photons: NDArray[np.floating], camera: CameraModel) -> NDArray[np.float64]:
    """Background of windows ``(N, T, h, w)``, from single pixels or, where it is dim, from patches.

    Few photons are not Gaussian distributed; the sums of patches are closer to it.
    """
    levels = half_gaussian_centers(photons.reshape(len(photons), -1), camera)
    patch: int = min(PATCH_PX, *photons.shape[2:])
    dim = levels <= DIM_PHOTONS * camera.excess_noise
    if patch < 2 or not dim.any():
        return levels
    rows, columns = (n // patch for n in photons.shape[2:])
    cut = photons[dim, :, : rows * patch, : columns * patch]
    cut = cut.reshape(len(cut), -1, rows, patch, columns, patch)
    sums = np.asarray(cut.sum(axis=(3, 5), dtype=np.float64)).reshape(len(cut), -1)
    summed = replace(camera, read_noise_photons=camera.read_noise_photons * patch)
    levels[dim] = half_gaussian_centers(sums, summed) / (patch * patch)
    return levels


def half_gaussian_centers(
    photons: NDArray[np.floating], camera: CameraModel
) -> NDArray[np.float64]:
    """Solve ``mean(b - v | v < b) = s(b) sqrt(2 / pi)`` for b among each row of values ``(N, n)``.

    Photon noise is skewed, by ``g``, and more than half of it lies below its mean; to first order
    (Edgeworth) that divides the right hand side by ``1 + g / (3 sqrt(2 pi))``.
    """
    ordered = np.sort(photons, axis=1).astype(np.float64)
    below = np.arange(1, ordered.shape[1] + 1)
    mean_distance = ordered - np.cumsum(ordered, axis=1) / below
    expected = np.sqrt(2.0 / math.pi * noise_variance(ordered, camera))
    expected /= 1.0 + noise_skewness(ordered, camera) / (3.0 * math.sqrt(2.0 * math.pi))
    # a few lowest values say little, and no value at all scatters around zero photons
    usable = (below >= min(FEWEST_VALUES, len(below))) & (expected > 0)
    crossed = usable & (mean_distance >= expected)
    found = np.take_along_axis(ordered, crossed.argmax(axis=1)[:, None], 1)[:, 0]
    return np.where(crossed.any(axis=1), found, np.median(ordered, axis=1))


def shifts_in_windows(
    photons: NDArray[np.floating],
    background: NDArray[np.floating],
    camera: CameraModel,
    windows: tuple[list[slice], list[slice]],
    light: NDArray[np.floating] | None = None,
    factors: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Return what the background is wrong by in every window ``(rows, columns)``.

    Parameters
    ----------
    photons : array (T, Y, X)
    background : array (Y, X)
    camera : CameraModel
    windows : tuple of list of slice
        Rows and columns.
    light : array (T, Y, X), optional
        Photons of the molecules that were found; where they exceed the noise nothing is told.
    factors : array (T,), optional
        By which the background of each frame is multiplied.
    """
    way = _compiled_shifts if kernels.AVAILABLE else dark_shifts
    return way(photons, background, camera, windows, light, factors)


def dark_shifts(
    photons: NDArray[np.floating],
    background: NDArray[np.floating],
    camera: CameraModel,
    windows: tuple[list[slice], list[slice]],
    light: NDArray[np.floating] | None = None,
    factors: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Do the same, row by row."""
    known = np.broadcast_to(background, photons.shape)
    if factors is not None:
        known = known * factors[:, None, None]
    hidden = np.zeros(photons.shape, dtype=bool)
    if light is not None:
        hidden = light > np.sqrt(noise_variance(known, camera))
        known = known + light
    deviation = np.sqrt(noise_variance(known, camera))
    skewness = noise_skewness(known, camera)
    left = np.where(hidden, np.inf, photons - known)
    rows = []
    for r in windows[0]:
        of_row = [
            np.stack([values[:, r, c].ravel() for c in windows[1]])
            for values in (left, deviation, skewness)
        ]
        rows.append(dark_shift(*of_row))
    return np.array(rows)


def _compiled_shifts(
    photons: NDArray[np.floating],
    background: NDArray[np.floating],
    camera: CameraModel,
    windows: tuple[list[slice], list[slice]],
    light: NDArray[np.floating] | None,
    factors: NDArray[np.floating] | None,
) -> NDArray[np.float64]:
    """Return the same as `dark_shifts`, on all cores."""
    from napari_unfold.estimation import compiled_levels as compiled

    def floats(values: NDArray[np.floating] | float) -> NDArray[np.float32]:
        return np.ascontiguousarray(values, dtype=np.float32)

    n, *shape = photons.shape
    read_variance = np.broadcast_to(np.square(camera.read_noise_photons), shape)
    tops, lefts = (np.array([one.start for one in axis]) for axis in windows)
    height, width = (axis[0].stop - axis[0].start for axis in windows)
    arguments = (
        (tops, lefts, height, width),
        floats(photons),
        floats(background),
        np.ones(n, np.float32) if factors is None else floats(factors),
        np.zeros((0, 1, 1), np.float32) if light is None else floats(light),
        (floats(read_variance), float(camera.excess_noise)),
        (FEWEST_VALUES, VALUES_PER_WINDOW // 5),
    )
    shifts = np.empty((len(tops), len(lefts)))
    kernels.in_pieces(lambda i, j: compiled.dark_shifts(i, j, *arguments, shifts), len(tops))
    return shifts


def dark_shift(
    left: NDArray[np.floating], deviation: NDArray[np.floating], skewness: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Zero of the noise in each of ``(n, m)`` sets of values whose noise is known.

    As `half_gaussian_centers`, for values of unequal noise; infinite ones are left out, and a set
    in which too few remain says nothing (0).
    """
    order = np.argsort(left, axis=1)
    ordered = np.take_along_axis(left, order, 1).astype(np.float64)
    below = np.arange(1, ordered.shape[1] + 1)
    with np.errstate(invalid="ignore"):
        distance = ordered - np.cumsum(ordered, axis=1) / below
    expected = np.cumsum(np.take_along_axis(deviation, order, 1), axis=1) / below
    skew = np.cumsum(np.take_along_axis(skewness, order, 1), axis=1) / below
    expected *= math.sqrt(2.0 / math.pi) / (1.0 + skew / (3.0 * math.sqrt(2.0 * math.pi)))
    finite = np.isfinite(ordered)
    crossed = finite & (below >= min(FEWEST_VALUES, len(below))) & (distance >= expected)
    at = np.where(crossed.any(axis=1), crossed.argmax(axis=1), finite.sum(axis=1) // 2)
    found = np.take_along_axis(ordered, np.minimum(at, len(below) - 1)[:, None], 1)[:, 0]
    enough = finite.sum(axis=1) >= VALUES_PER_WINDOW // 5
    return np.where(enough & np.isfinite(found), found, 0.0)
