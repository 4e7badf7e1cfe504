"""What neighbouring frames gain from each other in the network: `make bench-coupling`.

The coupling c is learned on simulated molecules that stay on for 1, 5 and 20 frames, beginning with
the shipped preset; with frames that are independent it has nothing to go by. Then stacks that were
not learned from, with c = 0 and with some c in the shipped preset, all else equal:

    image       correlation of the mean image with the truth, both blurred by a fine pixel
    frames      the same of single frames, on the average
    px 0 2 4    Jaccard index in percent of bright fine pixels in a frame, at tolerances in fine
                pixels
    spots       Jaccard index of the candidates (bright spots), at 50 and 100 nm
    table       Jaccard index after the joint fit, at 50 and 100 nm
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
import torch
from acquisitions import ACQUISITIONS, PIXEL_NM, Conditions
from numpy.typing import NDArray
from scenes import Scene
from scipy.ndimage import gaussian_filter

from napari_unfold.files.presets import DEFAULT_PRESET, Preset, load_preset
from napari_unfold.files.stacks import as_stack
from napari_unfold.imaging.grid import Grid
from napari_unfold.jobs import run_to_end
from napari_unfold.learning.appraisal import truth_images
from napari_unfold.learning.learn import Learned, learn
from napari_unfold.localization.localizer import find_spots
from napari_unfold.reconstruction.reconstruct import reconstruct
from napari_unfold.settings.microscope import Background, Camera, Optics
from napari_unfold.settings.recipe import Recipe, Solver
from napari_unfold.settings.training import Training
from napari_unfold.tables.evaluate import evaluate, jaccard_on_grid

ON_FRAMES = (1.0, 5.0, 20.0)
DENSITIES_PER_UM2 = (1.0, 4.0)
STACKS = ("persistent", "persistent_dense", "blink_dense", "microtubules_odd", "random_density6")
COUPLINGS = (0.0, 1.0, 3.0)
UPSAMPLING, SEED = 4, 5000
HEADER = f"{'':34s}     c   image  frames   px 0     2     4   spots 50   100   table 50   100"


def learned(on_frames: float, density_per_um2: float, steps: int) -> Learned:
    """Go on learning with the shipped preset on blinking molecules."""
    preset = load_preset(DEFAULT_PRESET)
    recipe = Recipe(
        optics=Optics(psf_sigma_nm=110.0),
        camera=Camera(type="scmos", offset_adu=100, adu_per_photon=2, read_noise_photons=1.5),
        solver=Solver(iterations=preset.networks["gaussian"].iterations),
    )
    training = Training(
        on_frames=on_frames, density_per_um2=density_per_um2, frames=32, outer_iterations=steps
    )
    result: Learned = run_to_end(learn(recipe, training, name="blinking", resume=preset))
    return result


def with_coupling(c: float) -> Preset:
    """Return the shipped preset with another coupling."""
    preset = load_preset(DEFAULT_PRESET)
    networks = {k: n.model_copy(update={"coupling": c}) for k, n in preset.networks.items()}
    return preset.model_copy(update={"networks": networks})


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return the correlation of two images, both blurred by a fine pixel."""
    smooth = (gaussian_filter(image.astype(float), 1.0).ravel() for image in (a, b))
    return float(np.corrcoef(*smooth)[0, 1])


def judge(
    name: str, frames: NDArray[np.generic], truth: pd.DataFrame, recipe: Recipe, span: range
) -> None:
    """Print a line for every coupling."""
    stack = as_stack(frames, name, PIXEL_NM)
    truth = truth[truth["frame"].isin(span)]
    grid = Grid(frames.shape[1:], PIXEL_NM, UPSAMPLING)
    true_images = truth_images(truth, span, grid, 1.0)
    for c in COUPLINGS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "frames.tif"
            job = reconstruct(
                stack, recipe, with_coupling(c), frames=slice(span.start, span.stop),
                save_frames=path,
            )  # fmt: skip
            result = run_to_end(job)
            images = tifffile.imread(path)
        threshold = result.record["network"]["threshold_photons"]
        spots = find_spots(torch.as_tensor(images), threshold, UPSAMPLING)
        y_nm, x_nm = PIXEL_NM * spots.position.numpy().T
        candidates = pd.DataFrame(
            {"frame": spots.frame.numpy() + span.start, "x_nm": x_nm, "y_nm": y_nm}
        )
        pairs = zip(images, true_images, strict=True)
        single = [correlation(a, b) for a, b in pairs if a.any() and b.any()]
        numbers = [
            *(100 * jaccard_on_grid(images, true_images, threshold, t) for t in (0, 2, 4)),
            *(
                100 * score.jaccard
                for table in (candidates, result.localizations)
                for score in evaluate(table, truth, (50.0, 100.0), span)
            ),
        ]
        image = correlation(result.image, true_images.mean(axis=0))
        widths = (7, 6, 6, 11, 6, 11, 6)
        cells = "".join(f"{n:{w}.1f}" for n, w in zip(numbers, widths, strict=True))
        print(f"{name:34s}{c:6.3g}{image:8.3f}{np.mean(single):8.3f}{cells}", flush=True)


def main() -> None:
    """Learn, then print the table."""
    parser = argparse.ArgumentParser(description="Coupling of neighbouring frames.")
    parser.add_argument("--steps", type=int, default=12, help="learning steps")
    parser.add_argument("--frames", type=int, default=50, help="of every stack")
    parser.add_argument("--no-learning", action="store_true", help="print the table only")
    arguments = parser.parse_args()
    for density in () if arguments.no_learning else DENSITIES_PER_UM2:
        for on in ON_FRAMES:
            result = learned(on, density, arguments.steps)
            first, best = result.history[0], result.history[result.best]
            print(
                f"{density:g}/um2, on for {on:g} frames: c = {best.coupling:.2f}, tolerant loss "
                f"{first.validation_loss:.4f} -> {best.validation_loss:.4f}, mean Jaccard index of "
                f"pixels {first.jaccard:.4f} -> {best.jaccard:.4f} ({result.outcome})",
                flush=True,
            )
    print(HEADER)
    for true in (true for true in ACQUISITIONS if true.name in STACKS):
        frames, truth = true.load()
        span = range(len(frames))[true.frames or slice(None)][: arguments.frames]
        judge(true.name, frames, truth, Conditions().recipe(true), span)
    for density in DENSITIES_PER_UM2:
        for on in (None, *ON_FRAMES):
            scene = Scene(
                "random", density, frames=arguments.frames, excess_noise=1.0, read_noise=1.5,
                sample={"on_frames": on},
            )  # fmt: skip
            made = scene.simulate(SEED)
            recipe = made.recipe.model_copy(update={"background": Background()})
            name = f"random, {density:g}/um2, on for {on or 'one':.3}"
            judge(name, made.stack, made.truth, recipe, range(arguments.frames))


if __name__ == "__main__":
    main()
