"""The PSF as a layer beside the stack, whatever it was taken from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_unfold.plugin.layers import METADATA_KEY, LayerData, Placement, image_layer
from napari_unfold.settings.microscope import FWHM_PER_SIGMA

if TYPE_CHECKING:
    import numpy as np

_GAP, _PITCH = 0.08, 1.5
"""From the stack to the PSF, and from one PSF to the one below, in units of its side."""


def psf_layer(
    image: np.ndarray,
    upsampling: int,
    sigma_nm: float,
    source: str,
    placement: Placement,
    stack_width: int,
    *,
    row: int = 0,
    record: dict[str, Any] | None = None,
) -> LayerData:
    """Layer data of a PSF, in the scale of a reconstruction, beside the stack's upper right corner.

    Parameters
    ----------
    image : array (n, n)
        On a grid `upsampling` times finer than the camera's.
    upsampling : int
    sigma_nm : float
    source : str
        Where it is from, for the name: "learned", "from the data", ...
    placement : Placement
        Of the stack.
    stack_width : int
        Camera pixels of the stack along X.
    row : int
        From 0, the one next to the corner; others lie below.
    record : dict, optional
        How it came about.
    """
    side = image.shape[1] / upsampling
    pixels = (0.0, row * _PITCH * side, stack_width + _GAP * side)
    place = replace(placement, translate=placement.moved(placement.scale * pixels))
    fwhm_nm = FWHM_PER_SIGMA * sigma_nm
    return image_layer(
        image,
        upsampling,
        place,
        name=f"PSF {source}: sigma {sigma_nm:.1f} nm, FWHM {fwhm_nm:.1f} nm",
        metadata={
            METADATA_KEY: record or {},
            "sigma_nm": sigma_nm,
            "fwhm_nm": fwhm_nm,
            "source": source,
        },
        colormap="viridis",
    )


def gaussian_image(sigma_px: float, upsampling: int) -> np.ndarray:
    """Return the image of a Gaussian PSF, on a grid `upsampling` times finer than the camera's."""
    from napari_unfold.imaging.psf import GaussianPSF, psf_image

    return psf_image(GaussianPSF(sigma_px), upsampling)
