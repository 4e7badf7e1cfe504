"""What adapting to a stack gains on the stack itself: `make bench-adapt`.

A preset is learned from simulated frames that look like those of a stack others simulated, and is
judged against the shipped one on other simulated frames: that is what the program says. Both then
run over frames of the stack itself, whose truth had no part in it.

    J           Jaccard index in percent at a tolerance in nm
    image       correlation of the super-resolved mean image with the truth blurred by a fine pixel
    gain        of the adapted preset in the mean of the three Jaccard indices, with its error
    s, CPU s    from start to verdict, on the clock and summed over the cores
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from acquisitions import ACQUISITIONS, PIXEL_NM, Acquisition
from numpy.typing import NDArray
from scenes import TOLERANCES_NM
from scipy import ndimage

from napari_unfold.files.presets import DEFAULT_PRESET, Preset, load_preset, save_preset
from napari_unfold.files.stacks import Stack, as_stack
from napari_unfold.imaging.grid import Grid
from napari_unfold.jobs import run_to_end
from napari_unfold.learning.adapt import adapt
from napari_unfold.learning.appraisal import truth_images
from napari_unfold.learning.judge import BLUR_PX, Gain
from napari_unfold.reconstruction.reconstruct import reconstruct
from napari_unfold.reconstruction.result import Reconstruction
from napari_unfold.settings.microscope import Optics
from napari_unfold.settings.recipe import Recipe, Solver
from napari_unfold.settings.training import TRAINING_ITERATIONS
from napari_unfold.tables.evaluate import evaluate

STACKS = ("blink_dense", "cell_background", "microtubules_odd")
BLOCKS = 8


def measure(true: Acquisition, frames: int, folder: Path | None) -> None:
    """Adapt to a stack and print what that is worth."""
    grey, truth = true.load()
    stack = as_stack(grey, true.name, PIXEL_NM)
    recipe = Recipe(
        optics=Optics(psf_sigma_nm=true.sigma_nm),
        camera=true.camera,
        solver=Solver(iterations=TRAINING_ITERATIONS),
    )
    started, cpu = time.monotonic(), time.process_time()
    adapted = run_to_end(adapt(stack, recipe, name=f"adapted-{true.name.replace('_', '-')}"))
    wall, cpu = time.monotonic() - started, time.process_time() - cpu
    print(f"\n{adapted.seen}\n{adapted.verdict}\n{wall:.0f} s, {cpu:.0f} CPU s")
    for name, shipped, own in adapted.rows():
        print(f"    {name:40s} {shipped:>8s} {own:>8s}")
    if folder:
        save_preset(adapted.learned.preset, folder / f"{true.name}.json")
    span = range(min(frames, len(grey)))
    truth = truth[truth["frame"].isin(span)].reset_index(drop=True)
    print(f"    on frames 0 to {span.stop - 1} of the stack itself:")
    tables = []
    for preset in (load_preset(DEFAULT_PRESET), adapted.learned.preset):
        result = run_preset(stack, recipe, preset, slice(span.start, span.stop))
        tables.append(result.localizations)
        at = [100 * s.jaccard for s in evaluate(tables[-1], truth, TOLERANCES_NM, span)]
        print(
            f"    {preset.name:40s} J {at[0]:.1f} {at[1]:.1f} {at[2]:.1f}, "
            f"image {image_correlation(result, truth, span):.3f}, "
            f"{len(tables[-1]) / len(span):.1f} of {len(truth) / len(span):.1f} a frame"
        )
    print(f"    gain {jaccard_gain(*tables, truth, span)}", flush=True)


def run_preset(stack: Stack, recipe: Recipe, preset: Preset, frames: slice) -> Reconstruction:
    """Reconstruct as a user would."""
    recipe = recipe.model_copy(update={"localization": preset.localization})
    return run_to_end(reconstruct(stack, recipe, preset, frames=frames))


def image_correlation(result: Reconstruction, truth: pd.DataFrame, span: range) -> float:
    """Correlation of the mean image with the truth blurred by a fine pixel."""
    shape = tuple(n // result.upsampling for n in result.image.shape)
    grid = Grid((shape[0], shape[1]), result.pixel_size_nm, result.upsampling)
    true = truth_images(truth, span, grid, 1.0).mean(axis=0)
    blurred = ndimage.gaussian_filter(true, BLUR_PX)
    return float(np.corrcoef(result.image.ravel(), blurred.ravel())[0, 1])


def jaccard_gain(
    before: pd.DataFrame, after: pd.DataFrame, truth: pd.DataFrame, span: range
) -> Gain:
    """Gain in the mean Jaccard index, with its error from leaving out blocks of frames."""
    frames = np.array(span)

    def gain(kept: NDArray[np.intp]) -> float:
        found, had = (
            np.mean([s.jaccard for s in evaluate(t, truth, TOLERANCES_NM, kept.tolist())])
            for t in (after, before)
        )
        return float(found - had)

    left = [gain(np.setdiff1d(frames, block)) for block in np.array_split(frames, BLOCKS)]
    return Gain(gain(frames), float(np.std(left) * np.sqrt(BLOCKS - 1)))


def main() -> None:
    """Measure some stacks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stacks", nargs="*", default=STACKS, help="names as in acquisitions.py")
    parser.add_argument("--frames", type=int, default=40, help="of the stack itself to judge on")
    parser.add_argument("--presets", type=Path, help="folder to write the presets to")
    arguments = parser.parse_args()
    for true in ACQUISITIONS:
        if true.name in arguments.stacks:
            measure(true, arguments.frames, arguments.presets)


if __name__ == "__main__":
    main()
