"""Between grey values (ADU) and photons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_unfold.settings.microscope import Camera


def to_photons(frames_adu: NDArray[np.generic], camera: Camera) -> NDArray[np.float32]:
    """Remove offset and gain.

    Parameters
    ----------
    frames_adu : array (..., Y, X)
        Grey values.
    camera : Camera

    Returns
    -------
    array (..., Y, X)
        Photons, ``(ADU - offset) / gain``; dark pixels scatter around zero.
    """
    frames = np.asarray(frames_adu, dtype=np.float32)
    photons: NDArray[np.float32] = (frames - np.float32(camera.offset_adu)) / np.float32(
        camera.adu_per_photon
    )
    return photons


def noise_variance(mean_photons: NDArray[np.floating], camera: Camera) -> NDArray[np.float64]:
    """Variance of a pixel, in photons squared, whose expected signal is `mean_photons`.

    Photon noise multiplied by the excess noise of the EM register, plus read noise.
    """
    mean = np.maximum(np.asarray(mean_photons, dtype=np.float64), 0.0)
    variance: NDArray[np.float64] = camera.excess_noise * mean + camera.read_noise_photons**2
    return variance


def noise_skewness(mean_photons: NDArray[np.floating], camera: Camera) -> NDArray[np.float64]:
    """Skewness of a pixel whose expected signal is `mean_photons`.

    Third cumulant over the variance to the power 3/2; with ``F`` the excess noise, the third
    cumulant of Poisson electrons with Gamma distributed gain is ``F (2 F - 1) x mean``.
    """
    mean = np.maximum(np.asarray(mean_photons, dtype=np.float64), 0.0)
    excess = camera.excess_noise
    third = excess * (2.0 * excess - 1.0) * mean
    variance = np.maximum(noise_variance(mean, camera), 1e-12)
    return np.asarray(third / variance**1.5)
