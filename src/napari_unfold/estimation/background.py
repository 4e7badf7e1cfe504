"""What a stack tells about itself: its background, and the brightness of its molecules.

Both estimates hold for any density of molecules, as long as each is dark most of the time.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_unfold.imaging.camera import CameraModel, noise_skewness, noise_variance
from napari_unfold.localization import kernels

WINDOW_PX, FLAT_WINDOW_PX = 8, 6
"""Sides of the windows in which the background is taken to be constant, and of those in which what
is left of it once its shape is removed is; larger for few frames."""

VALUES_PER_WINDOW = 400
MOST_VALUES = 4000
"""Of more frames only some are looked at."""

FLATTENINGS = 6
"""At most so many times the shape found so far is removed, so that even the edge of a lit cell is
flat."""

SETTLED = 0.05
"""No more than this share of the noise is left to correct: a window tells its level within 0.02."""

FEWEST_VALUES = 16

DIM_PHOTONS = 3.0
PATCH_PX = 4
"""Below this background, in units of the excess noise, patches are looked at instead of pixels."""

MIN_BACKGROUND_PHOTONS = 0.05
"""Lower bound of every background: the Kullback-Leibler fidelity needs a positive one."""

FRAMES_FOR_STRUCTURE = 20
"""So many frames tell as much about where molecules are as their number alone."""

MIN_CROWDING = 1e-3
"""Molecules per area of a PSF and frame that are thought possible anywhere."""

LARGEST_CORRELATION = 0.05
"""Of one frame with the next, with which frames count as independent."""

MIN_FRAMES_FOR_FLUCTUATIONS = 3
"""Below this number of frames the temporal variance says too little."""


def estimate_background(photons: NDArray[np.floating], camera: CameraModel) -> NDArray[np.float32]:
    """Estimate the background map from the dark moments of each region.

    The values below the background scatter by noise alone, molecules can only add light. For
    Gaussian noise of standard deviation ``s`` the values below the true background ``b`` lie
    ``s sqrt(2 / pi)`` below it on average, however few they are; ``b`` is found where this
    holds, in every window of a few pixels over all frames. Within a window on the edge of a lit
    cell the background is not constant; that is repeated on what is left when the map is removed.

    Parameters
    ----------
    photons : array (T, Y, X)
        Frames in photons (a sample of at most a few hundred).
    camera : CameraModel
        For its noise.

    Returns
    -------
    array (Y, X)
        Photons per camera pixel, smooth, positive.
    """
    few, usual = _spread(photons, WINDOW_PX), camera.typical
    windows = _windows(few.shape, WINDOW_PX)
    rows = (np.stack([few[:, r, c] for c in windows[1]]) for r in windows[0])
    coarse = np.array([_dark_levels(row, usual) for row in rows])
    background = np.maximum(_smooth_map(coarse, windows, few.shape), MIN_BACKGROUND_PHOTONS)
    for _ in range(FLATTENINGS):
        before, background = background, refined_background(photons, background, camera)
        noise = np.sqrt(noise_variance(background, camera))
        if (np.abs(background - before) < SETTLED * noise).all():
            break
    return background.astype(np.float32)


def refined_background(
    photons: NDArray[np.floating],
    background: NDArray[np.floating],
    camera: CameraModel,
    light: NDArray[np.floating] | None = None,
    factors: NDArray[np.floating] | None = None,
) -> NDArray[np.float32]:
    """Estimate what a background map is wrong by, and correct it.

    Parameters
    ----------
    photons : array (T, Y, X)
        Frames in photons.
    background : array (Y, X)
        Photons per camera pixel, as known so far.
    camera : CameraModel
    light : array (T, Y, X), optional
        Photons of the molecules that were found. Pixels to which they give more than the noise are
        left out: there a PSF that is not quite right would count as background.
    factors : array (T,), optional
        By which the background of each frame is multiplied, see `lamp`.

    Returns
    -------
    array (Y, X)
        Where the background is dim beside single photons, it stays as it was.
    """
    few = _spread(photons, FLAT_WINDOW_PX)
    shown = None if light is None else _spread(light, FLAT_WINDOW_PX)
    lit = None if factors is None else _spread(factors, FLAT_WINDOW_PX)
    windows = _windows(few.shape, FLAT_WINDOW_PX)
    shifts = _compiled_shifts if kernels.AVAILABLE else dark_shifts
    coarse = shifts(few, background, camera, windows, shown, lit)
    shift = _smooth_map(coarse, windows, few.shape)
    corrected = np.where(is_dim(background, camera), background, background + shift)
    return np.maximum(corrected, MIN_BACKGROUND_PHOTONS).astype(np.float32)


def is_dim(background: NDArray[np.floating], camera: CameraModel) -> NDArray[np.bool_]:
    """Mask of pixels whose photons are too few to be Gaussian distributed."""
    return np.asarray(background <= DIM_PHOTONS * camera.excess_noise)


def _spread(frames: NDArray[np.floating], window: int) -> NDArray[np.floating]:
    """Return as many of the frames, evenly spread, as windows of that side need."""
    return frames[:: max(1, len(frames) * window**2 // MOST_VALUES)]


def _windows(shape: tuple[int, ...], window: int) -> tuple[list[slice], list[slice]]:
    window = max(window, math.ceil(math.sqrt(VALUES_PER_WINDOW / shape[0])))
    return window_starts(shape[1], window), window_starts(shape[2], window)


def _smooth_map(
    coarse: NDArray[np.floating], windows: tuple[list[slice], list[slice]], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return a map ``(Y, X)`` from the values of the windows, without outliers."""
    median = ndimage.median_filter(coarse, size=3, mode="nearest")
    centers = [np.array([(w.start + w.stop - 1) / 2 for w in axis]) for axis in windows]
    side = windows[0][0].stop - windows[0][0].start
    # of large windows not every pixel is needed
    step = max(1, side // FLAT_WINDOW_PX)
    knots = [np.linspace(0, n - 1, math.ceil((n - 1) / step) + 1) for n in shape[1:]]
    spacing = [max(at[1] - at[0], 1.0) for at in knots]
    smooth = ndimage.gaussian_filter(
        _interpolate(median, centers, knots), [side / 2 / s for s in spacing], mode="nearest"
    )
    return _interpolate(smooth, knots, [np.arange(n, dtype=np.float64) for n in shape[1:]])


def dark_shifts(
    photons: NDArray[np.floating],
    background: NDArray[np.floating],
    camera: CameraModel,
    windows: tuple[list[slice], list[slice]],
    light: NDArray[np.floating] | None = None,
    factors: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Return what the background is wrong by in every window; arguments as `refined_background`."""
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

    As `_half_gaussian_centers`, for values of unequal noise; infinite ones are left out, and a set
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


def window_starts(size: int, window: int) -> list[slice]:
    """Return half-overlapping windows that cover one axis, of the given side or the axis' own."""
    window = min(window, size)
    starts = range(0, max(size - window, 0) + 1, max(window // 2, 1))
    return [slice(s, s + window) for s in dict.fromkeys([*starts, size - window])]


def _dark_levels(photons: NDArray[np.floating], camera: CameraModel) -> NDArray[np.float64]:
    """Background of windows ``(N, T, h, w)``, from single pixels or, where it is dim, from patches.

    Few photons are not Gaussian distributed; the sums of patches are closer to it.
    """
    levels = _half_gaussian_centers(photons.reshape(len(photons), -1), camera)
    patch: int = min(PATCH_PX, *photons.shape[2:])
    dim = levels <= DIM_PHOTONS * camera.excess_noise
    if patch < 2 or not dim.any():
        return levels
    rows, columns = (n // patch for n in photons.shape[2:])
    cut = photons[dim, :, : rows * patch, : columns * patch]
    cut = cut.reshape(len(cut), -1, rows, patch, columns, patch)
    sums = np.asarray(cut.sum(axis=(3, 5), dtype=np.float64)).reshape(len(cut), -1)
    summed = replace(camera, read_noise_photons=camera.read_noise_photons * patch)
    levels[dim] = _half_gaussian_centers(sums, summed) / (patch * patch)
    return levels


def _half_gaussian_centers(
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


def _interpolate(
    values: NDArray[np.floating],
    at: list[NDArray[np.float64]],
    to: list[NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Bilinear interpolation from a grid of rows and columns to another."""
    for axis, (known, wanted) in enumerate(zip(at, to, strict=True)):
        place = np.interp(wanted, known, np.arange(len(known)))
        left = place.astype(int)
        right = np.minimum(left + 1, len(known) - 1)
        share = np.expand_dims(place - left, 1 - axis)
        values = (1.0 - share) * values.take(left, axis) + share * values.take(right, axis)
    return np.asarray(values, dtype=np.float64)


def estimate_molecule_photons(
    photons: NDArray[np.floating],
    background: NDArray[np.floating],
    camera: CameraModel,
    point_energy: float,
) -> float:
    """Estimate the photons of a typical molecule in one frame, whatever the density.

    Molecules that come and go independently make each pixel fluctuate: the mean excess light is
    ``rate x photons`` and the variance beyond the noise ``rate x photons^2 x point_energy``, so
    their ratio gives the brightness (number and brightness analysis). With molecules of unequal
    brightness the bright ones count more. Stacks of a few frames use the variance over the
    pixels instead, which is right for molecules spread evenly.

    Parameters
    ----------
    photons : array (T, Y, X)
        Frames in photons.
    background : array (Y, X)
    camera : CameraModel
    point_energy : float
        Sum of squares of the image of a one-photon molecule on the camera.

    Returns
    -------
    float
        Photons; never below the faintest molecule that could be told from the noise.
    """
    light = photons - background
    if len(photons) >= MIN_FRAMES_FOR_FLUCTUATIONS:
        # within blocks of time, so that slow bleaching and drift do not count as blinking
        blocks = np.array_split(light, max(1, len(light) // 50))
        variance = float(np.mean([block.var(axis=0, ddof=1).mean() for block in blocks]))
    else:
        variance = float(np.mean([frame.var() for frame in light]))
    noise = float(noise_variance(photons.mean(axis=0), camera).mean())
    excess, mean = variance - noise, float(light.mean())
    uncertainty = noise * math.sqrt(2.0 / light.size)
    if mean <= 0 or excess <= 3.0 * uncertainty:
        return detection_limit(background, camera, point_energy)
    return max(excess / (mean * point_energy), detection_limit(background, camera, point_energy))


def frames_are_independent(
    photons: NDArray[np.floating], background: NDArray[np.floating], camera: CameraModel
) -> bool:
    """Tell whether molecules of one frame are dark in the next.

    The covariance of a pixel with itself in the next frame, beside its variance beyond the noise.

    Parameters
    ----------
    photons : array (T, Y, X)
        Neighbouring frames in photons.
    background : array (Y, X)
    camera : CameraModel
    """
    if len(photons) < MIN_FRAMES_FOR_FLUCTUATIONS:
        return False
    light = photons - background
    changes = light - light.mean(axis=0)
    noise = float(noise_variance(photons.mean(axis=0), camera).mean())
    variance = float(changes.var(axis=0).mean()) - noise
    covariance = float((changes[1:] * changes[:-1]).mean())
    return covariance < LARGEST_CORRELATION * variance


def detection_limit(
    background: NDArray[np.floating], camera: CameraModel, point_energy: float
) -> float:
    """Return the photons of the faintest molecule that stands out from the background.

    Four standard deviations of the best linear estimate of its brightness, ``s / ||a||`` for
    noise of standard deviation ``s``.
    """
    variance = float(noise_variance(np.median(background), camera.typical))
    return 4.0 * math.sqrt(variance / point_energy)


def estimate_crowding(
    photons: NDArray[np.floating],
    background: NDArray[np.floating],
    molecule_photons: float,
    sigma_px: float,
    factors: NDArray[np.floating] | None = None,
) -> NDArray[np.float32]:
    """Estimate how many molecules to expect in the area of a PSF and in one frame, at every pixel.

    The mean light of the stack over that of a molecule. A few frames show chance molecules rather
    than a structure, and count little beside the mean over the field.

    Parameters
    ----------
    photons : array (T, Y, X)
        Frames in photons.
    background : array (Y, X)
    molecule_photons : float
        Photons of a typical molecule in one frame.
    sigma_px : float
        PSF sigma; the area is ``4 pi sigma^2`` square pixels.
    factors : array (T,), optional
        By which the background of each frame is multiplied, see `lamp`.

    Returns
    -------
    array (Y, X)
        Positive.
    """
    area = 4.0 * math.pi * sigma_px**2
    mean = background if factors is None else background * factors.mean()
    here = (photons.mean(axis=0, dtype=np.float64) - mean) / molecule_photons * area
    everywhere = max(float(here.mean()), MIN_CROWDING)
    share = len(photons) / (len(photons) + FRAMES_FOR_STRUCTURE)
    mixed = share * here + (1.0 - share) * everywhere
    return np.asarray(np.maximum(mixed, 0.1 * everywhere), dtype=np.float32)
