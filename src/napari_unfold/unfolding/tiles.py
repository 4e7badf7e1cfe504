"""The network only where frames hold light, many tiles at once: `unfold_tiles`.

What the first iteration leaves dark stays dark. The derivative of either fidelity grows with the
light, so light that is placed anywhere makes every other place less attractive, and no penalty
pulls harder than at zero: a fine pixel whose slope ``-A^T D'(0)`` does not exceed the weight of
the penalty, the lowest of all iterations, never receives light. (The one exception is light that
the inertia makes negative, which is too little to matter; the tests compare all pixels.) The rest
is cut into tiles that do not see each other, and each runs through the iterations by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from importlib.util import find_spec
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.jobs import SECONDS_BETWEEN_EVENTS
from napari_unfold.unfolding.fidelities.gaussian import GaussianFidelity
from napari_unfold.unfolding.fidelities.kl import KLFidelity
from napari_unfold.unfolding.metric import coarseness
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.penalties.l1 import L1Penalty
from napari_unfold.unfolding.penalties.log_sum import LogSumPenalty

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Item = TypeVar("Item")

REACH_SIGMA = 4.5
"""Light farther from its fine pixel than this along an axis, 7e-6 of it, is left out."""

MARGIN_SIGMA = 1.0
"""Lit places closer to each other than about twice this are in one tile.

Across such a gap a molecule changes the slope by less than a hundredth of the weight.
"""

LANES = 16
"""Tiles that are computed beside each other: as many numbers as the widest instruction takes."""

FINE_PIXELS_AT_ONCE = 2**20
"""Of all the tiles of a group: more would not stay in the cache."""

ROUNDING = 1e-4
"""By how much a slope in single precision may be wrong, as a fraction of it."""


def missing(network: UnfoldedNetwork) -> str:
    """Return what keeps a network from running on tiles, nothing if it can."""
    if not isinstance(network.operator, SeparableOperator):
        return "a Gaussian PSF"
    if not isinstance(network.fidelity, GaussianFidelity | KLFidelity):
        return "the Gaussian or the Kullback-Leibler fidelity"
    if not issubclass(network.penalty_class, L1Penalty | LogSumPenalty):
        return "the l1 or the log-sum penalty"
    if network.whitening is not None:
        return "a misfit that is not whitened"
    if network.weight.dtype != torch.float32 or network.weight.device.type != "cpu":
        return "single precision on the CPU"
    return "" if find_spec("numba") else "numba, which is not installed"


def unfold_tiles(
    network: UnfoldedNetwork, y: torch.Tensor, b: torch.Tensor
) -> Generator[float, None, torch.Tensor]:
    """Run the network on the tiles of some frames, on as many cores as torch would use.

    Parameters
    ----------
    network : UnfoldedNetwork
        One of which nothing is `missing`.
    y, b : tensor (..., Y, X)
        Frames and background in photons.

    Yields
    ------
    float
        The share of the work that is done, ten times a second; closing the generator ends the work.

    Returns
    -------
    tensor (..., qY, qX)
        ``x^K`` in photons per fine pixel.
    """
    shape = (-1, *y.shape[-2:])
    frames = np.ascontiguousarray(y.detach().numpy().reshape(shape))
    background = np.ascontiguousarray(np.broadcast_to(b.detach().numpy(), y.shape).reshape(shape))
    work = _Work(network, frames, background)
    pool = ThreadPoolExecutor(max_workers=torch.get_num_threads())
    try:
        yield from _shares(pool, work.look, range(len(frames)), 0.0)
        boxes = work.cut()
        yield from _shares(pool, work.iterate, groups_of(boxes, network.operator.upsampling))
    finally:
        work.stop[0] = True
        # a thread may just be compiling for the first time, which cannot be stopped
        pool.shutdown(wait=False, cancel_futures=True)
    return torch.from_numpy(work.x).reshape(*y.shape[:-2], *work.x.shape[-2:])


def groups_of(boxes: Integers, upsampling: int) -> list[Integers]:
    """Sort tiles into groups of similar size, the largest first.

    Parameters
    ----------
    boxes : array (N, 6)
        Columns as in `cutting.boxes_of`.
    upsampling : int
        Fine pixels per camera pixel.
    """
    heights, widths = boxes[:, 3] - boxes[:, 2], boxes[:, 5] - boxes[:, 4]
    order = np.lexsort((heights, widths))[::-1]
    fine_pixels = heights[order] * widths[order] * upsampling**2
    groups, start = [], 0
    while start < len(order):
        stop = start + int(np.clip(FINE_PIXELS_AT_ONCE // fine_pixels[start], 1, LANES))
        groups.append(boxes[order[start:stop]])
        start = stop
    return groups


def _shares(
    pool: Executor, work: Callable[[Item], None], items: Sequence[Item], whole: float = 1.0
) -> Generator[float, None, None]:
    """Do some work in the pool and yield, now and then, how much of it is done."""
    waiting = {pool.submit(work, item) for item in items}
    while waiting:
        done, waiting = wait(waiting, timeout=SECONDS_BETWEEN_EVENTS)
        for finished in done:
            finished.result()
        yield whole * (1.0 - len(waiting) / len(items))


class _Work:
    """What the threads share: the frames, the network as arrays, and the image they write to."""

    def __init__(self, network: UnfoldedNetwork, y: Floats, b: Floats) -> None:
        # half a second, and only where they are used
        from napari_unfold.unfolding import compiled, compiled_lines, cutting

        operator = network.operator
        assert isinstance(operator, SeparableOperator)
        self.compiled, self.cutting, self.y, self.b = compiled, cutting, y, b
        self.margin = max(1, round(MARGIN_SIGMA * operator.sigma_px))
        # odd, so that few shapes have to be compiled
        self.reach = math.ceil(REACH_SIGMA * operator.sigma_px) // 2 * 2 + 1
        self.profile = operator.profile(self.reach).to(torch.float32).contiguous().numpy()
        self.phases, self.window = (0,) * operator.upsampling, (0,) * (2 * self.reach + 1)
        self.steps = network.step_sizes.detach().numpy()
        self.inertias = np.array(
            [network.inertia_number(k) for k in range(len(self.steps))], np.float32
        )
        count = range(len(self.steps))
        penalties = [network.penalty(k).as_numbers() for k in count]
        self.weights = np.array([network.weight_of(k).item() for k in count], np.float32)
        # of the l1 norm it is infinite; the compiled form knows it by the number zero
        self.bends = np.array(
            [p.bend_photons if isinstance(p, LogSumPenalty) else 0.0 for p in penalties], np.float32
        )
        reserve = network.reserve_pixels
        self.terms = compiled_lines.Terms(
            kl=isinstance(network.fidelity, KLFidelity),
            width=np.float32(network.projection_width),
            molecule=np.float32(network.molecule_photons),
            reserve=np.float32(-1.0 if reserve is None else reserve),
            faint=np.float32(network.faint_share),
            coarseness=np.float32(coarseness(operator)),
        )
        q = operator.upsampling
        self.slopes = np.empty_like(y)
        self.tiles = np.empty(y.shape, np.int32)
        self.x = np.zeros((len(y), q * y.shape[1], q * y.shape[2]), np.float32)
        self.stop = np.zeros(1, np.bool_)

    def look(self, t: int) -> None:
        """Compute what pulls light into each camera pixel of frame `t` while all is dark."""
        self.compiled.first_slopes(
            self.y[t], self.b[t], self.profile, self.window, self.terms.kl, self.slopes[t]
        )

    def cut(self) -> Integers:
        """Give every tile a number and return their boxes."""
        lit = self.slopes > self.weights.min() * (1.0 - ROUNDING)
        size = (1, 2 * self.margin + 1, 2 * self.margin + 1)
        within_frames = np.zeros((3, 3, 3), bool)
        within_frames[1] = True
        ndimage.label(ndimage.maximum_filter(lit, size), within_frames, output=self.tiles)
        self.tiles *= lit
        return self.cutting.boxes_of(self.tiles)

    def iterate(self, group: Integers) -> None:
        """Run a group of tiles through all iterations."""
        data = self.cutting.cut(self.y, self.b, self.tiles, group, self.reach)
        x = self.compiled.iterate(
            *data, self.profile, self.phases, self.window, self.steps, self.inertias,
            self.weights, self.bends, self.terms, len(group), self.stop,
        )  # fmt: skip
        self.cutting.paste(x, self.tiles, group, self.x)
