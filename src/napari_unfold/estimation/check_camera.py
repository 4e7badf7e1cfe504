"""Whether a stack and the camera settings agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.imaging.camera import CameraModel
from napari_unfold.settings.microscope import Camera

MAX_PHOTONS = 1e9

NEGATIVE_SHARE = 0.05
"""With fewer values below zero photons than this share, they say nothing about read noise."""


def checked_camera(
    sample: NDArray[np.float32], camera: CameraModel, stated: Camera
) -> tuple[CameraModel, str]:
    """Check the camera against a sample of frames in photons.

    Parameters
    ----------
    sample : array (T, Y, X)
    camera : CameraModel
    stated : Camera
        Its settings, which may leave the read noise open.

    Returns
    -------
    camera : CameraModel
        With more read noise if dark pixels show it; noisy ones stay as they are.
    note : str
        What the user should be told, or nothing.

    Raises
    ------
    InputError
    """
    check_range(sample, camera)
    check_offset(sample, camera)
    scatter = dark_noise_photons(_usual_pixels(sample, camera))
    if scatter <= 1.2 * camera.typical.read_noise_photons:
        return camera, ""
    seen = f"Dark pixels scatter by {scatter:.2g} photons"
    if stated.read_noise_photons is None:
        note = f"{seen}: taken as read noise"
    else:
        note = (
            f"{seen}, more than the camera settings say: taken as read noise. Check offset and gain"
        )
    noise = np.where(_stands_out(camera), camera.read_noise_photons, scatter)
    return replace(camera, read_noise_photons=noise if noise.ndim else scatter), note


def _stands_out(camera: CameraModel) -> NDArray[np.bool_]:
    """Mask of the pixels that are known to be noisier than others."""
    noise = np.asarray(camera.read_noise_photons)
    usual = camera.typical.read_noise_photons
    noisy = noise > usual
    return noisy if camera.unusable is None else noisy | camera.unusable


def _usual_pixels(sample: NDArray[np.float32], camera: CameraModel) -> NDArray[np.float32]:
    noisy = _stands_out(camera)
    return sample[:, ~noisy] if noisy.any() else sample


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


def check_range(photons: NDArray[np.floating], camera: CameraModel) -> None:
    """Refuse frames with more light than any camera could report.

    Raises
    ------
    InputError
    """
    brightest = float(photons.max())
    if brightest > MAX_PHOTONS:
        grey = brightest * camera.typical.adu_per_photon + camera.typical.offset_adu
        raise InputError(
            f"the stack holds grey values up to {grey:.3g}, that is {brightest:.3g} photons",
            "Check the file and the camera gain",
            field="camera.adu_per_photon",
        )


def check_offset(photons: NDArray[np.floating], camera: CameraModel) -> None:
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
    dark, usual = float(np.median(photons)), camera.typical
    if dark < -3.0 * np.sqrt(1.0 + usual.read_noise_photons**2):
        grey = dark * usual.adu_per_photon + usual.offset_adu
        raise InputError(
            f"the stack is darker than the camera offset: its median is {grey:.0f} ADU, "
            f"the offset {usual.offset_adu:.0f} ADU",
            "Enter the grey value of a dark pixel as the offset",
            field="camera.offset_adu",
        )
