"""The width of the PSF from the fluctuations of a stack, whatever its structure.

The light of one emitter reaches several pixels, which therefore fluctuate together. Independent
emitters add, and each contributes the autocorrelation of the PSF: averaged over the image, the
covariance of pixels at a distance d falls as ``exp(-d^2 / 4 sigma^2)``, wherever the emitters are.
(The same cross-cumulants give the PSF in SOFI: Dertinger et al., Optics Express 18, 2010.) Noise
differs from pixel to pixel and does not appear in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, signal, special

from napari_unfold.analysis.fluctuation import without_trend

SIGMA_RANGE_PX = (0.4, 4.0)
REACH_PX = 3
AXIS_REACH_PX = 8
LEAST_SIGNIFICANCE = 4.0
"""The shared fluctuations must exceed their own uncertainty by this factor."""


@dataclass(frozen=True)
class PSFWidth:
    """Sigma of a Gaussian PSF with its standard error, in camera pixels."""

    sigma_px: float
    error_px: float


class SpatialCovariance:
    """Covariance of pairs of pixels at each distance, averaged over a stack.

    Parameters
    ----------
    shape : tuple of int
        Camera pixels ``(Y, X)``.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        reach = min(AXIS_REACH_PX, (min(shape) - 4) // 2)
        near = range(-REACH_PX, REACH_PX + 1)
        self.displacements = [
            (dy, dx)
            for dy in range(reach + 1)
            for dx in range(-reach, reach + 1)
            if (dy, dx) > (0, 0) and ((dy in near and dx in near) or dy == 0 or dx == 0)
        ]
        self._windows = [
            np.outer(_window(shape[0], reach, dy), _window(shape[1], reach, abs(dx)))
            for dy, dx in self.displacements
        ]
        self.blocks: list[NDArray[np.float64]] = []
        self.weights: list[int] = []

    def add(self, frames: NDArray[np.floating]) -> None:
        """Add a block of frames ``(T, Y, X)`` in photons, at least 3, taken one after the other."""
        e = without_trend(frames)
        freedom = len(e) - 2
        values = []
        for (dy, dx), window in zip(self.displacements, self._windows, strict=True):
            here = e[:, : e.shape[1] - dy, max(-dx, 0) : e.shape[2] - max(dx, 0)]
            there = e[:, dy:, max(dx, 0) : e.shape[2] - max(-dx, 0)]
            products = np.einsum("tyx,tyx->yx", here, there, optimize=True)
            values.append(float((products * window).sum() / window.sum()) / freedom)
        self.blocks.append(np.array(values))
        self.weights.append(freedom)

    def psf_width(self) -> PSFWidth | None:
        """Fit the width of a pixel-integrated Gaussian PSF.

        The standard error is that of the jackknife over the blocks.

        Returns
        -------
        PSFWidth or None
            None if the fluctuations are too weak to tell, or too few blocks were added.
        """
        blocks, weights = np.array(self.blocks), np.array(self.weights, dtype=np.float64)
        n = len(blocks)
        if n < 3:
            return None
        sigma, amplitude = self.fit(np.average(blocks, axis=0, weights=weights))
        parts = []
        for left_out in range(n):
            keep = np.arange(n) != left_out
            parts.append(self.fit(np.average(blocks[keep], axis=0, weights=weights[keep])))
        errors = [math.sqrt((n - 1) / n * np.sum((p - p.mean()) ** 2)) for p in np.array(parts).T]
        low, high = SIGMA_RANGE_PX
        at_bound = not 1.02 * low < sigma < 0.98 * high
        if at_bound or amplitude < LEAST_SIGNIFICANCE * errors[1]:
            return None
        return PSFWidth(sigma, errors[0])

    def fit(self, covariance: NDArray[np.float64]) -> tuple[float, float]:
        """Least squares for sigma, amplitude, and a pedestal that all pixels share."""

        def residual_of(sigma: float) -> tuple[float, float]:
            shape = np.array(
                [_autocorrelation(dy, sigma) * _autocorrelation(dx, sigma)
                 for dy, dx in self.displacements]
            )  # fmt: skip
            design = np.stack([shape, np.ones_like(shape)], axis=1)
            solution, *_ = np.linalg.lstsq(design, covariance, rcond=None)
            misfit = covariance - design @ solution
            return float(misfit @ misfit), float(solution[0])

        best = optimize.minimize_scalar(
            lambda s: residual_of(s)[0], bounds=SIGMA_RANGE_PX, method="bounded"
        )
        return float(best.x), residual_of(best.x)[1]


def _autocorrelation(distance_px: int, sigma_px: float) -> float:
    """Autocorrelation of a Gaussian PSF integrated over pixels, along one axis.

    A triangle, the autocorrelation of a pixel, blurred by a Gaussian of ``sqrt(2) sigma``: the
    second difference of the Gaussian integrated twice.
    """
    width = math.sqrt(2.0) * sigma_px

    def twice_integrated(u: float) -> float:
        t = u / width
        density = math.exp(-0.5 * t * t) / math.sqrt(2.0 * math.pi)
        return float(u * special.ndtr(t) + width * density)

    d = distance_px
    return twice_integrated(d + 1) - 2 * twice_integrated(d) + twice_integrated(d - 1)


def _window(n_pixels: int, reach: int, distance: int) -> NDArray[np.float64]:
    """Weights of the pairs of pixels at a distance, along one axis, by their midpoint.

    The covariance of a pair depends on its midpoint and its distance as a product. With weights
    that are the same function of the midpoint at every distance, smooth and zero where the pair
    would leave the frame, the structure of the sample cancels.
    """
    midpoints = np.arange(n_pixels - distance) + distance / 2
    edge = (reach - 1) / 2
    span = n_pixels - 1 - 2 * edge
    grid = np.linspace(0.0, 1.0, 1001)
    taper = signal.windows.tukey(1001, 0.5)
    return np.asarray(np.interp((midpoints - edge) / span, grid, taper, left=0.0, right=0.0))
