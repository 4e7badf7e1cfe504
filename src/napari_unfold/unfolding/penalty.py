"""Sparsity penalties of the energy (7), for nonnegative images."""

from __future__ import annotations

from typing import Protocol

import torch


class Penalty(Protocol):
    """A term ``sum phi(x_i)`` and its derivative."""

    def value(self, x: torch.Tensor) -> torch.Tensor:
        """``sum phi(x_i)`` of every image, shape ``(...)``."""
        ...

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        """``phi'(x_i)``, evaluated at ``max(x_i, 0)``."""
        ...

    def curvature(self, x: torch.Tensor) -> torch.Tensor:
        """Return the derivative of `gradient` by ``x_i``."""
        ...

    def gradient_by_p(self, x: torch.Tensor) -> torch.Tensor:
        """Return the derivative of `gradient` by the bend p, if there is one."""
        ...


class L1Penalty:
    """``phi(t) = t``, the l1 norm on nonnegative images."""

    def value(self, x: torch.Tensor) -> torch.Tensor:
        """``sum phi(x_i)`` of every image."""
        return x.sum(dim=(-2, -1))

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        """``phi'(x_i)``."""
        return torch.ones_like(x)

    def curvature(self, x: torch.Tensor) -> torch.Tensor:
        """Zero."""
        return torch.zeros_like(x)

    def gradient_by_p(self, x: torch.Tensor) -> torch.Tensor:
        """Zero."""
        return torch.zeros_like(x)


class LogSumPenalty:
    """``phi(t) = p log(1 + t / p)``: like l1 for ``t << p``, almost flat for ``t >> p``.

    Bright molecules are therefore not dimmed and faint neighbours of a bright pixel are removed.
    Nonconvex; the l1 norm is its limit for large p.

    Parameters
    ----------
    p : float or tensor
        Where it bends, in the unit of x (photons), positive.
    """

    def __init__(self, p: float | torch.Tensor) -> None:
        self.p = p

    def value(self, x: torch.Tensor) -> torch.Tensor:
        """``sum phi(x_i)`` of every image."""
        return (self.p * torch.log1p(x.clamp(min=0.0) / self.p)).sum(dim=(-2, -1))

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        """``p / (x_i + p)``."""
        return self.p / (x.clamp(min=0.0) + self.p)

    def curvature(self, x: torch.Tensor) -> torch.Tensor:
        """``-p / (x_i + p)^2`` where x is positive."""
        return -self.p * (x > 0) / (x.clamp(min=0.0) + self.p).square_()

    def gradient_by_p(self, x: torch.Tensor) -> torch.Tensor:
        """``x_i / (x_i + p)^2``."""
        light = x.clamp(min=0.0)
        return light / (light + self.p).square_()
