"""Tune the shipped preset on simulated stacks, one parameter after the other.

    python benchmarks/tune_preset.py [--score-only] [OUT.json]

Every candidate is scored by the efficiency, averaged over the tuning scenes. The scores that go
into the preset come from other seeds. With ``--score-only`` the parameters in OUT.json stay.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from scenes import TUNING, run, scores

from napari_unfold.files.presets import (
    DEFAULT_PRESET,
    Preset,
    PresetScore,
    load_preset,
    save_preset,
)
from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.settings.terms import Fidelity
from napari_unfold.simulation.scenes import Simulation
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.parameters import NetworkParameters

SHIPPED = Path(__file__).parents[1] / "src/napari_unfold/presets" / f"{DEFAULT_PRESET}.json"
TUNING_SEED, SCORING_SEED = 1000, 2000
REFERENCE_PHOTONS, REFERENCE_BACKGROUND, SIGMA_PX, UPSAMPLING = 1500.0, 20.0, 1.1, 4


@dataclass(frozen=True)
class Candidate:
    """Parameters in natural units: safe steps, largest weights, photons of a molecule."""

    iterations: int
    step: float
    weight: float
    bend: float
    l1_share: float
    threshold: float


START: dict[Fidelity, Candidate] = {
    "gaussian": Candidate(300, 1.0, 0.1, 0.1, 0.25, 0.1),
    "kl": Candidate(300, 2.0, 0.1, 0.1, 0.25, 0.1),
}
CHOICES: dict[str, tuple[float, ...]] = {
    "weight": (0.05, 0.1, 0.2),
    "step": (0.5, 1.0, 2.0),
    "bend": (0.05, 0.1, 0.2),
    "l1_share": (0.1, 0.25, 0.5),
    "threshold": (0.05, 0.1, 0.2),
    "iterations": (100, 150, 200, 300),
}


def parameters(candidate: Candidate, fidelity: Fidelity) -> NetworkParameters:
    """Return the candidate at the reference brightness."""
    start = classical_parameters(
        SeparableOperator((64, 64), UPSAMPLING, SIGMA_PX),
        REFERENCE_PHOTONS,
        REFERENCE_BACKGROUND,
        fidelity=fidelity,
        iterations=int(candidate.iterations),
    )
    changes = {
        "step_sizes": [float(f"{candidate.step * a:.6g}") for a in start.step_sizes],
        "weight": float(f"{candidate.weight * start.reference.largest_weight(fidelity):.6g}"),
        "penalty_parameters": {"bend_photons": candidate.bend * REFERENCE_PHOTONS},
        "l1_iterations": round(candidate.l1_share * candidate.iterations),
        "threshold_photons": candidate.threshold * REFERENCE_PHOTONS,
    }
    return start.model_copy(update=changes)


def preset(networks: dict[Fidelity, NetworkParameters], found: list[PresetScore]) -> Preset:
    """Wrap networks with what people want to know about them."""
    return Preset(
        name=DEFAULT_PRESET,
        title="Dense single molecules",
        description="For stacks of blinking molecules from sparse to dense (1 to 6 per square "
        "micrometre), on filaments or anywhere, for EMCCD and sCMOS cameras.",
        trained_on="Simulated stacks of 64 x 64 pixels of 100 nm, PSF sigma 110 nm: "
        + "; ".join(scene.title for scene in TUNING)
        + ". Parameters tuned one after the other by the mean efficiency "
        "(benchmarks/tune_preset.py); scores are from other seeds.",
        scores=found,
        upsampling=UPSAMPLING,
        networks=networks,
    )


def efficiency(candidate: Candidate, fidelity: Fidelity, stacks: list[Simulation]) -> float:
    """Mean efficiency of a candidate at 250 nm, in percent."""
    trial = preset({fidelity: parameters(candidate, fidelity)}, [])
    return float(np.mean([scores(run(s, fidelity, trial), s.truth)[-1].efficiency for s in stacks]))


def neighbours(candidate: Candidate, name: str) -> Iterator[Candidate]:
    """Yield the candidates that differ in one parameter."""
    for value in CHOICES[name]:
        if value != getattr(candidate, name):
            yield replace(candidate, **{name: value})


def tune(fidelity: Fidelity, stacks: list[Simulation], rounds: int = 1) -> Candidate:
    """Improve one parameter after the other."""
    best = START[fidelity]
    best_score = efficiency(best, fidelity, stacks)
    print(f"{fidelity}: start {best_score:.2f} {asdict(best)}", flush=True)
    for _ in range(rounds):
        for name in CHOICES:
            for candidate in neighbours(best, name):
                score = efficiency(candidate, fidelity, stacks)
                print(f"  {name} = {getattr(candidate, name):g}: {score:.2f}", flush=True)
                if score > best_score:
                    best, best_score = candidate, score
    print(f"{fidelity}: best {best_score:.2f} {asdict(best)}", flush=True)
    return best


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
    """Tune both fidelities, or keep what is there, and write the preset with its scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--score-only", action="store_true")
    parser.add_argument("out", type=Path, nargs="?", default=SHIPPED)
    asked = parser.parse_args()
    if asked.score_only:
        networks = load_preset(asked.out).networks
    else:
        stacks = [scene.simulate(TUNING_SEED + i) for i, scene in enumerate(TUNING)]
        networks = {f: parameters(tune(f, stacks), f) for f in START}
    save_preset(preset(networks, held_out_scores(networks)), asked.out)


if __name__ == "__main__":
    main()
