"""A pixel as its neighbours predict it, where it cannot be trusted itself.

A PSF spreads light over several pixels, so that neighbours tell most of what a pixel receives.
The best linear prediction from them (ordinary kriging) follows from how pixels covary:
``exp(-d^2 / 4 sigma^2)`` at the distance d for light blurred by a Gaussian of sigma, noise only
with itself. It is exact for even light.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

SIGMA_PX = 1.0
"""Of the narrowest usual PSF; what is wider is smoother, and is predicted the better."""

NOISE_SHARE = 0.1
"""Variance of the noise relative to that of the light, for which the prediction is best."""

FAR_PX = 8
"""Neighbours are looked for so far, and farther only where there are too few."""

NEIGHBOURS = 20
"""As many as lie within sqrt(5) pixels."""


def prediction_weights(distance_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the weights, of sum one, with which pixels predict another.

    Parameters
    ----------
    distance_px : array (..., k, 2)
        Of the pixels to the one that is predicted, along y and x.

    Returns
    -------
    array (..., k)
    """
    d = np.asarray(distance_px, dtype=np.float64)
    k = d.shape[-2]
    between = d[..., :, None, :] - d[..., None, :, :]
    system = np.ones((*d.shape[:-2], k + 1, k + 1))
    system[..., :k, :k] = _covariance(between) + NOISE_SHARE * np.eye(k)
    system[..., k, k] = 0.0
    known = np.ones((*d.shape[:-2], k + 1))
    known[..., :k] = _covariance(d)
    return np.asarray(np.linalg.solve(system, known[..., None])[..., :k, 0])


def _covariance(distance_px: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.exp(-(distance_px**2).sum(axis=-1) / (4.0 * SIGMA_PX**2)))


@dataclass(frozen=True, eq=False)
class Prediction:
    """Pixels as the nearest others predict them.

    Parameters
    ----------
    wanted : array (Y, X), bool
        Pixels to predict.
    usable : array (Y, X), bool
        Pixels from which they are; never from themselves.
    """

    wanted: NDArray[np.bool_]
    usable: NDArray[np.bool_]

    @cached_property
    def matrix(self) -> csr_array:
        """Weights, sparse, of shape (wanted pixels, all pixels)."""
        wanted, usable = np.argwhere(self.wanted), np.argwhere(self.usable)
        k = min(NEIGHBOURS, len(usable) - 1)
        # all pixels of a large frame need not be searched
        near = np.argwhere(self.usable & ndimage.maximum_filter(self.wanted, 2 * FAR_PX + 1))
        distance, nearest = np.full(1, np.inf), np.empty(0)
        if len(near) > k:
            distance, nearest = cKDTree(near).query(wanted, k + 1)
        if distance.max(initial=0.0) > FAR_PX:
            _, nearest = cKDTree(usable).query(wanted, k + 1)
        else:
            usable = near
        own = (usable[nearest] == wanted[:, None]).all(axis=2)
        # the pixel itself, or else the farthest one, is left out
        own[~own.any(axis=1), -1] = True
        pixels = usable[nearest[~own].reshape(len(wanted), k)]
        weights = prediction_weights(pixels - wanted[:, None])
        columns = pixels[..., 0] * self.wanted.shape[1] + pixels[..., 1]
        starts = np.arange(len(wanted) + 1) * k
        shape = len(wanted), self.wanted.size
        return csr_array((weights.ravel(), columns.ravel(), starts), shape=shape)

    def __call__(self, frames: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the predicted values ``(T, wanted)`` of frames ``(T, Y, X)``."""
        flat = frames.reshape(len(frames), -1)
        return np.asarray((self.matrix @ flat.T).T, dtype=np.float32)


def filled(frames: NDArray[np.float32], unusable: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return frames in which unusable pixels are replaced by what the others predict.

    Parameters
    ----------
    frames : array (..., Y, X)
    unusable : array (Y, X), bool
    """
    if unusable.sum() > unusable.size - 2 or not unusable.any():
        return frames
    stack = frames.reshape(-1, *unusable.shape).copy()
    stack[:, unusable] = Prediction(unusable, ~unusable)(stack)
    return stack.reshape(frames.shape)
