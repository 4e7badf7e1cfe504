"""What other frames tell of the position of a molecule that stays on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch

Index: TypeAlias = torch.Tensor | tuple[slice, ...]


@dataclass(frozen=True)
class Anchors:
    """Parabolas that approximate the loss of all other frames around positions.

    Attributes
    ----------
    origin : tensor (..., 2)
        Where they touch, ``(y, x)`` in camera pixels.
    gradient : tensor (..., 2)
        Minus the derivative of the loss there.
    information : tensor (..., 2, 2)
        Its second derivative; zero for a molecule of one frame.
    """

    origin: torch.Tensor
    gradient: torch.Tensor
    information: torch.Tensor

    @classmethod
    def none(cls, origin: torch.Tensor) -> Anchors:
        """Return those of molecules of which other frames tell nothing."""
        zero = torch.zeros_like(origin)
        return cls(origin, zero, zero[..., None] * zero[..., None, :])

    def at(self, index: Index) -> Anchors:
        """Return those chosen by a mask or by indices."""
        return Anchors(self.origin[index], self.gradient[index], self.information[index])

    def joined(self, others: Anchors, dim: int) -> Anchors:
        """Return these followed by others along an axis."""
        return Anchors(
            torch.cat([self.origin, others.origin], dim),
            torch.cat([self.gradient, others.gradient], dim),
            torch.cat([self.information, others.information], dim),
        )

    def loss(self, position: torch.Tensor) -> torch.Tensor:
        """Return the loss of the other frames ``(...)``, relative to that at the origin."""
        moved = position - self.origin
        pull = torch.einsum("...ij,...j->...i", self.information, moved)
        return (moved * (0.5 * pull - self.gradient)).sum(-1)

    def slope(self, position: torch.Tensor) -> torch.Tensor:
        """Return minus the derivative ``(..., 2)`` of the loss."""
        moved = position - self.origin
        return self.gradient - torch.einsum("...ij,...j->...i", self.information, moved)
