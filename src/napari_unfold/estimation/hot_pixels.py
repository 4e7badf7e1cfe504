"""Pixels that are noisier than the others, or dead, found from the stack itself.

The light of molecules, of filaments and of the background is blurred by the PSF, so that a pixel
is nearly what its neighbours predict, in every frame (`imaging.neighbours`). What is left is noise:
that of photons and of the usual pixel, which is known, and what this pixel has of its own, a wrong
offset included. Frames are weighted by the inverse square of the variance expected in them, so
that those in which the surroundings are dark say most. What a narrow PSF leaves unpredicted counts
as expected.

A noisy pixel also spoils the prediction of its neighbours. The noisiest are therefore taken
first, and replaced by their own prediction before the rest is judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_unfold.imaging.camera import CameraModel, noise_variance
from napari_unfold.imaging.neighbours import Prediction, prediction_weights

LOOKED_AT_PIXELS = 2**22
FEWEST_FRAMES = 8
"""So many pixels of the sample are looked at, or so many frames if that is more."""

UNPREDICTED = 0.6
"""What the prediction of a molecule may miss: its square over that of the light around it, by how
much the four nearest pixels stand out of those two pixels away. A Gaussian PSF of a sigma of
0.8 pixels in the middle of a pixel leaves 0.57, and 0.10 on average over all places; one of 1.2
pixels 0.04."""

FEW_FRAMES, UNPREDICTED_BY_FEW = 20, 0.2
"""Of so few frames the darkest may not be dark: without weights, the pixel must also exceed noise
and this share of the light; of more frames accordingly less."""

LEAST_NOISE = 1.4
"""A pixel is noisier than others if the mean square left over is so many times what is usual."""

DEVIATIONS, TAIL_FRAMES = 7.0, 8.0
"""And if it lies so many standard deviations beyond the other pixels, more with few frames, of
which a molecule or two may make up most."""

MUTE = 10.0
"""A pixel of so many times the usual noise tells less than a tenth of what others tell: nothing."""

ROUNDS = 12

MOST_BAD = 0.2
"""With more pixels than this share it is something else."""

_REACH = 2
_SHELLS = (1, 2, 4, 5)
"""Squared distances of the 20 pixels around one; all that is needed are sums over these shells."""

_PLACES = [
    [
        (y, x)
        for y in range(-_REACH, _REACH + 1)
        for x in range(-_REACH, _REACH + 1)
        if y * y + x * x == d
    ]
    for d in _SHELLS
]
_COUNTS = np.array([len(places) for places in _PLACES], dtype=np.float32)
_WEIGHTS = prediction_weights(np.concatenate([np.array(places, dtype=float) for places in _PLACES]))
_SHELL_WEIGHTS = _WEIGHTS[np.cumsum(_COUNTS).astype(int) - 1].astype(np.float32)


def _shells(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return sums ``(4, Y, X)`` over the shells around every pixel, mirrored at the border."""
    rows, columns = image.shape
    padded = np.pad(image, _REACH, mode="reflect")
    sums = np.zeros((len(_SHELLS), rows, columns), dtype=np.float32)
    for total, places in zip(sums, _PLACES, strict=True):
        for y, x in places:
            total += padded[_REACH + y : _REACH + y + rows, _REACH + x : _REACH + x + columns]
    return sums


def _weighted(shells: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.tensordot(weights, shells, axes=1), dtype=np.float32)


@dataclass(frozen=True)
class PixelNoise:
    """Which pixels are worse than the others, and by how much.

    Attributes
    ----------
    extra_variance : array (Y, X)
        Beyond what is usual, in photons squared; 0 for all pixels that do not stand out.
    unusable : array (Y, X), bool
        Dead pixels, and those so noisy that they tell nothing.
    """

    extra_variance: NDArray[np.float32]
    unusable: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Number of pixels that stand out."""
        return int(np.count_nonzero((self.extra_variance > 0) | self.unusable))

    def added_to(self, camera: CameraModel) -> CameraModel:
        """Return the camera with the noise of its pixels."""
        if not self.count:
            return camera
        variance = camera.read_noise_photons**2 + np.where(self.unusable, 0, self.extra_variance)
        return replace(
            camera,
            read_noise_photons=np.sqrt(variance).astype(np.float32),
            unusable=self.unusable | (False if camera.unusable is None else camera.unusable),
        )

    def sentence(self) -> str:
        """Return what to say of them; nothing if there are none."""
        if not self.count:
            return ""
        text = (
            f"{self.count} of {self.unusable.size} pixels are noisier than the others, or dead; "
            "they count for less"
        )
        muted = int(self.unusable.sum())
        return f"{text}, and {muted} of them for nothing" if muted else text


def find_hot_pixels(photons: NDArray[np.float32], camera: CameraModel) -> PixelNoise:
    """Find the pixels whose noise their neighbours do not share, and dead ones.

    Parameters
    ----------
    photons : array (T, Y, X)
        Frames of a sample.
    camera : CameraModel
        For the usual noise; that it is stated right does not matter much.
    """
    photons = _some(photons)
    shape = photons.shape[1:]
    bad = np.zeros(shape, dtype=bool)
    if min(shape) < 2 * _REACH + 1:
        return PixelNoise(np.zeros(shape, np.float32), bad)
    dead = _dead(photons, camera)
    bad |= dead
    misfit = _Misfit(photons, bad, camera)
    for _ in range(ROUNDS):
        extra = np.where(bad, -np.inf, misfit.extra)
        worst = extra == ndimage.maximum_filter(extra, 2 * _REACH + 1)
        new = misfit.stands_out & ~bad & worst
        if not new.any() or bad.mean() > MOST_BAD:
            break
        bad |= new
        misfit = _Misfit(photons, bad, camera)
    found = misfit.stands_out & bad | dead
    extra = np.where(found, np.maximum(misfit.extra, 0.0), 0.0).astype(np.float32)
    return PixelNoise(extra, dead | (extra > MUTE * misfit.usual))


def residual_noise(photons: NDArray[np.float32], camera: CameraModel) -> NDArray[np.float64]:
    """Return the noise ``(Y, X)`` that pixels do not share with their neighbours.

    Parameters
    ----------
    photons : array (T, Y, X)
        Frames of a sample, of at least 5 x 5 pixels.
    camera : CameraModel

    Returns
    -------
    array (Y, X)
        Mean square over what is expected of the camera.
    """
    few = _some(photons)
    return np.asarray(_Misfit(few, np.zeros(few.shape[1:], dtype=bool), camera).ratio)


def _some(photons: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return frames of the sample, evenly spread."""
    wanted = max(FEWEST_FRAMES, LOOKED_AT_PIXELS // photons[0].size)
    if len(photons) <= wanted:
        return photons
    return np.asarray(photons[np.linspace(0, len(photons) - 1, wanted).astype(int)])


class _Misfit:
    """How far pixels are from what their neighbours predict.

    Parameters
    ----------
    photons : array (T, Y, X)
    bad : array (Y, X), bool
        Pixels that predict no others.
    camera : CameraModel

    Attributes
    ----------
    extra : array (Y, X)
        Variance beyond what is usual, in photons squared.
    usual : array (Y, X)
        What is usual.
    stands_out : array (Y, X), bool
    ratio : array (Y, X)
        Mean square of what is left over what is expected.
    """

    def __init__(
        self, photons: NDArray[np.float32], bad: NDArray[np.bool_], camera: CameraModel
    ) -> None:
        apart = bad.copy()  # pixels without the usual neighbours
        apart[:_REACH] = apart[-_REACH:] = apart[:, :_REACH] = apart[:, -_REACH:] = True
        others = Prediction(apart, ~bad)
        squares = others.matrix.power(2)
        least = 0.5 * _usual_noise(photons)
        sums = np.zeros((4, *bad.shape))
        plain = np.zeros((3, *bad.shape))
        for frame, at_apart in zip(photons, others(photons), strict=True):
            seen = frame.copy()
            seen[bad] = at_apart[bad[apart]]
            shells = _shells(seen)
            predicted = _weighted(shells, _SHELL_WEIGHTS)
            predicted[apart] = at_apart
            mean = shells.sum(axis=0) / _COUNTS.sum()
            one = np.maximum(noise_variance(mean, camera), least).astype(np.float32)
            both = one + _weighted(_shells(one), _SHELL_WEIGHTS**2)
            both[apart] = one[apart] + squares @ one.ravel()
            terms = (frame - predicted) ** 2, both, _structure(shells, _shells(seen * seen), one)
            expected = terms[1] + UNPREDICTED * terms[2]
            weight = 1.0 / expected**2
            plain += terms
            sums += (weight, weight * expected, weight * terms[0], weight * one)
        total, expected, left, noise = sums
        square, plain_noise, structure = plain
        ratio = left / expected
        middle = float(np.median(ratio[~bad]))
        spread = 1.4826 * float(np.median(np.abs(ratio[~bad] - middle)))
        center = max(middle, 1.0)  # where there is light everywhere, less than was allowed for it
        scatter = np.maximum(spread, center * np.sqrt(2.0 * total) / expected)
        deviations = DEVIATIONS * (1.0 + TAIL_FRAMES / len(photons))
        self.extra = (ratio - center) * expected / total
        self.usual = center * noise / total
        self.ratio = ratio
        share = UNPREDICTED_BY_FEW * min(1.0, FEW_FRAMES / len(photons))
        self.stands_out = (
            (ratio > LEAST_NOISE * center)
            & (ratio - center > deviations * scatter)
            & (square > center * plain_noise + share * structure)
        )


def _structure(
    shells: NDArray[np.float32], square: NDArray[np.float32], noise: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How structured the light around every pixel is, in photons squared, without its noise.

    The mean square by which the four nearest pixels stand out of those two pixels away, and half
    the variance of all, which shows ridges.
    """
    nearest, nearest_square = shells[0] / _COUNTS[0], square[0] / _COUNTS[0]
    level = shells[2:].sum(axis=0) / _COUNTS[2:].sum()
    ring, ring_square = (values.sum(axis=0) / _COUNTS.sum() for values in (shells, square))
    peak = nearest_square - 2.0 * level * nearest + level * level - noise
    ridge = ring_square - ring * ring - noise
    return np.asarray(np.maximum(peak + 0.5 * ridge, 0.0), dtype=np.float32)


def _usual_noise(photons: NDArray[np.float32]) -> float:
    """Return the variance of a typical pixel, from differences that hardly keep any light."""
    few = photons[:: math.ceil(len(photons) / FEWEST_FRAMES)]
    difference = np.diff(np.diff(few, 2, axis=1), 2, axis=2) / 6.0
    return max(float(1.4826 * np.median(np.abs(difference))) ** 2, 1e-6)


def _dead(photons: NDArray[np.float32], camera: CameraModel) -> NDArray[np.bool_]:
    """Mask of the pixels that never change where the least noise would have changed them.

    That they happen to be equal in all frames has, for the light m of the darkest pixels and noise
    of a standard deviation of s grey values, in every frame but the first the probability of the
    likeliest value: ``exp(-m)`` for few photons, ``1 / (sqrt(2 pi) s)`` for many.
    """
    constant = np.ptp(photons, axis=0) == 0
    if not 0 < constant.mean() < MOST_BAD:
        return np.zeros_like(constant)
    usual = camera.typical
    level = max(float(np.percentile(photons.mean(axis=0)[~constant], 1.0)), 0.0)
    deviation = np.sqrt(noise_variance(np.asarray(level), usual)) * usual.adu_per_photon
    chance = 1.0 / max(math.sqrt(2.0 * math.pi) * float(deviation), 1.0)
    if usual.read_noise_photons == 0:
        chance = max(chance, math.exp(-level))
    return np.asarray(constant & (chance ** (len(photons) - 1) * constant.size < 0.01))
