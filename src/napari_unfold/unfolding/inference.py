"""The same as `UnfoldedNetwork.iterates`, many times faster, without gradients.

`unfold` gives the last iterate, compiled and on tiles where it can (see `tiles`), and elsewhere
from `iterates_in_place`, which gives them all. There all fine images live in buffers that are used
again in every iteration: on a CPU, allocating them anew costs more than computing them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing

import torch

from napari_unfold.imaging.convolution import along_both_axes
from napari_unfold.jobs import run_to_end
from napari_unfold.unfolding import tiles
from napari_unfold.unfolding.network import UnfoldedNetwork

State = tuple[torch.Tensor, torch.Tensor]
"""``x^k`` and ``x^(k-1)``."""

Tick = Callable[[], None]
"""Called ever again during some work; may raise to stop it."""


def iterates_in_place(
    network: UnfoldedNetwork,
    y: torch.Tensor,
    b: torch.Tensor,
    span: slice = slice(None),
    start: State | None = None,
    supported: torch.Tensor | None = None,
) -> Iterator[torch.Tensor]:
    """Yield ``x^1 .. x^K``; a yielded tensor is overwritten two iterations later.

    Parameters
    ----------
    network : UnfoldedNetwork
    y : tensor (..., Y, X)
        Frames in photons.
    b : tensor (..., Y, X)
        Background in photons, positive for the KL fidelity.
    span : slice
        Which of the K iterations.
    start : tuple of tensor (..., qY, qX), optional
        The last two iterates before; zero by default. Not written to.
    supported : tensor (..., qY, qX), optional
        How far neighbouring frames support every pixel.

    Yields
    ------
    tensor (..., qY, qX)
        Molecule image in photons per fine pixel.
    """
    steps = network.step_sizes.tolist()
    width = network.projection_width
    operator = network.operator
    with torch.no_grad():
        x = torch.zeros_like(operator.adjoint(y))
        previous, z, scratch = (torch.zeros_like(x) for _ in range(3))
        kernel = network.whitening_kernel()
        remitted = None
        if supported is not None:
            remitted = supported * network.molecule_photons
        if start is not None:
            x.copy_(start[0])
            previous.copy_(start[1])
    for k in range(len(steps))[span]:
        step = steps[k]
        with torch.no_grad():
            penalty, weight = network.penalty(k).as_numbers(), network.weight_of(k).item()
            torch.sub(x, previous, out=z).mul_(network.inertia_number(k)).add_(x)
            light = operator.forward(z)
            misfit = network.fidelity.residual(light, y, b)
            if kernel is not None:
                misfit = along_both_axes(misfit, kernel)
            gradient = operator.adjoint(misfit, out=previous)
            if remitted is not None:
                torch.clamp(z, min=0.0, out=scratch).add_(network.molecule_photons)
                gradient.sub_(torch.div(remitted, scratch, out=scratch), alpha=weight)
            if network.reserve_pixels is None:
                penalty.descend(z, step * weight, scratch)
            else:
                gradient.add_(penalty.gradient(z), alpha=weight)
                gradient.div_(network.pixel_curvature(k, z, gradient, light, y, b))
            z.sub_(gradient, alpha=step)
            # smoothed projection: width s^2 (2 - s) up to the width, the identity beyond
            s = torch.mul(z, 1.0 / width, out=scratch).clamp_(0.0, 1.0)
            torch.sub(2.0, s, out=previous).mul_(s).mul_(s).mul_(width)
            previous.add_(z.sub_(width).clamp_(min=0.0))
            x, previous = previous, x
        yield x


def coupled_iterates(
    network: UnfoldedNetwork,
    y: torch.Tensor,
    b: torch.Tensor,
    follows: torch.Tensor | None,
    wanted: slice = slice(None),
) -> Iterator[torch.Tensor]:
    """Yield ``x^1 .. x^K`` as `iterates_in_place` does, of frames coupled to their neighbours.

    Parameters
    ----------
    network : UnfoldedNetwork
    y : tensor (T, Y, X)
        Frames in the order of time, in photons.
    b : tensor (Y, X) or (T, Y, X)
        Background in photons.
    follows : tensor (T,), bool, or None
        As in `UnfoldedNetwork.iterates`.
    wanted : slice
        Frames to go on with when coupling begins; the others are only their neighbours.

    Yields
    ------
    tensor (T, qY, qX), then (wanted, qY, qX)
    """
    b = b.expand_as(y)
    if follows is None or not network.coupling:
        yield from iterates_in_place(network, y[wanted], b[wanted])
        return
    alone = network.iterations_alone
    x = previous = torch.zeros_like(network.operator.adjoint(y))
    for iterate in iterates_in_place(network, y, b, slice(alone)):
        previous, x = x, iterate
        yield x
    with torch.no_grad():
        supported = network.support(x, follows)[wanted]
    start, rest = (x[wanted], previous[wanted]), slice(alone, None)
    yield from iterates_in_place(network, y[wanted], b[wanted], rest, start, supported)


def unfold(
    network: UnfoldedNetwork,
    y: torch.Tensor,
    b: torch.Tensor,
    follows: torch.Tensor | None = None,
    wanted: slice = slice(None),
) -> Generator[float, None, torch.Tensor]:
    """Compute ``x^K`` without gradients, by the fastest way there is.

    Parameters
    ----------
    network, y, b, follows, wanted
        As in `coupled_iterates`.

    Yields
    ------
    float
        The share of the work that is done. Closing the generator ends the work.

    Returns
    -------
    tensor (..., qY, qX)
        Of the wanted frames.
    """
    alone = follows is None or not network.coupling
    if alone and not tiles.missing(network):
        return (yield from tiles.unfold_tiles(network, y[wanted], b.expand_as(y)[wanted]))
    x = y
    iterates = coupled_iterates(network, y, b, follows, wanted)
    for k, x in enumerate(iterates, start=1):  # noqa: B007 - the last counts
        yield k / len(network.step_sizes)
    return x


def final_iterate(
    network: UnfoldedNetwork,
    y: torch.Tensor,
    b: torch.Tensor,
    tick: Tick | None = None,
    follows: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return ``x^K``, shape ``(..., qY, qX)``, without gradients; `tick` ever again meanwhile."""
    with closing(unfold(network, y, b, follows)) as work:
        return run_to_end(work, None if tick is None else lambda _: tick())
