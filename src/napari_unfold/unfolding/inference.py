"""The same as `UnfoldedNetwork.iterates`, many times faster, without gradients.

`unfold` gives the last iterate, compiled and on tiles where it can (see `tiles`), and elsewhere
from `iterates_in_place`, which gives them all. There all fine images live in buffers that are used
again in every iteration: on a CPU, allocating them anew costs more than computing them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import torch

from napari_unfold.unfolding import tiles
from napari_unfold.unfolding.network import UnfoldedNetwork, inertia

Tick = Callable[[], None]
"""Called ever again during some work; may raise to stop it."""


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


def unfold(
    network: UnfoldedNetwork, y: torch.Tensor, b: torch.Tensor
) -> Generator[float, None, torch.Tensor]:
    """Compute ``x^K`` without gradients, by the fastest way there is.

    Parameters
    ----------
    network, y, b
        As in `iterates_in_place`.

    Yields
    ------
    float
        The share of the work that is done. Closing the generator ends the work.

    Returns
    -------
    tensor (..., qY, qX)
    """
    if not tiles.missing(network):
        return (yield from tiles.unfold_tiles(network, y, b))
    x = y
    for k, x in enumerate(iterates_in_place(network, y, b), start=1):  # noqa: B007 - the last counts
        yield k / len(network.step_sizes)
    return x


def final_iterate(
    network: UnfoldedNetwork, y: torch.Tensor, b: torch.Tensor, tick: Tick | None = None
) -> torch.Tensor:
    """Return ``x^K``, shape ``(..., qY, qX)``, without gradients; `tick` ever again meanwhile."""
    work = unfold(network, y, b)
    try:
        while True:
            next(work)
            if tick is not None:
                tick()
    except StopIteration as end:
        x: torch.Tensor = end.value
        return x
    finally:
        work.close()
