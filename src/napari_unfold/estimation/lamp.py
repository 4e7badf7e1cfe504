"""Background that changes in time: a lamp that flickers, fades or is turned down.

The background of a frame is the map of the stack times a factor. A single frame tells its factor
by its dark pixels, but with noise, and a lamp that does not change is to cost nothing. So the
factors are shrunk (empirical Bayes): the two halves of a chessboard of blocks have noise and
molecules of their own, and what their levels have in common from frame to frame is the lamp's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_unfold.estimation.dark_levels import is_dim
from napari_unfold.imaging.camera import CameraModel, noise_skewness, noise_variance
from napari_unfold.localization import kernels

BLOCK_PX = 8
"""Side of the blocks: larger than a PSF, so that neighbours do not share molecules."""

LOOKED_AT_PIXELS = 2**16

FEWEST_FRAMES = 8
"""With fewer no change is told from noise."""

SIGNIFICANT = 3.0
"""Standard errors by which the levels of the halves must go together."""

SUDDEN = 6.0
"""A frame so many standard deviations from the others is taken as it is."""

SMALLEST_FACTOR = 0.05

LARGEST_FACTOR = 8.0
BISECTIONS = 14

DARKEST_SHARE = 0.02
"""Of the pixels; a level with fewer below is too low."""

ALIKE = 0.15
"""Frames whose lower quartiles differ by less than this share have light of one level."""

FEWEST_ALIKE = 10


@dataclass(frozen=True)
class Lamp:
    """How far the level of a frame is believed.

    Attributes
    ----------
    usual : float
        Level at which the factor is 1.
    weight : float
        0 to 1; 0 if the light does not change.
    scatter : float
        Standard deviation of the levels.
    lights_molecules : bool
        Whether molecules brighten and fade with the background.
    """

    usual: float = 1.0
    weight: float = 0.0
    scatter: float = math.inf
    lights_molecules: bool = False

    def factors(
        self, photons: NDArray[np.floating], background: NDArray[np.floating], camera: CameraModel
    ) -> NDArray[np.float32]:
        """Return by what to multiply the background in each frame.

        Parameters
        ----------
        photons : array (T, Y, X)
        background : array (Y, X)
        camera : CameraModel

        Returns
        -------
        array (T,)
            Positive; exactly 1 where the light does not change.
        """
        if not math.isfinite(self.scatter):
            return np.ones(len(photons), dtype=np.float32)
        change = levels(photons, background, camera).mean(axis=0) / self.usual - 1.0
        sudden = np.abs(change) > SUDDEN * self.scatter
        change = np.where(sudden, change, self.weight * change)
        return np.asarray(np.maximum(1.0 + change, SMALLEST_FACTOR), dtype=np.float32)


def watch_lamp(
    photons: NDArray[np.floating], background: NDArray[np.floating], camera: CameraModel
) -> Lamp:
    """Find out from a sample of frames ``(T, Y, X)`` whether the background changes in time."""
    if len(photons) < FEWEST_FRAMES or is_dim(background, camera).any():
        return Lamp()
    first, second = levels(photons, background, camera)
    mean = (first + second) / 2.0
    common = float(np.cov(first, second)[0, 1])
    error = float(first.std() * second.std()) / math.sqrt(len(first))
    usual = float(np.median(mean))
    own = float(np.var(first - second, ddof=1)) / 4.0
    if common < SIGNIFICANT * error or common <= 0:
        quartiles = np.quantile(mean, (0.25, 0.75))
        return Lamp(usual, 0.0, max(math.sqrt(own), float(np.diff(quartiles)[0]) / 1.349))
    return Lamp(float(mean.mean()), common / (common + own), float(mean.std()))


def levels(
    photons: NDArray[np.floating], background: NDArray[np.floating], camera: CameraModel
) -> NDArray[np.float64]:
    """Return the light of the dark pixels of each frame, relative to the background.

    Returns
    -------
    array (2, T)
        For the two halves of a chessboard.
    """
    step = math.ceil(background.size / LOOKED_AT_PIXELS)
    black = (np.indices(background.shape) // BLOCK_PX).sum(axis=0) % 2 == 0
    found = []
    for half in (black, ~black):
        rows, columns = (index[::step] for index in np.nonzero(half))
        behind, seen_by = background[rows, columns], camera.at(rows, columns)
        if kernels.AVAILABLE:
            pixels = rows * background.shape[1] + columns
            found.append(_compiled_levels(photons, pixels, behind, seen_by))
        else:
            found.append(_levels(photons[:, rows, columns], behind, seen_by))
    return np.array(found)


def _compiled_levels(
    photons: NDArray[np.floating],
    pixels: NDArray[np.intp],
    background: NDArray[np.floating],
    camera: CameraModel,
) -> NDArray[np.float64]:
    """Return the same as `_levels` from whole frames, on all cores."""
    from napari_unfold.estimation import compiled_levels as compiled

    read_variance = np.broadcast_to(np.square(camera.read_noise_photons), background.shape)
    arguments = (
        np.ascontiguousarray(photons.reshape(len(photons), -1), np.float32),
        pixels,
        np.ascontiguousarray(background, np.float32),
        (np.ascontiguousarray(read_variance, np.float32), float(camera.excess_noise)),
        (math.log(SMALLEST_FACTOR), math.log(LARGEST_FACTOR), BISECTIONS, DARKEST_SHARE),
    )
    found = np.empty(len(photons))
    kernels.in_pieces(lambda i, j: compiled.frame_levels(i, j, *arguments, found), len(photons))
    return found


def _levels(
    photons: NDArray[np.floating], background: NDArray[np.floating], camera: CameraModel
) -> NDArray[np.float64]:
    """Return the levels ``(T,)`` of frames ``(T, n)`` with a background ``(n,)``.

    Pixels below ``level x background`` scatter by noise alone, ``sqrt(2 / pi)`` standard deviations
    below it on average; where they are farther below, the level is too high. Each pixel counts by
    how much the level moves it beside its noise.
    """
    low = np.full(len(photons), math.log(SMALLEST_FACTOR))
    high = np.full(len(photons), math.log(LARGEST_FACTOR))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2.0
        known = np.exp(middle)[:, None] * background
        deviation = np.sqrt(noise_variance(known, camera))
        skewness = noise_skewness(known, camera) / (3.0 * math.sqrt(2.0 * math.pi))
        below = np.maximum(known - photons, 0.0) / deviation
        surplus = np.where(below > 0, below - math.sqrt(2.0 / math.pi) / (1.0 + skewness), 0.0)
        too_high = (surplus * (background / deviation)).sum(axis=1) > 0
        # a few outliers are below any level
        too_high &= (below > 0).mean(axis=1) > DARKEST_SHARE
        low, high = np.where(too_high, low, middle), np.where(too_high, middle, high)
    return np.asarray(np.exp((low + high) / 2.0))


def frames_of_one_level(photons: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Mask ``(T,)`` of the largest group of frames with about the same background.

    A map that was read from frames of different levels would have the shape of none.
    """
    everything = np.ones(len(photons), dtype=bool)
    step = math.ceil(photons[0].size / LOOKED_AT_PIXELS)
    quartile = np.quantile(photons.reshape(len(photons), -1)[:, ::step], 0.25, axis=1)
    if len(photons) < FEWEST_FRAMES or quartile.min() <= 0:
        return everything
    level = np.log(quartile)
    alike = np.abs(level[:, None] - level) < ALIKE
    largest = alike[alike.sum(axis=1).argmax()]
    return largest if largest.sum() >= FEWEST_ALIKE else everything
