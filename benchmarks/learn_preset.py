"""Learn a preset for single molecules from simulated frames of many kinds.

    python benchmarks/learn_preset.py [--no-scores] OUT.json

Networks of both fidelities learn from the frames of all tuning scenes at once, brought to the same
brightness. The scores that go into the preset come from other seeds, and are of the tables of
localizations. The shipped preset is tuned (tune_preset.py): a learned one took its place in no
trial yet (docs/paper.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scenes import TUNING
from tune_preset import (
    REFERENCE_BACKGROUND,
    REFERENCE_PHOTONS,
    SIGMA_PX,
    UPSAMPLING,
    held_out_scores,
    preset,
)

from napari_unfold.files.presets import save_preset
from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.imaging.grid import Grid
from napari_unfold.jobs import Event, Metric, run_to_end
from napari_unfold.learning.appraisal import TrainingSet, truth_images
from napari_unfold.learning.losses import ImageLoss
from napari_unfold.learning.train import train
from napari_unfold.settings.microscope import Camera, Optics
from napari_unfold.settings.recipe import Recipe
from napari_unfold.settings.terms import Fidelity
from napari_unfold.simulation.scenes import simulate
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.parameters import NetworkParameters

TRAINING_SEED, VALIDATION_SEED = 1000, 1500
LEARNED_FRAMES, CHECKED_FRAMES, SIDE = 12, 3, 32
"""Frames of each scene, and camera pixels of their sides."""


def training_frames(fidelity: Fidelity, seed: int, frames: int) -> TrainingSet:
    """Frames of all scenes in turn, brought to the reference brightness and background.

    Scaling light and background by the same factor is exact for both fidelities. The background is
    then made that of the reference: least squares knows only the difference to it, and for the
    Kullback-Leibler divergence it may be raised, as the pedestal of dark frames does; scenes that
    would have to be lowered are left out there.
    """
    y, truth = [], []
    for i, scene in enumerate(TUNING):
        scale = REFERENCE_PHOTONS / scene.photons
        pedestal = REFERENCE_BACKGROUND - scale * scene.background
        if fidelity == "kl" and pedestal < 0:
            continue
        camera = Camera(excess_noise=scene.excess_noise, read_noise_photons=scene.read_noise)
        made = simulate(
            scene.kind,
            frames=frames,
            shape=(SIDE, SIDE),
            density_per_um2=scene.density_per_um2,
            molecule_photons=scene.photons,
            background_photons=scene.background,
            recipe=Recipe(optics=Optics(psf_sigma_nm=scene.sigma_nm), camera=camera),
            seed=seed + i,
        )
        known = made.recipe.camera
        photons = (made.stack.astype(np.float32) - known.offset_adu) / known.adu_per_photon
        grid = Grid((SIDE, SIDE), 100.0, UPSAMPLING)
        y.append(torch.as_tensor(scale * photons + pedestal))
        truth.append(
            torch.as_tensor(scale * truth_images(made.truth, range(frames), grid, scene.photons))
        )
    return TrainingSet(
        torch.stack(y, dim=1).flatten(0, 1),
        torch.full((SIDE, SIDE), REFERENCE_BACKGROUND),
        torch.stack(truth, dim=1).flatten(0, 1),
    )


def learned(fidelity: Fidelity, iterations: int, steps: int) -> NetworkParameters:
    """Learn the network of a fidelity."""
    operator = SeparableOperator((SIDE, SIDE), UPSAMPLING, SIGMA_PX)
    start = classical_parameters(
        operator, REFERENCE_PHOTONS, REFERENCE_BACKGROUND, fidelity=fidelity, iterations=iterations
    )
    job = train(
        operator, start, training_frames(fidelity, TRAINING_SEED, LEARNED_FRAMES),
        training_frames(fidelity, VALIDATION_SEED, CHECKED_FRAMES),
        ImageLoss(softness=0.1), method="schedules", outer_iterations=steps,
    )  # fmt: skip

    def tell(event: Event) -> None:
        if isinstance(event, Metric) and event.iteration % 10 == 0:
            values = event.values
            print(f"{fidelity}, step {event.iteration}: J {values.jaccard:.3f}", flush=True)

    found = run_to_end(job, tell)
    start_jaccard, jaccard = (found.history[i].jaccard for i in (0, found.best))
    print(f"{fidelity}: J {start_jaccard:.3f} before, {jaccard:.3f} at step {found.best}")
    return found.parameters


def main() -> None:
    """Learn both fidelities and write the preset with its scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-scores", action="store_true")
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    fidelities: tuple[Fidelity, ...] = ("gaussian", "kl")
    networks = {f: learned(f, asked.iterations, asked.steps) for f in fidelities}
    made = preset(networks, [] if asked.no_scores else held_out_scores(networks))
    how = "All parameters learned, in schedules over the iterations (benchmarks/learn_preset.py)"
    named = {"name": "dense-smlm-learned", "title": "Dense single molecules, learned"}
    told = made.trained_on.partition(". ")[0]
    save_preset(made.model_copy(update={**named, "trained_on": f"{told}. {how}"}), asked.out)


if __name__ == "__main__":
    main()
