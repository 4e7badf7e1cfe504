"""What a stack tells about itself: its background, and the brightness of its molecules.

Both estimates hold for any density of molecules, as long as each is dark most of the time.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_unfold.estimation.dark_levels import (
    VALUES_PER_WINDOW,
    dark_levels,
    is_dim,
    shifts_in_windows,
)
from napari_unfold.imaging.camera import CameraModel, noise_variance

WINDOW_PX, FLAT_WINDOW_PX = 8, 6
"""Sides of the windows in which the background is taken to be constant, and of those in which what
is left of it once its shape is removed is; larger for few frames."""

MOST_VALUES = 4000
"""Of more frames only some are looked at."""

FLATTENINGS = 6
"""At most so many times the shape found so far is removed, so that even the edge of a lit cell is
flat."""

SETTLED = 0.1
"""When no pixel changes by more than this share of the noise, most change by less than 0.02, about
the error with which a window tells its level."""

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
    coarse = np.array([dark_levels(row, usual) for row in rows])
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
    coarse = shifts_in_windows(few, background, camera, windows, shown, lit)
    shift = _smooth_map(coarse, windows, few.shape)
    corrected = np.where(is_dim(background, camera), background, background + shift)
    return np.maximum(corrected, MIN_BACKGROUND_PHOTONS).astype(np.float32)


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


def window_starts(size: int, window: int) -> list[slice]:
    """Return half-overlapping windows that cover one axis, of the given side or the axis' own."""
    window = min(window, size)
    starts = range(0, max(size - window, 0) + 1, max(window // 2, 1))
    return [slice(s, s + window) for s in dict.fromkeys([*starts, size - window])]


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
