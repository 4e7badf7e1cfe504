"""The point spread function: a pixel-integrated Gaussian, or the image of a bead."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_unfold.errors import InputError


@dataclass(frozen=True)
class GaussianPSF:
    """Gaussian PSF, integrated over the camera pixels.

    Parameters
    ----------
    sigma_px : float
        Standard deviation in camera pixels.
    """

    sigma_px: float


@dataclass(frozen=True)
class MeasuredPSF:
    """PSF given by its image.

    Parameters
    ----------
    image : array (Y, X)
        Image of a point source, background removed.
    pixel_size_px : float
        Pixel size of that image, in camera pixels.
    """

    image: NDArray[np.float64]
    pixel_size_px: float

    def on_fine_grid(self, upsampling: int) -> NDArray[np.float64]:
        """Return the PSF on the fine grid, centred, nonnegative, of sum 1 and odd size.

        Parameters
        ----------
        upsampling : int
            Fine pixels per camera pixel.
        """
        center = ndimage.center_of_mass(self.image)
        step = 1.0 / (upsampling * self.pixel_size_px)
        reach = [min(c, n - 1 - c) for c, n in zip(center, self.image.shape, strict=True)]
        half = max(1, math.floor(min(reach) / step))
        offsets = np.arange(-half, half + 1) * step
        rows, columns = np.meshgrid(center[0] + offsets, center[1] + offsets, indexing="ij")
        fine = np.maximum(ndimage.map_coordinates(self.image, [rows, columns], order=3), 0.0)
        return np.asarray(fine / fine.sum())

    @property
    def sigma_px(self) -> float:
        """Sigma, in camera pixels, of the Gaussian that falls to half maximum at the same area."""
        fine = self.on_fine_grid(8)
        area = np.count_nonzero(fine > fine.max() / 2) / 64.0
        return math.sqrt(area / (2.0 * math.pi * math.log(2.0)))


PSF = GaussianPSF | MeasuredPSF


def measured_psf(
    image: NDArray[np.generic], image_pixel_nm: float, pixel_size_nm: float
) -> MeasuredPSF:
    """Prepare the image of a bead: remove its background and check that it is one bright spot.

    Parameters
    ----------
    image : array (Y, X)
        Image of a bead in any unit.
    image_pixel_nm, pixel_size_nm : float
        Pixel sizes of that image and of the camera.

    Raises
    ------
    InputError
        If the image is not 2-D or holds no spot.
    """
    picture = np.squeeze(np.asarray(image, dtype=np.float64))
    field = "optics.psf_image"
    if picture.ndim != 2 or min(picture.shape) < 5 or not np.isfinite(picture).all():
        raise InputError(
            f"the PSF image must be one 2-D picture of at least 5 x 5 pixels, not {picture.shape}",
            "Crop one bead and save it as a single image",
            field,
        )
    border = np.concatenate([picture[0], picture[-1], picture[1:-1, 0], picture[1:-1, -1]])
    picture = picture - np.median(border)
    if picture.max() <= 5 * border.std() or picture.sum() <= 0:
        raise InputError(
            "the PSF image shows no bright spot in its middle",
            "Crop one bead with a dark margin around it",
            field,
        )
    return MeasuredPSF(np.maximum(picture, 0.0), image_pixel_nm / pixel_size_nm)


def _normal_cdf(t: torch.Tensor) -> torch.Tensor:
    return 0.5 * torch.erfc(-t / math.sqrt(2.0))


def gaussian_matrix(n_pixels: int, upsampling: int, sigma_px: float | torch.Tensor) -> torch.Tensor:
    """Blur and sum along one axis: the matrix G of the separable forward operator.

    ``G[i, j]`` is the share of the light of a molecule at the centre of fine pixel ``j`` that
    falls into camera pixel ``i``: the difference of the normal CDF between the pixel's edges.
    Light that falls outside the frame is lost. Differentiable in `sigma_px`.

    Parameters
    ----------
    n_pixels : int
        Camera pixels along the axis.
    upsampling : int
        Fine pixels per camera pixel.
    sigma_px : float or tensor
        PSF sigma in camera pixels.

    Returns
    -------
    tensor (n_pixels, n_pixels * upsampling), float64 unless `sigma_px` is a tensor
    """
    sigma = torch.as_tensor(sigma_px, dtype=None if torch.is_tensor(sigma_px) else torch.float64)
    options: dict[str, Any] = {"dtype": sigma.dtype, "device": sigma.device}
    edges = torch.arange(n_pixels + 1, **options)
    centers = (torch.arange(n_pixels * upsampling, **options) + 0.5) / upsampling
    return _normal_cdf((edges[:, None] - centers) / sigma).diff(dim=0)


def psf_image(psf: PSF, upsampling: int) -> NDArray[np.float32]:
    """Return the PSF ``(n, n)`` integrated over fine pixels, centred, of odd size and sum 1."""
    if isinstance(psf, GaussianPSF):
        sigma = psf.sigma_px * upsampling
        half = int(np.ceil(4.0 * sigma))
        profile = gaussian_matrix(2 * half + 1, 1, sigma)[:, half].numpy()
        image = np.outer(profile, profile)
    else:
        image = psf.on_fine_grid(upsampling)
    return np.asarray(image / image.sum(), dtype=np.float32)
