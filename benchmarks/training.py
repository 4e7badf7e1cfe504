"""Memory and time of one learning step: `make bench-training`.

The case named by the design: 400 iterations on 8 frames of 64 x 64 pixels, upsampling 4. Beside
it, in a process of its own, what the same gradient takes without check-points, for 100 iterations.
"""

from __future__ import annotations

import multiprocessing
import resource
import time

import torch

from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.losses import TolerantLoss
from napari_unfold.unfolding.network import UnfoldedNetwork


def measure(method: str, iterations: int, frames: int) -> None:
    """Print peak memory and time of one gradient."""
    operator = SeparableOperator((64, 64), 4, 1.1)
    parameters = classical_parameters(operator, 1500, 20, iterations=iterations)
    network = UnfoldedNetwork(operator, parameters)
    y, b = torch.rand(frames, 64, 64) * 200 + 20, torch.full((64, 64), 20.0)
    truth = (torch.rand(frames, 256, 256) > 0.997).float() * 1500
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    x = getattr(network, method)(y, b)
    TolerantLoss()(x, truth, network.threshold).backward()  # type: ignore[no-untyped-call]
    took = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{method:13s} K = {iterations}, {frames} frames: {peak:.0f} MB in all "
        f"({peak - before:.0f} MB for the gradient), {took:.1f} s",
        flush=True,
    )


def main() -> None:
    """Measure each case in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    for case in (("checkpointed", 400, 8), ("checkpointed", 100, 8), ("forward", 100, 8)):
        process = spawn.Process(target=measure, args=case)
        process.start()
        process.join()


if __name__ == "__main__":
    main()
