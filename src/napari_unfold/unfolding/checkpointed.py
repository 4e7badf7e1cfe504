"""``x^K`` with its gradient in little memory: blocks of iterations are computed twice.

The reference for `backward`, and for operators that are learned too.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from napari_unfold.unfolding.network import UnfoldedNetwork


def checkpointed(
    network: UnfoldedNetwork,
    y: torch.Tensor,
    b: torch.Tensor,
    follows: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return ``x^K`` as the network does, with the memory of about ``2 sqrt(K)`` iterations.

    Only the ends of blocks of iterations are kept; back-propagation computes a block again
    when it needs it.

    Parameters
    ----------
    network : UnfoldedNetwork
    y, b : tensor (..., Y, X)
        Frames and background in photons.
    follows : tensor (T,), bool, optional
        As in `UnfoldedNetwork.iterates`.

    Returns
    -------
    tensor (..., qY, qX)
    """
    x: torch.Tensor = _Checkpointed.apply(network, y, b, follows, *network.parameters())  # type: ignore[no-untyped-call]
    return x


class _Checkpointed(torch.autograd.Function):
    """``x^K`` with its derivative by the parameters, block by block."""

    @staticmethod
    def forward(
        ctx: Any,
        network: UnfoldedNetwork,
        y: torch.Tensor,
        b: torch.Tensor,
        follows: torch.Tensor | None,
        *parameters: torch.Tensor,
    ) -> torch.Tensor:
        iterations = len(network.step_sizes)
        block = math.ceil(math.sqrt(iterations))
        x = previous = torch.zeros_like(network.operator.adjoint(y))
        supported = y.new_zeros(())
        starts = []
        for k in range(iterations):
            if k % block == 0:
                starts.append((k, x, previous, supported))
            if k == network.iterations_alone and follows is not None:
                supported = network.support(x, follows)
            previous, x = x, network.iteration(k, x, previous, y, b, supported)
        ctx.network, ctx.y, ctx.b, ctx.follows = network, y, b, follows
        ctx.parameters, ctx.starts, ctx.block, ctx.supported = parameters, starts, block, supported
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        by_state = [gradients[0], torch.zeros_like(gradients[0]), torch.zeros_like(ctx.supported)]
        total = [torch.zeros_like(p) for p in ctx.parameters]
        network, y, b, follows = ctx.network, ctx.y, ctx.b, ctx.follows
        iterations = len(network.step_sizes)
        while ctx.starts:
            first, *begin = ctx.starts.pop()
            begin = [t.detach().requires_grad_() for t in begin]
            with torch.enable_grad():
                x, previous, supported = begin
                for k in range(first, min(first + ctx.block, iterations)):
                    if k == network.iterations_alone and follows is not None:
                        supported = network.support(x, follows)
                    previous, x = x, network.iteration(k, x, previous, y, b, supported)
            by_all = torch.autograd.grad(
                (x, previous, supported),
                (*begin, *ctx.parameters),
                by_state,
                allow_unused=True,
                materialize_grads=True,
            )
            by_state = list(by_all[:3])
            for sum_, part in zip(total, by_all[3:], strict=True):
                sum_ += part
        return (None, None, None, None, *total)
