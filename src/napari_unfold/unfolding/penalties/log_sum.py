"""log-sum (sharper): hardly dims what is bright."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_unfold.unfolding.penalty import Penalty, learnable

if TYPE_CHECKING:
    import torch

    from napari_unfold.unfolding.penalty import Value


@dataclass(frozen=True)
class LogSumPenalty(Penalty):
    """``phi(t) = p log(1 + t / p)``: like l1 for ``t << p``, almost flat for ``t >> p``.

    Bright molecules are therefore not dimmed and faint neighbours of a bright pixel are removed.
    Nonconvex; the l1 norm is its limit for large p.

    Attributes
    ----------
    bend_photons : float or tensor
        p: where it bends, in the unit of x, positive.
    """

    bend_photons: Value = field(
        metadata=learnable(classical=0.1, lower=1e-3, upper=1e2, early=30.0)
    )

    def value(self, x: torch.Tensor) -> torch.Tensor:
        """``sum phi(x_i)`` of every image."""
        p = self.bend_photons
        return (p * (x.clamp(min=0.0) / p).log1p()).sum(dim=(-2, -1))

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        """``p / (x_i + p)``."""
        return self.bend_photons / (x.clamp(min=0.0) + self.bend_photons)

    def curvature(self, x: torch.Tensor) -> torch.Tensor:
        """``-p / (x_i + p)^2`` where x is positive."""
        p = self.bend_photons
        return -p * (x > 0) / (x.clamp(min=0.0) + p).square_()

    def gradient_by_parameters(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """``x_i / (x_i + p)^2``."""
        light = x.clamp(min=0.0)
        return {"bend_photons": light / (light + self.bend_photons).square_()}

    def descend(self, z: torch.Tensor, step: float, scratch: torch.Tensor) -> None:
        """Subtract ``step p / (z_i + p)``."""
        import torch  # not before: presets that name this penalty are listed without it

        p = float(self.bend_photons)
        torch.clamp(z, min=0.0, out=scratch).add_(p).reciprocal_()
        z.sub_(scratch, alpha=step * p)
