"""Which of the fitted spots are single molecules, and how bright one is.

In a crowd a spot that nothing tells from one molecule may be several. With ``mu`` molecules
expected where they could not be told apart, the photons of spots are distributed as a compound
Poisson variable, ``sum_n mu^(n-1) / n! f^{*n}``, of which the brightness distribution f of a single
molecule is the first term. It is found by expectation maximisation: every spot is, by turns, given
the probability of being single, and f made of the spots weighted with it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_unfold.imaging.camera import CameraModel, noise_variance
from napari_unfold.imaging.psf import gaussian_matrix

MOST_IN_A_SPOT = 6
ITERATIONS = 60
BINS = 400
SMOOTHING = 0.04
"""Width of the histogram's kernel, relative to the median."""


def share_of_singles(photons: NDArray[np.floating], mu: float) -> NDArray[np.float64]:
    """Return the probability ``(n,)`` of each spot to be a single molecule.

    Parameters
    ----------
    photons : array (n,)
        Of spots that look like one molecule.
    mu : float
        Molecules expected in an area within which two are not told apart.
    """
    top = float(np.quantile(photons, 0.995)) * 1.1
    counts, edges = np.histogram(np.minimum(photons, 0.999 * top), BINS, (0.0, top))
    kernel = SMOOTHING * float(np.median(photons)) * BINS / top
    seen = ndimage.gaussian_filter1d(counts / counts.sum(), kernel, mode="constant")
    single, share = seen, np.ones_like(seen)
    for _ in range(ITERATIONS):
        share = single / (single + _several(single, mu, kernel) + 1e-12)
        single = seen * share
        single = single / single.sum()
    centers = 0.5 * (edges[1:] + edges[:-1])
    return np.asarray(np.interp(photons, centers, share))


def _several(single: NDArray[np.float64], mu: float, kernel: float) -> NDArray[np.float64]:
    """Return the terms of two and more molecules beside that of one.

    The histogram of the spots is smoothed once, however many molecules they hold; the convolutions
    of a smoothed histogram are therefore sharpened again.
    """
    length = (MOST_IN_A_SPOT + 1) * BINS
    spectrum = np.fft.rfft(single, length)
    frequency = 2.0 * math.pi * np.fft.rfftfreq(length)
    blur = np.exp(-0.5 * (kernel * frequency) ** 2)
    # a bin stands for its middle, and the sum of two middles is half a bin further
    sharp = np.where(blur > 1e-3, spectrum / np.maximum(blur, 1e-3), 0.0)
    sharp = sharp * np.exp(-0.5j * frequency)
    term, total = spectrum, np.zeros_like(spectrum)
    for n in range(2, MOST_IN_A_SPOT + 1):
        term = term * sharp
        total += mu ** (n - 1) / math.factorial(n) * term
    return np.asarray(np.fft.irfft(total, length)[:BINS].clip(min=0.0))


def photon_deviation(
    photons: float, background: float, camera: CameraModel, sigma_px: float
) -> float:
    """Return the standard deviation of a lone molecule's photons (Cramer-Rao bound).

    Parameters
    ----------
    photons, background : float
        Of the molecule, and per camera pixel.
    camera : CameraModel
    sigma_px : float
        PSF sigma in camera pixels.
    """
    n = 2 * math.ceil(4.0 * sigma_px) + 1
    profile = gaussian_matrix(n, 1, sigma_px)[:, n // 2].numpy()
    spot = np.outer(profile, profile)
    return float((spot**2 / noise_variance(background + photons * spot, camera)).sum() ** -0.5)
