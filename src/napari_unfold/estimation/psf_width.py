"""The width of the PSF from the fluctuations of a stack, at any density of molecules.

What changes from one frame to the next is molecules that light up or fade, each of them an image
of the PSF, and noise. Molecules change independently of each other. Hence the spatial
autocovariance of the difference of two frames is the autocorrelation of the PSF, times a factor
for their number and brightness, however much their images overlap; the noise of different pixels
is independent and adds to lag zero only. No molecule has to be found.

Autocovariances of different lags err together, Fourier coefficients hardly do. Therefore the power
spectrum is fitted in their place, ``f(k) = A S(k; sigma) + N`` with ``S`` the transform of the
autocorrelation, by the likelihood of periodograms (Whittle 1953): they are exponentially
distributed around ``f``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from napari_unfold.estimation.background import window_starts
from napari_unfold.estimation.measured import Measured, jackknife_error

TILE_PX = 64
"""Side of the half-overlapping tiles whose spectra are averaged, if there are frames enough."""

SIGMA_RANGE_PX = (0.35, 8.0)

GAUSSIAN_MODEL_ERROR = 0.003
"""Relative error of the width that is always allowed for: no PSF is exactly Gaussian."""

LOWEST_PERIODS = 2.0
"""Periods a wave must have within `TILE_PX`; slower ones show lamp and haze, not molecules."""


def gaussian_autocorrelation(lag_px: NDArray[np.floating], sigma_px: float) -> NDArray[np.float64]:
    """Autocorrelation along one axis of a Gaussian PSF integrated over pixels.

    A triangle of half-width one pixel (the pixel correlated with itself) convolved with a
    Gaussian of variance ``2 sigma^2``: the second difference of its double integral.

    Parameters
    ----------
    lag_px : array
        Distances in pixels.
    sigma_px : float
        PSF sigma in pixels.
    """
    width = math.sqrt(2.0) * sigma_px

    def twice_integrated(x: NDArray[np.floating]) -> NDArray[np.float64]:
        t = x / width
        density = np.exp(-0.5 * t * t) / math.sqrt(2.0 * math.pi)
        return np.asarray(x * special.ndtr(t) + width * density)

    lag = np.asarray(lag_px, dtype=np.float64)
    return twice_integrated(lag + 1) - 2 * twice_integrated(lag) + twice_integrated(lag - 1)


class FluctuationSpectrum:
    """The mean power spectrum of differences of frames, gathered tile by tile.

    Parameters
    ----------
    shape : tuple of int
        Camera pixels ``(Y, X)``.
    tile_px : int
        Side of the tiles, or as much of it as fits into the frame.
    n_blocks : int
        Parts whose scatter will give the standard error.
    """

    def __init__(self, shape: tuple[int, int], tile_px: int, n_blocks: int) -> None:
        self._columns = window_starts(shape[1], tile_px)
        self._tile = min(tile_px, shape[0]), min(tile_px, shape[1])
        tapers = [np.sin(math.pi * (np.arange(n) + 0.5) / n) for n in self._tile]
        self._tapers = [t / math.sqrt(float(np.sum(t * t))) for t in tapers]
        self._multiplicity = _fold(np.ones(self._tile))
        self._sums = np.zeros((n_blocks, *self._multiplicity.shape))
        self._counts = np.zeros(n_blocks)

    def add(self, difference: NDArray[np.floating], block: int) -> None:
        """Add a row of tiles, ``(tile_px, X)``, of the difference of two frames, to a block."""
        taper = np.outer(*self._tapers)
        for column in self._columns:
            tile = difference[:, column]
            power = np.abs(np.fft.fft2((tile - tile.mean()) * taper)) ** 2
            self._sums[block] += _fold(power) / self._multiplicity
            self._counts[block] += 1

    def fit(self, differences_per_block: float) -> Measured:
        """Return the PSF sigma in pixels, its standard error from a jackknife over the blocks."""
        total, n = self._sums.sum(0), float(self._counts.sum())
        spectrum = total / n
        sigma = self._sigma(spectrum)
        # the width without each block in turn
        parts = [p for p in zip(self._sums, self._counts, strict=True) if 0 < p[1] < n]
        left_out = [self._sigma((total - s) / (n - c), near=sigma) for s, c in parts]
        error = jackknife_error(np.log(left_out), differences_per_block)
        return Measured(sigma, sigma * math.hypot(float(error), GAUSSIAN_MODEL_ERROR))

    @property
    def _weights(self) -> NDArray[np.float64]:
        """How often each frequency of the folded spectrum counts; not at all if too low."""
        y, x = np.indices(self._multiplicity.shape)
        periods = np.hypot(y / self._tile[0], x / self._tile[1]) * TILE_PX
        low = max(LOWEST_PERIODS, 1.5 * TILE_PX / min(self._tile))
        return np.asarray(self._multiplicity * (periods > low))

    def _shape_of(self, sigma_px: float) -> NDArray[np.float64]:
        """Return the expected spectrum of molecules of unit power, taper included."""
        return np.outer(*(_axis_spectrum(taper, sigma_px) for taper in self._tapers))

    def _sigma(self, spectrum: NDArray[np.float64], near: float | None = None) -> float:
        weights = self._weights

        def loss(log_sigma: float) -> float:
            shape = self._shape_of(math.exp(log_sigma))
            light, noise = _amplitudes(spectrum, shape, weights)
            fitted = light * shape + noise
            return float(np.sum(weights * (np.log(fitted) + spectrum / fitted)))

        if near is None:
            grid = np.log(np.geomspace(SIGMA_RANGE_PX[0], SIGMA_RANGE_PX[1], 16))
            best = int(np.argmin([loss(value) for value in grid]))
            bounds = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        else:
            bounds = math.log(near) - 0.3, math.log(near) + 0.3
        found = optimize.minimize_scalar(
            loss, bounds=bounds, method="bounded", options={"xatol": 1e-4}
        )
        return math.exp(found.x)


def _axis_spectrum(taper: NDArray[np.float64], sigma_px: float) -> NDArray[np.float64]:
    """Transform the autocorrelation times that of the taper: what a periodogram is on average."""
    n = len(taper)
    lag = np.arange(n, dtype=float)
    covariance = gaussian_autocorrelation(lag, sigma_px)
    covariance *= np.correlate(taper, taper, "full")[n - 1 :]
    cosine = np.cos(2 * math.pi / n * np.outer(np.arange(n // 2 + 1), lag[1:]))
    return np.asarray(covariance[0] + 2.0 * cosine @ covariance[1:])


def _amplitudes(
    spectrum: NDArray[np.float64], shape: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, float]:
    """Maximum likelihood factors ``(A, N)`` of ``A shape + N``, both positive: Fisher scoring."""
    quiet = weights * (shape <= np.quantile(shape[weights > 0], 0.5))
    noise = max(float(np.average(spectrum, weights=quiet)), 1e-12)
    light = max(float(np.sum(weights * (spectrum - noise)) / np.sum(weights * shape)), 1e-6 * noise)
    for _ in range(30):
        q = weights / (light * shape + noise) ** 2
        s1, s2, s0 = (float(np.sum(q * shape**i)) for i in (1, 2, 0))
        y1, y0 = float(np.sum(q * shape * spectrum)), float(np.sum(q * spectrum))
        determinant = max(s2 * s0 - s1 * s1, 1e-300)
        new_light = max((s0 * y1 - s1 * y0) / determinant, 0.1 * light)
        new_noise = max((s2 * y0 - s1 * y1) / determinant, 0.1 * noise)
        settled = abs(new_light / light - 1) + abs(new_noise / noise - 1) < 1e-6
        light, noise = new_light, new_noise
        if settled:
            break
    return light, noise


def _fold(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up the four frequencies ``(+-ky, +-kx)`` of a spectrum ``(Y, X)``."""
    for axis in (0, 1):
        power = np.moveaxis(power, axis, 0)
        n = len(power)
        folded = power[: n // 2 + 1].copy()
        folded[1 : (n + 1) // 2] += power[: n // 2 : -1]
        power = np.moveaxis(folded, 0, axis)
    return power
