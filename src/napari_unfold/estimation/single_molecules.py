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
from scipy import ndimage, signal

from napari_unfold.imaging.camera import CameraModel, noise_variance
from napari_unfold.simulation.scenes import pixel_shares

MOST_IN_A_SPOT = 4
ITERATIONS = 40
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
    bin_width = top / BINS
    counts, edges = np.histogram(np.minimum(photons, 0.999 * top), BINS, (0.0, top))
    kernel = SMOOTHING * float(np.median(photons)) / bin_width
    seen = ndimage.gaussian_filter1d(counts / counts.sum(), kernel, mode="constant")
    single, share = seen, np.ones_like(seen)
    for _ in range(ITERATIONS):
        compound = single
        several = np.zeros_like(seen)
        for n in range(2, MOST_IN_A_SPOT + 1):
            compound = signal.fftconvolve(compound, single)[:BINS]
            several += mu ** (n - 1) / math.factorial(n) * compound.clip(min=0.0)
        share = single / (single + several + 1e-12)
        single = seen * share
        single = single / single.sum()
    centers = 0.5 * (edges[1:] + edges[:-1])
    return np.asarray(np.interp(photons, centers, share))


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
    profile = pixel_shares(np.array([n / 2.0]), n, 1.0, sigma_px)[0]
    spot = np.outer(profile, profile)
    return float((spot**2 / noise_variance(background + photons * spot, camera)).sum() ** -0.5)
