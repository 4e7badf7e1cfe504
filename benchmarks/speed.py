"""Speed: `make bench-speed`, or `python benchmarks/speed.py --against COMMIT` beside an old commit.

Frames are simulated: molecules of 500 to 2500 photons anywhere, background 20, PSF sigma 1.1 pixels
of 100 nm, q = 4; *sparse* has 0.3 molecules per um2 and *dense* 5. All is measured in one run and
on the same frames; every figure is the median of some runs. Another commit is checked out into a
folder of its own and measured in turn with this one.

    network     frames a second through the network alone, with 300 iterations
    core ms     milliseconds of processor time a frame, whatever else the machine is doing; their
                ratio is given
    us / um2    the same per square micrometre: flat if the cost goes with the area
    job         seconds of `napari-unfold reconstruct`, the start of the program included, and the
                processor time of its stages (see stages.py; an old commit may not have them all)
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
DENSITIES_PER_UM2 = {"sparse": 0.3, "dense": 5.0}
FRAMES = {64: 64, 128: 16, 256: 4, 2048: 1}
JOB_FRAMES = {
    ("sparse", 64): 200, ("sparse", 256): 12, ("dense", 64): 32, ("sparse", 2048): 1,
}  # fmt: skip
SLOW = {("sparse", 2048), ("dense", 2048)}
"""Not for an old commit: more than ten minutes a frame."""
PIXEL_UM, SIGMA_PX, UPSAMPLING, ITERATIONS = 0.1, 1.1, 4, 300
PHOTONS, BACKGROUND, OFFSET_ADU = 1500.0, 20.0, 100


def typical_seconds(function: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median time and processor time of some runs, after one that does not count."""
    function()
    walls, cores = [], []
    for _ in range(repeats):
        wall, core = time.perf_counter(), time.process_time()
        function()
        walls.append(time.perf_counter() - wall)
        cores.append(time.process_time() - core)
    return median(walls), median(cores)


def frames_of(kind: str, side: int, n_frames: int):  # type: ignore[no-untyped-def]
    """Simulate frames in photons."""
    import numpy as np
    import torch

    from napari_unfold.imaging.forward import SeparableOperator

    rng = np.random.default_rng(side)
    operator = SeparableOperator((side, side), UPSAMPLING, SIGMA_PX)
    frames = np.empty((n_frames, side, side), np.float32)
    for frame in frames:
        x = torch.zeros(side * UPSAMPLING, side * UPSAMPLING)
        n = rng.poisson(DENSITIES_PER_UM2[kind] * (side * PIXEL_UM) ** 2)
        rows, columns = rng.integers(0, len(x), (2, n))
        x[rows, columns] = torch.as_tensor(rng.uniform(500, 2500, n), dtype=x.dtype)
        frame[:] = rng.poisson((operator.forward(x) + BACKGROUND).numpy())
    return frames, operator


def network_seconds(kind: str, side: int, n_frames: int, repeats: int) -> tuple[float, float]:
    """Time and processor time of the network for one frame."""
    import torch

    from napari_unfold.unfolding.classical import classical_parameters
    from napari_unfold.unfolding.inference import final_iterate
    from napari_unfold.unfolding.network import UnfoldedNetwork

    frames, operator = frames_of(kind, side, n_frames)
    parameters = classical_parameters(
        operator, PHOTONS, BACKGROUND, iterations=ITERATIONS, weight=0.1
    )
    network = UnfoldedNetwork(operator, parameters)
    y = torch.as_tensor(frames)
    b = torch.full_like(y, BACKGROUND)
    wall, core = typical_seconds(lambda: final_iterate(network, y, b), repeats)
    return wall / n_frames, core / n_frames


def machine() -> str:
    """Tell what the machine can do at best: multiply matrices, and move memory."""
    import numpy as np
    import torch

    a = torch.rand(1500, 1500)
    flops = 2 * 1500**3 / typical_seconds(lambda: a @ a, 5)[0]
    big = np.zeros(2**26, np.float32)
    other = np.ones_like(big)
    moved = 2 * big.nbytes / typical_seconds(lambda: np.copyto(other, big), 5)[0]
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, load {load:.1f}; "
        f"sgemm {flops / 1e9:.0f} GFLOP/s, memory {moved / 1e9:.1f} GB/s"
    )


def child(source: Path, *arguments: str) -> str:
    """Run this file in a process of its own with the package of a source tree."""
    environment = {**os.environ, "PYTHONPATH": str(source / "src")}
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip().splitlines()[-1]


def job_stages(
    source: Path, kind: str, side: int, n_frames: int, folder: Path
) -> dict[str, list[float]]:
    """Seconds and processor time of every stage of the command line, for one stack."""
    stack = folder / f"{kind}-{side}.tif"
    if not stack.exists():
        child(ROOT, "--write", kind, str(side), str(n_frames), str(stack))
    command = [
        sys.executable, str(Path(__file__).with_name("stages.py")),
        str(stack), "--pixel-size-nm", "100",
        "--psf-sigma-nm", "110", "--camera-offset", str(OFFSET_ADU), "--adu-per-photon", "1",
        "--read-noise-photons", "0", "--excess-noise", "1",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(source / "src")}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    stages: dict[str, list[float]] = json.loads(done.stdout.strip().splitlines()[-1])
    return stages


def report(sources: dict[str, Path], sides: list[int], repeats: int, jobs: bool) -> None:
    """Print all figures."""
    print(machine())
    for kind in DENSITIES_PER_UM2:
        for side in sides:
            if side == 2048 and kind == "dense":
                continue
            cells, seconds = [], {}
            for name, source in sources.items():
                if (kind, side) in SLOW and source != ROOT:
                    continue
                n_frames = FRAMES[side] if source == ROOT else max(1, FRAMES[side] // 8)
                measured = json.loads(child(source, "--network", kind, str(side), str(n_frames),
                                            str(repeats if source == ROOT else 1)))  # fmt: skip
                seconds[name] = core = measured["core"]
                cells.append(
                    f"{name} {1 / measured['wall']:.2f} frames/s, {1e3 * core:.1f} core ms, "
                    f"{1e6 * core / (side * PIXEL_UM) ** 2:.0f} us / um2, "
                    f"{measured['peak_mb']:.0f} MB"
                )
            line(f"network, {kind}, {side} x {side}", cells, list(seconds.values()))
    with tempfile.TemporaryDirectory() as folder:
        for (kind, side), n_frames in JOB_FRAMES.items() if jobs else ():
            took, parts = [], {}
            for name, source in sources.items():
                if (kind, side) in SLOW and source != ROOT:
                    continue
                stages = job_stages(source, kind, side, n_frames, Path(folder))
                wall, core = (sum(both[i] for both in stages.values()) for i in range(2))
                took.append(core)
                parts[name] = f"{name} {wall:.1f} s, {core:.1f} core s"
                if source == ROOT:
                    shown = [f"{title} {both[1]:.2f}" for title, both in stages.items()]
            line(f"job, {kind}, {side} x {side} x {n_frames}", list(parts.values()), took)
            print("    core s: " + ", ".join(shown), flush=True)


def line(title: str, cells: list[str], seconds: list[float]) -> None:
    """Print one comparison."""
    ratio = [f"ratio {seconds[1] / seconds[0]:.1f}"] if len(seconds) == 2 else []
    print(f"{title:32s}", "; ".join([*cells, *ratio]), flush=True)


def answer(given: argparse.Namespace) -> bool:
    """Do what a child process is asked for."""
    if given.network:
        import resource

        kind, side, n_frames, repeats = given.network
        wall, core = network_seconds(kind, int(side), int(n_frames), int(repeats))
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"wall": wall, "core": core, "peak_mb": peak_mb}))
    elif given.write:
        import tifffile

        kind, side, n_frames, path = given.write
        frames, _ = frames_of(kind, int(side), int(n_frames))
        tifffile.imwrite(path, (frames + OFFSET_ADU).astype("uint16"))
        print("written")
    return bool(given.network or given.write)


def main() -> None:
    """Print the figures, those of another commit beside them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", metavar="COMMIT", help="measure this commit beside")
    parser.add_argument("--sides", type=int, nargs="+", choices=list(FRAMES), default=list(FRAMES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-jobs", action="store_true", help="the network alone")
    parser.add_argument("--network", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if answer(given):
        return
    with tempfile.TemporaryDirectory() as folder:
        sources = {"now": ROOT}
        if given.against:
            git = ["git", "-C", str(ROOT), "worktree"]
            sources[given.against] = Path(folder) / "then"
            subprocess.run(
                [*git, "add", "--quiet", "--detach", str(sources[given.against]), given.against],
                check=True,
            )
        try:
            report(sources, given.sides, given.repeats, not given.no_jobs)
        finally:
            if given.against:
                subprocess.run([*git, "remove", "--force", str(sources[given.against])], check=True)


if __name__ == "__main__":
    main()
