"""Camera offset and gain from a stack of molecules: photon transfer where everything blinks.

The noise of a pixel grows in proportion to its light,
``variance = gain x excess noise x (mean - offset) + read variance`` (photon transfer, Janesick
2007). Two things stand in the way of reading that line from a stack.

*Blinking also makes pixels fluctuate.* But molecules are blurred by the PSF and noise is not: a
high difference of neighbouring pixels keeps the noise and hardly any of the molecules. What is
left of them is known once the PSF is, as a fraction of the covariance of neighbouring pixels (to
which noise does not contribute), and taken off.

*The light of a window has noise of its own*, by which it is correlated with the variance measured
there: their noise shares ``kappa = sum(window^2) / 2`` of a pixel's second and third cumulant and
is taken off as well.

Windows are weighted by the inverse square of their expected variance, since the error of a
variance is proportional to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_unfold.estimation.measured import Measured, jackknife_error
from napari_unfold.estimation.psf_width import gaussian_autocorrelation
from napari_unfold.settings.microscope import Camera

ORDERS = (2, 4, 6, 8)
"""Orders of the difference of neighbouring pixels; the lowest that suits the molecules is best."""

WINDOW_PX = 3

MOLECULES_SHARE = 0.05
"""An order suits if the molecules left over would change the slope by less than this share."""

LEFTOVER_ERROR = 0.1
"""Relative error allowed for what is taken off for the molecules."""


@dataclass(frozen=True)
class PhotonTransfer:
    """The line ``noise variance = slope x (grey value - dark)``, in ADU.

    Attributes
    ----------
    slope : Measured
        Gain times excess noise: noise tells their product only.
    dark : Measured
        Grey value at which the noise would vanish: the offset, less what read noise takes off.
    """

    slope: Measured
    dark: Measured

    def adu_per_photon(self, camera: Camera) -> Measured | None:
        """Return the gain of a camera, or None if its excess noise is not known."""
        excess_noise = camera.known_excess_noise
        return None if excess_noise is None else self.slope * (1.0 / excess_noise)

    def offset_adu(self, camera: Camera) -> Measured:
        """Return the offset of a camera, corrected for its read noise as far as that is known."""
        gain = self.adu_per_photon(camera)
        if gain is None or camera.read_noise_photons is None:
            return self.dark
        read_noise_adu = camera.read_noise_photons * gain.value
        raised = self.dark.value + read_noise_adu**2 / self.slope.value
        return Measured(raised, self.dark.standard_error)


class NoiseWindows:
    """Light, noise and molecules in small windows, gathered from pairs of frames.

    Parameters
    ----------
    n_blocks : int
        Parts whose scatter will give the standard errors.
    """

    def __init__(self, n_blocks: int) -> None:
        self._n_blocks = n_blocks
        self._parts: dict[int, list[NDArray[np.float32]]] = {order: [] for order in ORDERS}
        self._blocks: dict[int, list[NDArray[np.intp]]] = {order: [] for order in ORDERS}

    def add(self, first: NDArray[np.floating], second: NDArray[np.floating], block: int) -> None:
        """Add the same region ``(Y, X)`` of two neighbouring frames, in ADU, to a block."""
        mean = (np.asarray(first, dtype=np.float64) + second) / 2
        difference = np.asarray(second, dtype=np.float64) - first
        products = difference * ndimage.correlate(difference, _NEIGHBOURS, mode="mirror") / 2
        for order in ORDERS:
            if min(mean.shape) < order + WINDOW_PX:
                break
            high = np.diff(np.diff(difference, order, axis=0), order, axis=1)
            noise = high**2 / (2 * math.comb(2 * order, order) ** 2)
            images = _smooth(mean, order), noise, _smooth(products, order)
            windows = np.stack([_binned(image) for image in images])
            self._parts[order].append(windows)
            self._blocks[order].append(np.full(windows.shape[1], block))

    def fit(
        self,
        sigma_px: float,
        excess_noise: float,
        read_noise_photons: float,
        differences_per_block: float,
    ) -> PhotonTransfer | None:
        """Fit the line.

        Parameters
        ----------
        sigma_px : float
            PSF sigma, which says how much of the molecules is left in the noise.
        excess_noise, read_noise_photons : float
            What is known of the camera; they matter little here.
        differences_per_block : float

        Returns
        -------
        PhotonTransfer, or None if the noise does not grow with the light
        """
        found = None
        for order in ORDERS:
            if not self._parts[order]:
                break
            light, noise, leftover = self._windows(order, sigma_px)
            sums = _BlockSums(light, np.concatenate(self._blocks[order]), self._n_blocks)
            camera = _Noise(_window_share(order), excess_noise, read_noise_photons)
            line = _weighted_line(sums, noise - leftover, camera)
            if line is None:
                continue
            (slope, dark), weights = line
            of_molecules, _ = _line(sums.of(leftover, weights).sum(0))
            share = abs(of_molecules / slope)
            parts = sums.of(noise - leftover, weights)
            left_out = np.array([_line(parts.sum(0) - part, camera, slope) for part in parts])
            errors = jackknife_error(left_out, differences_per_block)
            doubt = LEFTOVER_ERROR * share
            center = float(np.average(light, weights=weights))
            found = PhotonTransfer(
                Measured(slope, math.hypot(errors[0], doubt * slope)),
                Measured(dark, math.hypot(errors[1], doubt * abs(center - dark))),
            )
            if share < MOLECULES_SHARE:
                break
        return found

    def whiteness(self, sigma_px: float) -> float:
        """Return the noise seen by a high difference of pixels over that seen by a lower one.

        It is 1 where the noise of different pixels is independent, and less where images were
        smoothed, interpolated or compressed.
        """
        seen = []
        for order in ORDERS[1], ORDERS[-1]:
            _, noise, leftover = self._windows(order, sigma_px)
            if not leftover.mean() < 0.5 * noise.mean():
                return 1.0  # molecules are all that is seen, or nothing is
            seen.append(float(np.mean(noise - leftover)))
        return seen[1] / seen[0]

    def _windows(self, order: int, sigma_px: float) -> NDArray[np.float64]:
        """Return light, noise, and the part of it that molecules left over, of all windows."""
        light, noise, products = np.concatenate(self._parts[order], axis=1).astype(np.float64)
        neighbours = gaussian_autocorrelation(np.array([0.0, 1.0]), sigma_px).prod()
        return np.stack([light, noise, products * _molecules_left(order, sigma_px) / neighbours])


@dataclass(frozen=True)
class _Noise:
    """What correlates the light of a window with the variance measured there."""

    share: float
    excess_noise: float
    read_noise_photons: float

    def cumulants(self, variance: float, slope: float) -> tuple[float, float]:
        """Second and third cumulant of a window's light, by noise, for a pixel's variance.

        The third cumulant of Poisson electrons with Gamma distributed gain is ``2 F - 1`` times
        the variance by photons; as in `imaging.camera.noise_skewness`.
        """
        gain = slope / self.excess_noise
        of_photons = max(variance - (self.read_noise_photons * gain) ** 2, 0.0)
        third = (2.0 * self.excess_noise - 1.0) * gain * of_photons
        return self.share * variance, self.share * third


class _BlockSums:
    """Weighted sums over windows, block by block: all that the fit of a line needs."""

    def __init__(self, light: NDArray[np.float64], block: NDArray[np.intp], n_blocks: int) -> None:
        self.light, self._block, self._n_blocks = light, block, n_blocks

    def of(
        self, variance: NDArray[np.float64], weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the sums ``(blocks, 5)`` of ``w, w x, w v, w x x, w x v``."""
        x = self.light
        wx = weights * x
        terms = (weights, wx, weights * variance, wx * x, wx * variance)
        return np.stack([np.bincount(self._block, t, self._n_blocks) for t in terms], axis=1)


def _line(
    sums: NDArray[np.float64], noise: _Noise | None = None, slope: float = 0.0
) -> tuple[float, float]:
    """Slope and zero of the regression line, the noise of the abscissa taken off if given."""
    mean_x, mean_v, mean_xx, mean_xv = (float(s) for s in sums[1:] / sums[0])
    spread, covariance = mean_xx - mean_x**2, mean_xv - mean_x * mean_v
    if noise is not None:
        second, third = noise.cumulants(mean_v, slope)
        spread, covariance = spread - second, covariance - third
    if spread <= 0 or covariance == 0:
        return math.nan, math.nan
    slope = covariance / spread
    return slope, mean_x - mean_v / slope


def _weighted_line(
    sums: _BlockSums, variance: NDArray[np.float64], noise: _Noise
) -> tuple[tuple[float, float], NDArray[np.float64]] | None:
    """Fit slope and zero with weights from the line itself; None if the line does not rise."""
    weights = np.ones_like(variance)
    slope, dark = _line(sums.of(variance, weights).sum(0))
    for _ in range(25):
        if not slope > 0:
            return None
        expected = slope * (sums.light - dark)
        weights = np.maximum(expected, 0.1 * float(np.mean(variance))) ** -2.0
        before = slope
        slope, dark = _line(sums.of(variance, weights).sum(0), noise, slope)
        if abs(slope / before - 1) < 1e-4:
            break
    return ((slope, dark), weights) if slope > 0 else None


def _molecules_left(order: int, sigma_px: float) -> float:
    """Share of a molecule's fluctuation that the difference of that order along y and x keeps."""
    signed = np.array([(-1) ** j * math.comb(order, j) for j in range(order + 1)], dtype=float)
    lag = np.arange(order + 1, dtype=float)
    pairs: NDArray[np.float64] = np.correlate(signed, signed, "full")[order:] / math.comb(
        2 * order, order
    )
    kept = pairs * gaussian_autocorrelation(lag, sigma_px)
    return float(kept[0] + 2.0 * kept[1:].sum()) ** 2


def _window(order: int) -> NDArray[np.float64]:
    """Weights along one axis with which pixels contribute to the variance of a difference."""
    squares = np.array([math.comb(order, j) ** 2 for j in range(order + 1)], dtype=float)
    return np.asarray(squares / squares.sum())


def _window_share(order: int) -> float:
    """Share of a pixel's cumulant in the light of a window: ``sum(window^2) / 2`` (two frames)."""
    along = np.convolve(_window(order), np.full(WINDOW_PX, 1 / WINDOW_PX))
    return float(np.sum(along**2)) ** 2 / 2


def _smooth(image: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Average with the window of a difference, where it lies within the region."""
    half = order // 2
    for axis in (0, 1):
        image = ndimage.correlate1d(image, _window(order), axis=axis)
    return np.asarray(image[half:-half, half:-half])


def _binned(image: NDArray[np.float64]) -> NDArray[np.float32]:
    """Means over squares of `WINDOW_PX` pixels, as one column."""
    rows, columns = (n // WINDOW_PX for n in image.shape)
    cut = image[: rows * WINDOW_PX, : columns * WINDOW_PX]
    squares = cut.reshape(rows, WINDOW_PX, columns, WINDOW_PX)
    return np.asarray(squares.mean(axis=(1, 3)), dtype=np.float32).ravel()


_NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]) / 4.0
