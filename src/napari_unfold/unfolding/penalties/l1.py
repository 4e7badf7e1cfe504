"""l1 (as in the paper): the sum of the light."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unfold.unfolding.penalty import Penalty

if TYPE_CHECKING:
    import torch


class L1Penalty(Penalty):
    """``phi(t) = t``, the l1 norm on nonnegative images."""

    def value(self, x: torch.Tensor) -> torch.Tensor:
        """``sum phi(x_i)`` of every image."""
        return x.sum(dim=(-2, -1))

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        """One."""
        return x.new_ones(x.shape)

    def curvature(self, x: torch.Tensor) -> torch.Tensor:
        """Zero."""
        return x.new_zeros(x.shape)

    def descend(self, z: torch.Tensor, step: float, scratch: torch.Tensor) -> None:
        """Subtract `step` everywhere."""
        del scratch
        z.sub_(step)

    @staticmethod
    def l1_iterations(iterations: int) -> int:
        """None instead of it."""
        del iterations
        return 0
