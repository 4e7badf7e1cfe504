"""Algorithm 1 of the paper: accelerated projected gradient descent, unrolled for K iterations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from napari_unfold.imaging.forward import ForwardOperator
from napari_unfold.unfolding.fidelity import FIDELITIES
from napari_unfold.unfolding.parameters import NetworkParameters
from napari_unfold.unfolding.penalty import L1Penalty, LogSumPenalty, Penalty
from napari_unfold.unfolding.projection import smoothed_projection

CHAMBOLLE_DOSSAL = 3.0
"""The constant ``a > 2`` of the inertial sequence ``beta_k = (k - 1) / (k + a)``."""


def inertia(k: int) -> float:
    """Return the extrapolation ``beta_k`` of iteration `k`, counted from 0."""
    return max(k - 1, 0) / (k + CHAMBOLLE_DOSSAL)


class UnfoldedNetwork(nn.Module):
    """The network: K iterations on the energy ``D(A x + b, y) + lambda sum phi(x)``.

    Its parameters are the paper's theta: step sizes, regularisation weight and binarization
    threshold, and the bend ``p`` of the log-sum penalty. Untrained (classical) and learned
    parameters run through the same code; gradients flow through all iterations.

    Parameters
    ----------
    operator : ForwardOperator
        A.
    parameters : NetworkParameters
        Values to start from.
    """

    def __init__(
        self,
        operator: ForwardOperator,
        parameters: NetworkParameters,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()

        def learnable(value: float | list[float]) -> nn.Parameter:
            return nn.Parameter(torch.tensor(value, dtype=dtype, device=device))

        self.operator = operator
        self.fidelity = FIDELITIES[parameters.fidelity]
        self.step_sizes = learnable(parameters.step_sizes)
        self.weight = learnable(parameters.weight)
        self.threshold = learnable(parameters.threshold_photons)
        p = parameters.sparsity_photons
        self.sparsity = None if p is None else learnable(p)
        self.l1_iterations = parameters.l1_iterations
        self.projection_width = parameters.projection_width_photons

    def penalty(self, k: int) -> Penalty:
        """Return the penalty of iteration `k`."""
        if self.sparsity is None or k < self.l1_iterations:
            return L1Penalty()
        return LogSumPenalty(self.sparsity)

    def energy(self, x: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Energy (7) of every frame, with the penalty of the last iteration."""
        penalty = self.penalty(len(self.step_sizes))
        misfit = self.fidelity.value(self.operator.forward(x), y, b)
        return misfit + self.weight * penalty.value(x)

    def iterates(self, y: torch.Tensor, b: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield ``x^1 .. x^K`` for frames `y`.

        Parameters
        ----------
        y : tensor (..., Y, X)
            Frames in photons.
        b : tensor (..., Y, X)
            Background in photons, positive for the KL fidelity.

        Yields
        ------
        tensor (..., qY, qX)
            Molecule image in photons per fine pixel.
        """
        x = previous = torch.zeros_like(self.operator.adjoint(y))
        for k in range(len(self.step_sizes)):
            previous, x = x, self.iteration(k, x, previous, y, b)
            yield x

    def iteration(
        self,
        k: int,
        x: torch.Tensor,
        previous: torch.Tensor,
        y: torch.Tensor,
        b: torch.Tensor,
    ) -> torch.Tensor:
        """Return ``x^(k+1)`` from ``x^k`` and ``x^(k-1)``: the loop of Algorithm 1."""
        z = x + inertia(k) * (x - previous)
        misfit = self.fidelity.residual(self.operator.forward(z), y, b)
        gradient = self.operator.adjoint(misfit) + self.weight * self.penalty(k).gradient(z)
        return smoothed_projection(z - self.step(k) * gradient, self.projection_width)

    def step(self, k: int) -> torch.Tensor:
        """Return the step size ``alpha_k``."""
        return self.step_sizes[k]

    def forward(self, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return ``x^K``, shape ``(..., qY, qX)``; see `iterates`."""
        x = y
        for x in self.iterates(y, b):  # noqa: B007 - the last one counts
            pass
        return x

    def checkpointed(self, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return ``x^K`` as `forward` does, with the memory of about ``2 sqrt(K)`` iterations.

        Only the ends of blocks of iterations are kept; back-propagation computes a block again
        when it needs it.
        """
        x: torch.Tensor = _Checkpointed.apply(self, y, b, *self.parameters())  # type: ignore[no-untyped-call]
        return x


class _Checkpointed(torch.autograd.Function):
    """``x^K`` with its derivative by the parameters (8)-(12), block by block."""

    @staticmethod
    def forward(
        ctx: Any,
        network: UnfoldedNetwork,
        y: torch.Tensor,
        b: torch.Tensor,
        *parameters: torch.Tensor,
    ) -> torch.Tensor:
        iterations = len(network.step_sizes)
        block = math.ceil(math.sqrt(iterations))
        x = previous = torch.zeros_like(network.operator.adjoint(y))
        starts = []
        for k in range(iterations):
            if k % block == 0:
                starts.append((k, x, previous))
            previous, x = x, network.iteration(k, x, previous, y, b)
        ctx.network, ctx.y, ctx.b = network, y, b
        ctx.parameters, ctx.starts, ctx.block = parameters, starts, block
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        by_x, by_previous = gradients[0], torch.zeros_like(gradients[0])
        total = [torch.zeros_like(p) for p in ctx.parameters]
        iterations = len(ctx.network.step_sizes)
        while ctx.starts:
            first, *begin = ctx.starts.pop()
            x0, previous0 = (t.detach().requires_grad_() for t in begin)
            with torch.enable_grad():
                x, previous = x0, previous0
                for k in range(first, min(first + ctx.block, iterations)):
                    previous, x = x, ctx.network.iteration(k, x, previous, ctx.y, ctx.b)
            by_x, by_previous, *by_parameters = torch.autograd.grad(
                (x, previous),
                (x0, previous0, *ctx.parameters),
                (by_x, by_previous),
                allow_unused=True,
                materialize_grads=True,
            )
            for sum_, part in zip(total, by_parameters, strict=True):
                sum_ += part
        return (None, None, None, *total)
