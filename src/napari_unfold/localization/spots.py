"""Molecules, and the spots they make: pixel-integrated Gaussians on small patches of the frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

REACH_SIGMA = 4.0
"""Half the side of a patch, in units of sigma."""


@dataclass
class Molecules:
    """A flat list of molecules in a batch of frames.

    Attributes
    ----------
    frame : tensor (N,), int64
        Index of the frame in the batch.
    position : tensor (N, 2)
        ``(y, x)`` in camera pixels from the corner of the frame.
    photons : tensor (N,)
    """

    frame: torch.Tensor
    position: torch.Tensor
    photons: torch.Tensor

    @classmethod
    def none(cls) -> Molecules:
        """Return an empty list, in the memory of the CPU."""
        return cls(torch.zeros(0, dtype=torch.long), torch.zeros(0, 2), torch.zeros(0))

    def __len__(self) -> int:
        return len(self.frame)

    def select(self, keep: torch.Tensor) -> Molecules:
        """Return the molecules chosen by a mask or by indices."""
        return Molecules(self.frame[keep], self.position[keep], self.photons[keep])

    def joined(self, others: Molecules) -> Molecules:
        """Return these molecules followed by others."""
        return Molecules(
            torch.cat([self.frame, others.frame]),
            torch.cat([self.position, others.position]),
            torch.cat([self.photons, others.photons]),
        )

    @property
    def table(self) -> torch.Tensor:
        """Rows of y, x and photons, shape ``(N, 3)``."""
        return torch.cat([self.position, self.photons[:, None]], 1)

    def points(self, distance_px: float) -> NDArray[np.float64]:
        """Points ``(N, 3)`` for a search of neighbours within a distance, in all frames at once.

        Frames lie far apart along the first axis.
        """
        far = 10.0 * distance_px * self.frame.double()
        return torch.cat([far[:, None], self.position.double()], 1).cpu().numpy()


def patch_side(sigma_px: float) -> int:
    """Pixels along the side of a patch."""
    return 2 * math.ceil(REACH_SIGMA * sigma_px) + 1


def pixel_edges(pixels: torch.Tensor, position: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """Edges ``(N, P + 1)`` of adjacent pixels seen from the molecules, in units of sigma."""
    t = (pixels - position[:, None]) / sigma_px
    return torch.cat([t, t[:, -1:] + 1.0 / sigma_px], dim=1)


def pixel_profile(
    pixels: torch.Tensor, position: torch.Tensor, sigma_px: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Share of a molecule's light per pixel along one axis, and its derivative by the position.

    Parameters
    ----------
    pixels : tensor (N, P)
        Adjacent camera pixels.
    position : tensor (N,)
        In camera pixels from the edge of pixel 0.
    sigma_px : float
    """
    edges = pixel_edges(pixels, position, sigma_px)
    share = (0.5 * torch.erf(edges / math.sqrt(2.0))).diff(dim=1)
    density = torch.exp(-0.5 * edges * edges) / (math.sqrt(2.0 * math.pi) * sigma_px)
    return share, -density.diff(dim=1)


class SpotModel:
    """Spots of a Gaussian PSF on a batch of frames.

    Parameters
    ----------
    shape : tuple of int
        ``(B, Y, X)``.
    sigma_px : float
        PSF sigma in camera pixels.
    """

    def __init__(self, shape: tuple[int, int, int], sigma_px: float) -> None:
        self.shape, self.sigma = shape, sigma_px
        self.reach = patch_side(sigma_px) // 2
        # patches may reach over the border; a margin takes what falls outside
        self._padded = (shape[0], shape[1] + 2 * self.reach, shape[2] + 2 * self.reach)

    def locate(self, molecules: Molecules) -> None:
        """Lay a patch around every molecule; all other methods refer to these patches.

        They may stay while the molecules move by a fraction of a pixel.
        """
        offsets = torch.arange(patch_side(self.sigma), device=molecules.frame.device)
        low = molecules.position.new_zeros(2)
        high = low.new_tensor([self.shape[1] - 1, self.shape[2] - 1])
        first = molecules.position.detach().floor().clamp(low, high).long()
        self._rows = first[:, :1] + offsets
        self._columns = first[:, 1:] + offsets
        stride = self._padded[2]
        base = molecules.frame * (self._padded[1] * stride)
        self._index = base[:, None, None] + self._rows[:, :, None] * stride + self._columns[:, None]

    def _curvature(self, pixels: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Second derivative of the share of light by the position."""
        edges = pixel_edges(pixels - self.reach, position, self.sigma)
        slope = edges * torch.exp(-0.5 * edges * edges) / math.sqrt(2.0 * math.pi)
        return -slope.diff(dim=1) / self.sigma**2

    @property
    def pixels(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows and columns ``(N, P)`` of the patches, in camera pixels."""
        return self._rows - self.reach, self._columns - self.reach

    def _profile(
        self, pixels: torch.Tensor, position: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return pixel_profile(pixels - self.reach, position, self.sigma)

    def jacobian(self, molecules: Molecules) -> torch.Tensor:
        """Return the derivatives of the patches by y, x and photons, shape ``(N, 3, P, P)``."""
        y, dy = self._profile(self._rows, molecules.position[:, 0])
        x, dx = self._profile(self._columns, molecules.position[:, 1])
        photons = molecules.photons[:, None, None]
        spot = y[:, :, None] * x[:, None]
        return torch.stack(
            [photons * dy[:, :, None] * x[:, None], photons * y[:, :, None] * dx[:, None], spot], 1
        )

    def elongation(self, molecules: Molecules, residual: torch.Tensor) -> torch.Tensor:
        """Direction ``(N, 2)`` along which two molecules would explain the frames best.

        Moving the halves of a spot apart by ``+-d e`` changes the log-likelihood by
        ``d^2 / 2 e^T H e`` with ``H = sum residual x second derivatives of the spot``.

        Parameters
        ----------
        molecules : Molecules
        residual : tensor (B, Y, X)
            Derivative of the log-likelihood by the mean of every pixel.
        """
        y, dy = self._profile(self._rows, molecules.position[:, 0])
        x, dx = self._profile(self._columns, molecules.position[:, 1])
        ddy = self._curvature(self._rows, molecules.position[:, 0])
        ddx = self._curvature(self._columns, molecules.position[:, 1])
        patches = self.cut_out(residual)
        hyy = torch.einsum("npq,np,nq->n", patches, ddy, x)
        hxx = torch.einsum("npq,np,nq->n", patches, y, ddx)
        hyx = torch.einsum("npq,np,nq->n", patches, dy, dx)
        angle = 0.5 * torch.atan2(2.0 * hyx, hxx - hyy)
        return torch.stack([angle.sin(), angle.cos()], 1)

    def light(self, molecules: Molecules) -> torch.Tensor:
        """Frames ``(B, Y, X)`` that the molecules make."""
        y, _ = self._profile(self._rows, molecules.position[:, 0])
        x, _ = self._profile(self._columns, molecules.position[:, 1])
        return self.add_up((molecules.photons[:, None] * y)[:, :, None] * x[:, None])

    def add_up(self, patches: torch.Tensor) -> torch.Tensor:
        """Sum patches ``(N, P, P)`` into frames ``(B, Y, X)``."""
        flat = patches.new_zeros(math.prod(self._padded))
        flat.index_add_(0, self._index.flatten(), patches.flatten())
        r = self.reach
        return flat.view(self._padded)[:, r:-r, r:-r]

    def cut_out(self, frames: torch.Tensor) -> torch.Tensor:
        """Patches ``(N, P, P)`` of frames ``(B, Y, X)``; zero outside the frame."""
        padded = torch.nn.functional.pad(frames, (self.reach,) * 4)
        return padded.flatten()[self._index]
