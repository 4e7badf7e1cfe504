"""Speed and memory: `make bench-speed`.

Everything is measured in one run, as ratios to the reference form of the network where there is
one; the absolute numbers are those of the machine it runs on.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import numpy as np
import torch
from scenes import Scene

from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
from napari_unfold.files.stacks import Stack, as_stack
from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.jobs import run_to_end
from napari_unfold.reconstruction.reconstruct import reconstruct
from napari_unfold.settings.recipe import Recipe
from napari_unfold.simulation.scenes import simulate
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.inference import iterates_in_place
from napari_unfold.unfolding.network import UnfoldedNetwork


def seconds(function: Callable[[], object], repeats: int = 3) -> float:
    """Shortest of a few runs."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


def fast_form_against_reference() -> None:
    """Print the time of both forms of the network for one frame of 64 x 64."""
    operator = SeparableOperator((64, 64), 4, 1.1)
    network = UnfoldedNetwork(operator, classical_parameters(operator, 1500, 20, iterations=100))
    y, b = torch.rand(4, 64, 64) * 100, torch.full((64, 64), 20.0)

    def reference() -> None:
        with torch.no_grad():
            network(y, b)

    def fast() -> None:
        for _ in iterates_in_place(network, y, b):
            pass

    slow, quick = (1000 * seconds(f) / 400 for f in (reference, fast))
    print(f"network, ms per frame and iteration: reference {slow:.3f}, in place {quick:.3f}, "
          f"ratio {slow / quick:.1f}")  # fmt: skip


def whole_job() -> None:
    """Print frames per second of the whole job, for frames of several sizes."""
    preset = load_preset(DEFAULT_PRESET)
    for side, frames in ((32, 64), (64, 32), (128, 8), (256, 2)):
        made = simulate("random", frames=frames, shape=(side, side), density_per_um2=2)
        recipe = made.recipe.model_copy(update={"localization": preset.localization})
        took = seconds(lambda: run_to_end(reconstruct(as_stack(made.stack), recipe, preset)), 2)  # noqa: B023
        print(f"whole job, {side} x {side}, 2 molecules per um2: {frames / took:.1f} frames/s")


def memory() -> None:
    """Print the growth of the process from a short to a long stack."""
    frame = Scene("random", 1.0, frames=1).simulate(0).stack[0, :24, :24]
    preset = load_preset(DEFAULT_PRESET)
    recipe: Recipe = Scene("random", 1.0).simulate(0).recipe
    peaks = []
    for n in (100, 1000):
        stack = Stack(
            "long", (n, *frame.shape), frame.dtype, lambda i, j: np.repeat(frame[None], j - i, 0)
        )
        run_to_end(reconstruct(stack, recipe, preset))
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(f"memory: {peaks[0]:.0f} MB after 100 frames, {peaks[1]:.0f} MB after 1000 frames")


if __name__ == "__main__":
    memory()
    fast_form_against_reference()
    whole_job()
