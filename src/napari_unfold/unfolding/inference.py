"""The same iterates as `UnfoldedNetwork.iterates`, several times faster, without gradients.

All fine images live in buffers that are used again in every iteration: on a CPU, allocating them
anew costs more than computing them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from napari_unfold.unfolding.network import UnfoldedNetwork, inertia

Tick = Callable[[], None]
"""Called at every iteration; may raise to stop."""


def iterates_in_place(
    network: UnfoldedNetwork, y: torch.Tensor, b: torch.Tensor
) -> Iterator[torch.Tensor]:
    """Yield ``x^1 .. x^K``; a yielded tensor is overwritten two iterations later.

    Parameters
    ----------
    network : UnfoldedNetwork
    y : tensor (..., Y, X)
        Frames in photons.
    b : tensor (..., Y, X)
        Background in photons, positive for the KL fidelity.

    Yields
    ------
    tensor (..., qY, qX)
        Molecule image in photons per fine pixel.
    """
    steps = network.step_sizes.tolist()
    weight = network.weight.item()
    width = network.projection_width
    operator = network.operator
    early, late = (network.penalty(k).as_numbers() for k in (0, len(steps)))
    with torch.no_grad():
        x = torch.zeros_like(operator.adjoint(y))
        previous, z, scratch = (torch.zeros_like(x) for _ in range(3))
    for k, step in enumerate(steps):
        with torch.no_grad():
            torch.sub(x, previous, out=z).mul_(inertia(k)).add_(x)
            misfit = network.fidelity.residual(operator.forward(z), y, b)
            gradient = operator.adjoint(misfit, out=previous)
            penalty = early if k < network.l1_iterations else late
            penalty.descend(z, step * weight, scratch)
            z.sub_(gradient, alpha=step)
            # smoothed projection: width s^2 (2 - s) up to the width, the identity beyond
            s = torch.mul(z, 1.0 / width, out=scratch).clamp_(0.0, 1.0)
            torch.sub(2.0, s, out=previous).mul_(s).mul_(s).mul_(width)
            previous.add_(z.sub_(width).clamp_(min=0.0))
            x, previous = previous, x
        yield x


def final_iterate(
    network: UnfoldedNetwork, y: torch.Tensor, b: torch.Tensor, tick: Tick | None = None
) -> torch.Tensor:
    """Return ``x^K``, shape ``(..., qY, qX)``, without gradients; `tick` at every iteration."""
    x = y
    for x in iterates_in_place(network, y, b):  # noqa: B007 - the last one counts
        if tick is not None:
            tick()
    return x
