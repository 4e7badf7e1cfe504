"""Molecules, and the spots they make on small patches of the frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unfold.localization.profiles import Spot, product


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


class SpotModel:
    """Spots on a batch of frames.

    Parameters
    ----------
    shape : tuple of int
        ``(B, Y, X)``.
    spot : Spot
        What a molecule looks like.
    """

    def __init__(self, shape: tuple[int, int, int], spot: Spot) -> None:
        self.shape, self.spot, self.reach = shape, spot, spot.reach
        # patches may reach over the border; a margin takes what falls outside
        self._padded = (shape[0], shape[1] + 2 * self.reach, shape[2] + 2 * self.reach)

    def locate(self, molecules: Molecules) -> None:
        """Lay a patch around every molecule; all other methods refer to these patches.

        They may stay while the molecules move by a fraction of a pixel.
        """
        offsets = torch.arange(2 * self.reach + 1, device=molecules.frame.device)
        low = molecules.position.new_zeros(2)
        high = low.new_tensor([self.shape[1] - 1, self.shape[2] - 1])
        first = molecules.position.detach().floor().clamp(low, high).long()
        self._rows = first[:, :1] + offsets
        self._columns = first[:, 1:] + offsets
        stride = self._padded[2]
        base = molecules.frame * (self._padded[1] * stride)
        self._index = base[:, None, None] + self._rows[:, :, None] * stride + self._columns[:, None]

    def part(self, keep: torch.Tensor) -> SpotModel:
        """Return the model of some of the molecules, chosen by a mask."""
        model = SpotModel(self.shape, self.spot)
        model._rows, model._columns = self._rows[keep], self._columns[keep]
        model._index = self._index[keep]
        return model

    @property
    def pixels(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows and columns ``(N, P)`` of the patches, in camera pixels."""
        return self._rows - self.reach, self._columns - self.reach

    def _profiles(self, molecules: Molecules) -> tuple[torch.Tensor, ...]:
        """Profiles and slopes along y, then along x."""
        rows, columns = self.pixels
        return (
            *self.spot.profiles(0, rows, molecules.position[:, 0]),
            *self.spot.profiles(1, columns, molecules.position[:, 1]),
        )

    def jacobian(self, molecules: Molecules) -> torch.Tensor:
        """Return the derivatives of the patches by y, x and photons, shape ``(N, 3, P, P)``."""
        y, dy, x, dx = self._profiles(molecules)
        photons = molecules.photons[:, None, None]
        return torch.stack([product(photons * dy, x), product(photons * y, dx), product(y, x)], 1)

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
        y, dy, x, dx = self._profiles(molecules)
        rows, columns = self.pixels
        ddy = self.spot.curvatures(0, rows, molecules.position[:, 0])
        ddx = self.spot.curvatures(1, columns, molecules.position[:, 1])
        patches = self.cut_out(residual)
        hyy = torch.einsum("npq,npk,nqk->n", patches, ddy, x)
        hxx = torch.einsum("npq,npk,nqk->n", patches, y, ddx)
        hyx = torch.einsum("npq,npk,nqk->n", patches, dy, dx)
        angle = 0.5 * torch.atan2(2.0 * hyx, hxx - hyy)
        return torch.stack([angle.sin(), angle.cos()], 1)

    def light(self, molecules: Molecules) -> torch.Tensor:
        """Frames ``(B, Y, X)`` that the molecules make."""
        y, _, x, _ = self._profiles(molecules)
        return self.add_up(product(molecules.photons[:, None, None] * y, x))

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
