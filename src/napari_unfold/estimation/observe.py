"""What a stack and the settings tell before anything is unfolded, and whether they agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.estimation.background import MIN_BACKGROUND_PHOTONS, estimate_background
from napari_unfold.files.tiff import read_picture
from napari_unfold.imaging.camera import CameraModel
from napari_unfold.imaging.psf import PSF, GaussianPSF, measured_psf
from napari_unfold.settings.microscope import Background, Camera, Optics

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
        With more read noise if dark pixels show it.
    note : str
        What the user should be told, or nothing.

    Raises
    ------
    InputError
    """
    check_range(sample, camera)
    check_offset(sample, camera)
    scatter = dark_noise_photons(sample)
    if scatter <= 1.2 * camera.read_noise_photons:
        return camera, ""
    seen = f"Dark pixels scatter by {scatter:.2g} photons"
    if stated.read_noise_photons is None:
        note = f"{seen}: taken as read noise"
    else:
        note = (
            f"{seen}, more than the camera settings say: taken as read noise. Check offset and gain"
        )
    return replace(camera, read_noise_photons=scatter), note


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
        grey = brightest * camera.adu_per_photon + camera.offset_adu
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
    dark = float(np.median(photons))
    if dark < -3.0 * np.sqrt(1.0 + camera.read_noise_photons**2):
        grey = dark * camera.adu_per_photon + camera.offset_adu
        raise InputError(
            f"the stack is darker than the camera offset: its median is {grey:.0f} ADU, "
            f"the offset {camera.offset_adu:.0f} ADU",
            "Enter the grey value of a dark pixel as the offset",
            field="camera.offset_adu",
        )


def load_psf(optics: Optics) -> PSF:
    """Return the PSF of the settings: the Gaussian, or the bead image if there is one.

    Raises
    ------
    InputError
        If neither is given, or the image cannot be used.
    """
    if optics.psf_image is not None:
        image = read_picture(optics.psf_image, "optics.psf_image")
        image_pixel_nm = optics.psf_image_pixel_nm or optics.pixel_size_nm
        return measured_psf(image, image_pixel_nm, optics.pixel_size_nm)
    if optics.psf_sigma_nm is None:
        raise InputError(
            "the size of the PSF is missing",
            "Enter its FWHM or sigma in nm (the FWHM is about half the wavelength divided by the "
            "numerical aperture, 200 to 300 nm for most objectives)",
            field="optics.psf_sigma_nm",
        )
    return GaussianPSF(optics.psf_sigma_nm / optics.pixel_size_nm)


def check_frame_size(shape: tuple[int, int], psf: PSF) -> None:
    """Raise an `InputError` if frames are too small for the PSF."""
    smallest = max(8, round(6 * psf.sigma_px))
    if min(shape) < smallest:
        raise InputError(
            f"frames of {shape[0]} x {shape[1]} pixels are smaller than the PSF allows",
            f"Use frames of at least {smallest} x {smallest} pixels, or check the PSF size",
            field="stack",
        )


def background_map(
    sample: NDArray[np.float32],
    camera: CameraModel,
    settings: Background,
    shape: tuple[int, int],
) -> NDArray[np.float32]:
    """Return the background of the settings, estimated from a sample of frames if it is 'auto'."""
    given = settings.photons
    if given == "auto":
        return estimate_background(sample, camera)
    if isinstance(given, float):
        return np.full(shape, given, dtype=np.float32)
    background = np.asarray(read_picture(given, "background.photons"), np.float32)
    if background.shape != shape or not np.isfinite(background).all():
        raise InputError(
            f"the background map {given} is {background.shape}, the frames are {shape} pixels",
            "Give one finite value per camera pixel, in photons",
            field="background.photons",
        )
    return np.maximum(background, MIN_BACKGROUND_PHOTONS)
