"""The one place that knows where pixels are.

Inside this project positions are in nm from the outer corner of the top-left camera pixel, x to
the right and y down. Camera pixel ``i`` covers ``[i, i + 1] * pixel_size_nm``; it is divided into
``upsampling`` fine pixels. Programs (napari, Picasso) that put integers at pixel centres differ
by half a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass


def center_of_pixel(index: float, pixel_size: float = 1.0) -> float:
    """Position of the centre of pixel `index`, from the outer corner of pixel 0."""
    return (index + 0.5) * pixel_size


@dataclass(frozen=True)
class Grid:
    """Camera pixels and the fine pixels inside them.

    Parameters
    ----------
    shape : tuple of int
        Camera pixels ``(Y, X)``.
    pixel_size_nm : float
        Side of a camera pixel.
    upsampling : int
        Fine pixels per camera pixel along each axis (the paper's q).
    """

    shape: tuple[int, int]
    pixel_size_nm: float
    upsampling: int

    @property
    def fine_shape(self) -> tuple[int, int]:
        """Fine pixels ``(Y, X)``."""
        return self.shape[0] * self.upsampling, self.shape[1] * self.upsampling

    @property
    def fine_pixel_nm(self) -> float:
        """Side of a fine pixel."""
        return self.pixel_size_nm / self.upsampling


def fine_scale_and_translate(
    scale: float, translate: float, upsampling: float
) -> tuple[float, float]:
    """Scale and translation that lay an upsampled image exactly over its source.

    Both images are placed by the centres of their pixels, so the finer one starts
    ``(1 / upsampling - 1) / 2`` source pixels before the other.

    Parameters
    ----------
    scale, translate : float
        Pixel size and position of the centre of pixel 0 of the source, along one axis.
    upsampling : float
        Fine pixels per source pixel; below 1 for an image that is coarser.
    """
    return scale / upsampling, translate + (1.0 / upsampling - 1.0) * scale / 2.0
