"""Data fidelities of the energy (7): how well the light of an image explains a frame."""

from __future__ import annotations

from typing import Protocol

import torch

from napari_unfold.settings.recipe import Fidelity as FidelityName


class Fidelity(Protocol):
    """A term ``D(A x + b, y)``, as a function of the light ``A x`` on the camera."""

    def value(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """``D`` of every frame, shape ``(...)`` for frames ``(..., Y, X)``."""
        ...

    def residual(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the derivative of ``D`` by the light; ``A^T`` makes it the gradient in x."""
        ...

    def curvature(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the derivative of `residual` by the light."""
        ...


class GaussianFidelity:
    """Least squares ``1/2 ||A x + b - y||^2``, for additive white Gaussian noise (7, i)."""

    def value(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """``D`` of every frame."""
        return 0.5 * (light + b - y).square().sum(dim=(-2, -1))

    def residual(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return ``A x + b - y``."""
        return light + b - y

    def curvature(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """One everywhere."""
        del y, b
        return torch.ones_like(light)


class KLFidelity:
    """Kullback-Leibler divergence, for Poisson noise (7, ii).

    ``sum (A x + b) - y + y log(y / (A x + b))`` with ``0 log 0 = 0``. Data are clipped at zero,
    and so is the light, which can be negative only at an extrapolated point.
    """

    def value(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """``D`` of every frame."""
        mean, counts = light.clamp(min=0.0) + b, y.clamp(min=0.0)
        divergence = mean - counts + torch.xlogy(counts, counts) - counts * mean.log()
        return divergence.sum(dim=(-2, -1))

    def residual(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return ``1 - y / (A x + b)``."""
        return 1.0 - y.clamp(min=0.0) / (light.clamp(min=0.0) + b)

    def curvature(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """``y / (A x + b)^2`` where there is light."""
        return y.clamp(min=0.0) * (light > 0) / (light.clamp(min=0.0) + b).square()


FIDELITIES: dict[FidelityName, Fidelity] = {"gaussian": GaussianFidelity(), "kl": KLFidelity()}
