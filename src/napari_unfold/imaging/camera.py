"""Between grey values (ADU) and photons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_unfold.jobs import InputError
from napari_unfold.recipe import Camera

MAX_PHOTONS = 1e9
NEGATIVE_SHARE = 0.05
"""With fewer values below zero photons than this share, they say nothing about read noise."""


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


def expose(
    mean_photons: NDArray[np.floating], camera: Camera, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Take a picture: the grey values a camera returns for an expected number of photons.

    Without excess noise the photo-electrons are Poisson distributed. An EM register with excess
    noise factor ``F`` is modelled by a Gamma distributed gain on each photo-electron, of variance
    ``F - 1`` (for ``F = 2`` the exponential of a real EMCCD).
    """
    electrons = rng.poisson(np.maximum(mean_photons, 0.0)).astype(np.float64)
    excess = camera.excess_noise - 1.0
    if excess > 0:
        electrons = rng.gamma(np.maximum(electrons, 1e-12) / excess, excess)
    electrons += rng.normal(0.0, camera.read_noise_photons, electrons.shape)
    adu = np.rint(camera.offset_adu + camera.adu_per_photon * electrons)
    return np.asarray(np.clip(adu, 0, np.iinfo(np.uint16).max), dtype=np.uint16)


def dark_noise_photons(photons: NDArray[np.floating]) -> float:
    """Return the read noise that values below zero photons give away.

    Photons cannot be negative; where the offset is right and a frame is dark, the values below
    zero are half of the read noise's distribution. Nothing is concluded from a few of them.

    Parameters
    ----------
    photons : array (T, Y, X)
        A sample of the stack.

    Returns
    -------
    float
        Standard deviation in photons, a lower bound; 0 if hardly any value is negative.
    """
    negative = photons[photons < 0]
    if len(negative) < NEGATIVE_SHARE * photons.size:
        return 0.0
    return float(np.sqrt(np.mean(np.square(negative, dtype=np.float64))))


def check_range(photons: NDArray[np.floating], camera: Camera) -> None:
    """Refuse frames with more light than any camera could report.

    Raises
    ------
    InputError
    """
    brightest = float(photons.max())
    if brightest > MAX_PHOTONS:
        grey = brightest * camera.adu_per_photon + camera.offset_adu
        raise InputError(
            f"the stack holds grey values up to {grey:.3g}, that is {brightest:.3g} photons",
            "Check the file and the camera gain",
            field="camera.adu_per_photon",
        )


def check_offset(photons: NDArray[np.floating], camera: Camera) -> None:
    """Refuse frames that are negative after the offset is removed.

    A dark pixel may fall below the offset by noise, a whole frame may not.

    Parameters
    ----------
    photons : array (T, Y, X)
        A sample of the stack.

    Raises
    ------
    InputError
    """
    dark = float(np.median(photons))
    if dark < -3.0 * np.sqrt(1.0 + camera.read_noise_photons**2):
        grey = dark * camera.adu_per_photon + camera.offset_adu
        raise InputError(
            f"the stack is darker than the camera offset: its median is {grey:.0f} ADU, "
            f"the offset {camera.offset_adu:.0f} ADU",
            "Enter the grey value of a dark pixel as the offset",
            field="camera.offset_adu",
        )
