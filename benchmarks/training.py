"""Memory and time of one learning step: `make bench-training`.

The case named by the design: 400 iterations on 8 frames of 64 x 64 pixels, upsampling 4, with the
gradient written out (what training uses), recorded block by block (its reference), and, for 100
iterations only, recorded as a whole. Each in a process of its own.
"""

from __future__ import annotations

import multiprocessing
import resource
import time

import torch

from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.learning.losses import TolerantLoss
from napari_unfold.unfolding.backward import unrolled
from napari_unfold.unfolding.checkpointed import checkpointed
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.network import UnfoldedNetwork

METHODS = {
    "written out": unrolled,
    "block by block": checkpointed,
    "as a whole": UnfoldedNetwork.forward,
}


def measure(method: str, iterations: int, frames: int) -> None:
    """Print peak memory and time of one gradient."""
    operator = SeparableOperator((64, 64), 4, 1.1)
    parameters = classical_parameters(operator, 1500, 20, iterations=iterations)
    network = UnfoldedNetwork(operator, parameters)
    y, b = torch.rand(frames, 64, 64) * 200 + 20, torch.full((64, 64), 20.0)
    truth = (torch.rand(frames, 256, 256) > 0.997).float() * 1500
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    x = METHODS[method](network, y, b)
    TolerantLoss()(x, truth, network.threshold).backward()  # type: ignore[no-untyped-call]
    took = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{method:15s} K = {iterations}, {frames} frames: {peak:.0f} MB in all "
        f"({peak - before:.0f} MB for the gradient), {took:.1f} s",
        flush=True,
    )


def main() -> None:
    """Measure each case in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    cases = [("written out", 400), ("block by block", 400), *((m, 100) for m in METHODS)]
    for method, iterations in cases:
        process = spawn.Process(target=measure, args=(method, iterations, 8))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
