"""Learn and test the models of one experiment of the paper.

    python benchmarks/paper/run.py 1|2-gaussian|2-low|2-high|3

Prints a row for each model, with the paper's numbers below, and writes rows and curves to
benchmarks/paper/results/NAME.json, from which report.py makes docs/paper.md.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from experiments import EXPERIMENTS, Experiment

from napari_unfold.jobs import run_to_end
from napari_unfold.learning.appraisal import TOLERANCES_PX
from napari_unfold.learning.losses import make_loss
from napari_unfold.learning.train import Trained, train
from napari_unfold.settings.terms import Fidelity, Penalty
from napari_unfold.settings.training import LossName, Training
from napari_unfold.tables.evaluate import jaccard_on_grid, psnr
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.inference import final_iterate
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.parameters import NetworkParameters

RESULTS = Path(__file__).parent / "results"
ITERATIONS: dict[Penalty, int] = {"l1": 800, "log-sum": 400}
STEPS: dict[LossName, int] = {"reconstruction": 8, "localization": 8, "tolerant": 12}
"""Unfolded iterations, and learning steps: the l1 norm needs many iterations to become sparse, and
its losses settle in a few steps."""
SUPPORT = 0.01
"""Pixels above this fraction of a molecule count for networks without a learned threshold."""

PAPER = {
    "1": {"reconstruction G": (0.3878, 0.4179, 0.4179, 35.76),
          "localization G": (0.7452, 0.8480, 0.8583, 33.09)},
    "2-gaussian": {"reconstruction G": (0.1147, 0.2175, 0.2194, 34.27),
                   "localization G": (0.1309, 0.4889, 0.5921, 22.45)},
    "2-low": {"reconstruction KL": (0.0921, 0.2633, 0.3159, 33.94),
              "reconstruction G": (0.1057, 0.1205, 0.1211, 34.74),
              "localization KL": (0.0907, 0.4250, 0.5924, 22.66),
              "localization G": (0.1287, 0.4494, 0.5358, 22.52)},
    "2-high": {"reconstruction KL": (0.0589, 0.0909, 0.0987, 34.35),
               "reconstruction G": (0.0544, 0.0778, 0.0829, 34.36),
               "localization KL": (0.0982, 0.3684, 0.4771, 25.31),
               "localization G": (0.0950, 0.3902, 0.5012, 25.74)},
    "3": {"reconstruction KL": (0.0619, 0.1285, 0.1363, 39.88),
          "reconstruction G": (0.0545, 0.0812, 0.0837, 39.97),
          "localization KL": (0.0776, 0.3687, 0.4995, 27.39),
          "localization G": (0.0661, 0.2291, 0.3259, 28.00)},
}  # fmt: skip


def models(name: str) -> list[tuple[LossName, Fidelity, Penalty]]:
    """Return the paper's models, then ours."""
    fidelities: tuple[Fidelity, ...] = (
        ("gaussian",) if name in {"1", "2-gaussian"} else ("kl", "gaussian")
    )
    losses: tuple[LossName, ...] = ("reconstruction", "localization")
    paper: list[tuple[LossName, Fidelity, Penalty]] = [
        (loss, fidelity, "l1") for loss in losses for fidelity in fidelities
    ]
    return [*paper, *(("tolerant", fidelity, "log-sum") for fidelity in fidelities)]


def learn(experiment: Experiment, loss: LossName, fidelity: Fidelity, penalty: Penalty) -> Trained:
    """Learn one model."""
    start = classical_parameters(
        experiment.training_operator,
        experiment.molecule_photons,
        experiment.background_photons,
        fidelity=fidelity,
        penalty=penalty,
        iterations=ITERATIONS[penalty],
    )
    frames = experiment.training
    if loss == "reconstruction" and experiment.sparse_training is not None:
        frames = experiment.sparse_training
    learning, checking = frames.split(0.25)
    made = make_loss(Training(loss=loss), experiment.molecule_photons)
    trained: Trained = run_to_end(
        train(
            experiment.training_operator, start, learning, checking, made,
            outer_iterations=STEPS[loss],
        )
    )  # fmt: skip
    return trained


def score(
    experiment: Experiment, parameters: NetworkParameters, loss: LossName
) -> tuple[list[float], float]:
    """Jaccard indices at three tolerances, averaged over the test frames, and the PSNR."""
    network = UnfoldedNetwork(experiment.operator, parameters)
    test = experiment.test
    x = torch.cat(
        [final_iterate(network, part, test.b).clone() for part in test.y.split(4)]
    ).numpy()
    threshold = parameters.threshold_photons
    if loss == "reconstruction":
        threshold = SUPPORT * experiment.molecule_photons
    truth = test.truth.numpy()
    jaccard = [jaccard_on_grid(x, truth, threshold, t) for t in TOLERANCES_PX]
    return jaccard, psnr(x, truth)


def report(name: str, losses: list[LossName]) -> None:
    """Learn, test, print and write the models of an experiment; other rows of its file stay."""
    experiment = EXPERIMENTS[name]()
    print(experiment.title)
    print(f"{'':42s} J 0     J 2     J 4     mean    PSNR", flush=True)
    wanted = [model for model in models(name) if model[0] in losses]
    for loss, fidelity, penalty in wanted:
        started = time.monotonic()
        trained = learn(experiment, loss, fidelity, penalty)
        jaccard, noise_ratio = score(experiment, trained.parameters, loss)
        row = {
            "loss": loss, "fidelity": fidelity, "penalty": penalty, "jaccard": jaccard,
            "psnr": noise_ratio, "outcome": trained.outcome,
            "history": [asdict(step) for step in trained.history],
            "best": trained.best, "parameters": trained.parameters.model_dump(mode="json"),
            "seconds": time.monotonic() - started,
        }  # fmt: skip
        keep(name, experiment.title, row)
        cells = "  ".join(f"{j:.4f}" for j in (*jaccard, float(np.mean(jaccard))))
        print(f"{f'{loss}, {fidelity}, {penalty}':42s} {cells}  {noise_ratio:.2f}", flush=True)
    for model, (*jaccard, noise_ratio) in PAPER[name].items():
        cells = "  ".join(f"{j:.4f}" for j in (*jaccard, float(np.mean(jaccard))))
        print(f"{'the paper: ' + model:42s} {cells}  {noise_ratio:.2f}")


def keep(name: str, title: str, row: dict[str, Any]) -> None:
    """Write a row into the file of the experiment, in the order of `models`."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    rows = json.loads(path.read_text("utf-8"))["rows"] if path.is_file() else []
    by_model = {(r["loss"], r["fidelity"], r["penalty"]): r for r in [*rows, row]}
    content = {
        "title": title,
        "paper": PAPER[name],
        "rows": [by_model[model] for model in models(name) if model in by_model],
    }
    path.write_text(json.dumps(content) + "\n", "utf-8")


def main() -> None:
    """Run one experiment, or some of its models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=list(EXPERIMENTS))
    parser.add_argument("--losses", nargs="+", choices=list(STEPS), default=list(STEPS))
    asked = parser.parse_args()
    report(asked.name, asked.losses)


if __name__ == "__main__":
    main()
