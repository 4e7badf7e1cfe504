"""The microscope: camera, optics and background."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator

from napari_unfold.settings.section import Section, setting

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
"""Full width at half maximum of a Gaussian, in units of its sigma."""


CameraType = Literal["emccd", "scmos", "ccd", "other"]

EXCESS_NOISE: dict[CameraType | None, float] = {"emccd": 2.0, "scmos": 1.0, "ccd": 1.0}
"""Variance of the photon noise relative to its mean, where the type of the camera tells it."""


class Camera(Section):
    """How the camera turns photons into grey values: ``ADU = offset + photons * gain``.

    What is not stated is estimated from the stack (`estimation.resolve_camera`).
    """

    type: CameraType | None = setting(
        None,
        "Type",
        "Kind of camera, which decides its excess noise: 'emccd' (with the EM gain on), 'scmos', "
        "'ccd', or 'other' for an excess noise of your own.",
        flag="--camera",
    )
    offset_adu: float | None = setting(
        None,
        "Offset",
        "Grey value of a dark pixel (baseline, bias).",
        "ADU",
        flag="--camera-offset",
        ge=-1e5,
        le=1e5,
    )
    adu_per_photon: float | None = setting(
        None,
        "Gain",
        "Grey values per detected photon, EM gain included.",
        "ADU/photon",
        ge=1e-3,
        le=1e4,
    )
    excess_noise: float | None = setting(
        None,
        "Excess noise",
        "Variance of the photon noise relative to its mean: 1 for CCD and sCMOS cameras, "
        "2 for EMCCD cameras with the EM gain on.",
        ge=1,
        le=10,
    )
    read_noise_photons: float | None = setting(
        None,
        "Read noise",
        "Standard deviation of a dark pixel, in photons; negligible for EMCCD cameras.",
        "photons",
        ge=0,
        le=1e3,
    )
    offset_map: Path | None = setting(
        None,
        "Offset map",
        "TIFF or NumPy file with the grey value of every dark pixel, used instead of the offset; "
        "or a calibration of several maps.",
        "ADU",
        flag="--camera-offset-map",
    )
    gain_map: Path | None = setting(
        None,
        "Gain map",
        "TIFF or NumPy file with the gain of every pixel, used instead of the gain.",
        "ADU/photon",
        flag="--camera-gain-map",
    )
    variance_map: Path | None = setting(
        None,
        "Variance map",
        "TIFF or NumPy file with the variance of every dark pixel, used instead of the read noise.",
        "ADU²",
        flag="--camera-variance-map",
    )

    @property
    def known_excess_noise(self) -> float | None:
        """The excess noise as stated, else as the type of the camera tells; None if neither."""
        return EXCESS_NOISE.get(self.type) if self.excess_noise is None else self.excess_noise


class Optics(Section):
    """Pixel size and point spread function (PSF) of the microscope."""

    pixel_size_nm: float = setting(
        100.0,
        "Pixel size",
        "Side of a camera pixel in the sample plane; many files state it.",
        "nm",
        ge=1,
        le=10_000,
    )
    psf_sigma_nm: float | None = setting(
        None,
        "PSF sigma",
        "Standard deviation of the Gaussian PSF (FWHM / 2.355).",
        "nm",
        also={"psf_fwhm_nm": "Full width at half maximum of the Gaussian PSF."},
        gt=0,
        le=20_000,
    )
    psf_image: Path | None = setting(
        None, "PSF image", "TIFF image of a bead, used instead of a Gaussian PSF."
    )
    psf_image_pixel_nm: float | None = setting(
        None, "PSF image pixel", "Pixel size of the bead image.", "nm", gt=0, le=10_000
    )

    refine_psf: bool = setting(
        True,
        "Refine PSF",
        "Measure the PSF on the stack's own lone spots, and use it where it explains the frames "
        "better than the one stated.",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_fwhm(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("psf_fwhm_nm") is None:
            return values
        values = dict(values)
        fwhm_nm = values.pop("psf_fwhm_nm")
        if values.get("psf_sigma_nm") is not None:
            raise ValueError("the PSF is given twice; give its FWHM or its sigma")
        if not (isinstance(fwhm_nm, int | float) and fwhm_nm > 0):
            raise ValueError(f"a PSF FWHM of {fwhm_nm} nm cannot be; give a positive number")
        return {**values, "psf_sigma_nm": fwhm_nm / FWHM_PER_SIGMA}

    @model_validator(mode="after")
    def _check_sigma(self) -> Self:
        sigma = self.psf_sigma_nm
        if sigma is not None and not 0.3 <= sigma / self.pixel_size_nm <= 20:
            raise ValueError(
                f"a PSF sigma of {sigma:g} nm (FWHM {sigma * FWHM_PER_SIGMA:.0f} nm) is "
                f"{sigma / self.pixel_size_nm:.2g} pixels of {self.pixel_size_nm:g} nm, but must "
                "lie between 0.3 and 20 pixels; check both numbers and their units"
            )
        return self

    @property
    def psf_fwhm_nm(self) -> float | None:
        """Full width at half maximum of the Gaussian PSF, in nm."""
        return None if self.psf_sigma_nm is None else self.psf_sigma_nm * FWHM_PER_SIGMA


class Background(Section):
    """Light that does not come from molecules in focus."""

    photons: Literal["auto"] | float | Path = setting(
        "auto",
        "Background",
        "Photons per camera pixel without any molecule: 'auto' estimates a map from the stack, "
        "a number is used everywhere, a TIFF file holds a map.",
        "photons/pixel",
        flag="--background",
    )

    @model_validator(mode="after")
    def _check_positive(self) -> Self:
        if isinstance(self.photons, float) and not 0 < self.photons <= 1e6:
            raise ValueError(
                f"a background of {self.photons:g} photons per pixel cannot be; "
                "give a positive number (below a million), or 'auto'"
            )
        return self
