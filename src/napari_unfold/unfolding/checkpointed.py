"""``x^K`` with its gradient in little memory: blocks of iterations are computed twice.

The reference for `backward`, and for operators that are learned too.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from napari_unfold.unfolding.network import UnfoldedNetwork


def checkpointed(network: UnfoldedNetwork, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return ``x^K`` as the network does, with the memory of about ``2 sqrt(K)`` iterations.

    Only the ends of blocks of iterations are kept; back-propagation computes a block again
    when it needs it.

    Parameters
    ----------
    network : UnfoldedNetwork
    y, b : tensor (..., Y, X)
        Frames and background in photons.

    Returns
    -------
    tensor (..., qY, qX)
    """
    x: torch.Tensor = _Checkpointed.apply(network, y, b, *network.parameters())  # type: ignore[no-untyped-call]
    return x


class _Checkpointed(torch.autograd.Function):
    """``x^K`` with its derivative by the parameters, block by block."""

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
