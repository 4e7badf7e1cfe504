"""Data fidelities of the energy (7): how well an image explains a frame."""

from __future__ import annotations

from typing import Protocol

import torch

from napari_unfold.imaging.forward import ForwardOperator
from napari_unfold.recipe import Fidelity as FidelityName


class Fidelity(Protocol):
    """A term ``D(A x + b, y)`` and its gradient in x."""

    def value(
        self, operator: ForwardOperator, x: torch.Tensor, y: torch.Tensor, b: torch.Tensor
    ) -> torch.Tensor:
        """``D`` of every frame, shape ``(...)`` for frames ``(..., Y, X)``."""
        ...

    def gradient(
        self, operator: ForwardOperator, x: torch.Tensor, y: torch.Tensor, b: torch.Tensor
    ) -> torch.Tensor:
        """Gradient of ``D`` in x, shape ``(..., qY, qX)``."""
        ...


class GaussianFidelity:
    """Least squares ``1/2 ||A x + b - y||^2``, for additive white Gaussian noise (7, i)."""

    def value(
        self, operator: ForwardOperator, x: torch.Tensor, y: torch.Tensor, b: torch.Tensor
    ) -> torch.Tensor:
        """``D`` of every frame."""
        return 0.5 * (operator.forward(x) + b - y).square().sum(dim=(-2, -1))

    def gradient(
        self, operator: ForwardOperator, x: torch.Tensor, y: torch.Tensor, b: torch.Tensor
    ) -> torch.Tensor:
        """``A^T (A x + b - y)``."""
        return operator.adjoint(operator.forward(x) + b - y)


class KLFidelity:
    """Kullback-Leibler divergence, for Poisson noise (7, ii).

    ``sum (A x + b) - y + y log(y / (A x + b))`` with ``0 log 0 = 0``. Data are clipped at zero
    and the model is kept at or above the background, which it can only leave downwards through
    the slightly negative values of an extrapolated point.
    """

    @staticmethod
    def _model(operator: ForwardOperator, x: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return operator.forward(x).clamp(min=0.0) + b

    def value(
        self, operator: ForwardOperator, x: torch.Tensor, y: torch.Tensor, b: torch.Tensor
    ) -> torch.Tensor:
        """``D`` of every frame."""
        model, counts = self._model(operator, x, b), y.clamp(min=0.0)
        return (model - counts + torch.xlogy(counts, counts / model)).sum(dim=(-2, -1))

    def gradient(
        self, operator: ForwardOperator, x: torch.Tensor, y: torch.Tensor, b: torch.Tensor
    ) -> torch.Tensor:
        """``A^T (1 - y / (A x + b))``."""
        return operator.adjoint(1.0 - y.clamp(min=0.0) / self._model(operator, x, b))


FIDELITIES: dict[FidelityName, Fidelity] = {"gaussian": GaussianFidelity(), "kl": KLFidelity()}
