"""Learn the shipped preset for single molecules from simulated frames of many kinds.

    python benchmarks/learn_preset.py [--score-only] [OUT.json]

Networks of both fidelities learn from the frames of all tuning scenes at once, brought to the same
brightness, with a loss that asks for molecules and for the likeness of the image. The scores that
go into the preset come from other seeds, and are of the tables of localizations. With
``--score-only`` the parameters in OUT.json stay.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scenes import TUNING, run, scores

from napari_unfold.files.presets import (
    DEFAULT_PRESET,
    Preset,
    PresetScore,
    load_preset,
    save_preset,
)
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

SHIPPED = Path(__file__).parents[1] / "src/napari_unfold/presets" / f"{DEFAULT_PRESET}.json"
REFERENCE_PHOTONS, REFERENCE_BACKGROUND, SIGMA_PX, UPSAMPLING = 1500.0, 20.0, 1.1, 4
TRAINING_SEED, VALIDATION_SEED, SCORING_SEED = 1000, 1500, 2000
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


def preset(networks: dict[Fidelity, NetworkParameters], found: list[PresetScore]) -> Preset:
    """Wrap networks with what people want to know about them."""
    return Preset(
        name=DEFAULT_PRESET,
        title="Dense single molecules",
        description="For stacks of blinking molecules from sparse to dense (1 to 6 per square "
        "micrometre), on filaments or anywhere, for EMCCD and sCMOS cameras.",
        trained_on="Simulated stacks of 100 nm pixels, PSF sigma 110 nm: "
        + "; ".join(scene.title for scene in TUNING)
        + ". All parameters learned, in schedules over the iterations "
        "(benchmarks/learn_preset.py); scores are from other seeds.",
        scores=found,
        upsampling=UPSAMPLING,
        networks=networks,
    )


def held_out_scores(networks: dict[Fidelity, NetworkParameters]) -> list[PresetScore]:
    """Score the networks on stacks they were not tuned on."""
    trial = preset(networks, [])
    found = []
    for i, scene in enumerate(TUNING):
        simulation = scene.simulate(SCORING_SEED + i)
        for fidelity in networks:
            at_50, at_100, at_250 = scores(run(simulation, fidelity, trial), simulation.truth)
            data = f"{scene.title}, {fidelity}"
            for metric, value in (
                ("Jaccard index at 50 nm", at_50.jaccard),
                ("Jaccard index at 100 nm", at_100.jaccard),
                ("efficiency at 250 nm, %", at_250.efficiency),
            ):
                found.append(PresetScore(data=data, metric=metric, value=round(value, 4)))
                print(f"{data}: {metric} {value:.3f}", flush=True)
    return found


def main() -> None:
    """Learn both fidelities, or keep what is there, and write the preset with its scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--score-only", action="store_true")
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("out", type=Path, nargs="?", default=SHIPPED)
    asked = parser.parse_args()
    fidelities: tuple[Fidelity, ...] = ("gaussian", "kl")
    networks = (
        load_preset(asked.out).networks
        if asked.score_only
        else {f: learned(f, asked.iterations, asked.steps) for f in fidelities}
    )
    save_preset(preset(networks, held_out_scores(networks)), asked.out)


if __name__ == "__main__":
    main()
