"""Learn and test the models of one experiment of the paper.

    python benchmarks/paper/run.py 1|2-gaussian|2-low|2-high|3|3-derived

Prints a row for each model and seed, before and after learning on the same test frames, with the
paper's numbers below, and writes rows and curves to
benchmarks/paper/results/NAME.json, from which report.py makes docs/paper.md. A row of the paper's
method (K = 800, 8 steps) takes two to six minutes on a busy machine of two cores.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from experiments import EXPERIMENTS, Experiment
from numpy.typing import NDArray

from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.jobs import run_to_end
from napari_unfold.learning.appraisal import TOLERANCES_PX, TrainingSet
from napari_unfold.learning.losses import blurred, correlation, make_loss
from napari_unfold.learning.train import Trained, train
from napari_unfold.settings.terms import FIDELITIES, Fidelity, Penalty
from napari_unfold.settings.training import LossName, Training
from napari_unfold.tables.evaluate import jaccard_on_grid, psnr
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.inference import final_iterate
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.parameters import NetworkParameters

RESULTS = Path(__file__).parent / "results"
PAPER_ITERATIONS, SCHEDULE_ITERATIONS = 800, (50, 100)
"""Unfolded iterations: with the steps of the paper, the l1 norm needs many to become sparse."""

CLASSICAL_ITERATIONS = 300
ALL = (PAPER_ITERATIONS, *SCHEDULE_ITERATIONS, CLASSICAL_ITERATIONS)

Way = Literal["paper", "schedules", "classical"]
"""How a network was made: learned by one of the methods, or the best of a grid with steps `1/L`."""

STEPS: dict[Way, int] = {"paper": 8, "schedules": 40, "classical": 0}
"""Learning steps; those of the paper's method see all frames, those of ours eight."""

MORE_STEPS = {"1": 100}
"""Learning steps with schedules where 40 are too few: isolated bright molecules."""

SUPPORT = 0.01
"""Pixels above this fraction of a molecule count for networks without a learned threshold."""

PAPER = {
    "1": {"reconstruction G": (0.3878, 0.4179, 0.4179, 35.76),
          "localization G": (0.7452, 0.8480, 0.8583, 33.09)},
    "2-gaussian": {"reconstruction G": (0.1147, 0.2175, 0.2194, 34.27),
                   "localization G": (0.1309, 0.4889, 0.5921, 22.45),
                   "DeepSTORM": (0.0453, 0.4563, 0.5688, 20.10)},
    "2-low": {"reconstruction KL": (0.0921, 0.2633, 0.3159, 33.94),
              "reconstruction G": (0.1057, 0.1205, 0.1211, 34.74),
              "localization KL": (0.0907, 0.4250, 0.5924, 22.66),
              "localization G": (0.1287, 0.4494, 0.5358, 22.52),
              "DeepSTORM": (0.0381, 0.4568, 0.5890, 19.52)},
    "2-high": {"reconstruction KL": (0.0589, 0.0909, 0.0987, 34.35),
               "reconstruction G": (0.0544, 0.0778, 0.0829, 34.36),
               "localization KL": (0.0982, 0.3684, 0.4771, 25.31),
               "localization G": (0.0950, 0.3902, 0.5012, 25.74),
              "DeepSTORM": (0.0106, 0.1949, 0.3185, 17.56)},
    "3": {"reconstruction KL": (0.0619, 0.1285, 0.1363, 39.88),
          "reconstruction G": (0.0545, 0.0812, 0.0837, 39.97),
          "localization KL": (0.0776, 0.3687, 0.4995, 27.39),
          "localization G": (0.0661, 0.2291, 0.3259, 28.00)},
}  # fmt: skip
PAPER["3-derived"] = PAPER["3"]


@dataclass(frozen=True)
class Model:
    """What is learned."""

    loss: LossName
    fidelity: Fidelity
    penalty: Penalty
    method: Way
    iterations: int

    @property
    def name(self) -> str:
        """What it is called in the file of results."""
        return f"{self.loss}, {self.fidelity}, {self.penalty}, {self.method}, K = {self.iterations}"


def models(name: str) -> list[Model]:
    """Return the paper's models, then ours."""
    fidelities: tuple[Fidelity, ...] = (
        ("gaussian",) if name in {"1", "2-gaussian"} else ("kl", "gaussian")
    )
    losses: tuple[LossName, ...] = ("reconstruction", "localization")
    return [
        *(Model(loss, f, "l1", "paper", PAPER_ITERATIONS) for loss in losses for f in fidelities),
        *(
            Model("tolerant", f, "log-sum", "schedules", k)
            for k in SCHEDULE_ITERATIONS
            for f in fidelities
        ),
        *(Model("tolerant", f, "log-sum", "classical", CLASSICAL_ITERATIONS) for f in fidelities),
    ]


def learn(name: str, experiment: Experiment, model: Model, seed: int) -> Trained:
    """Learn one model."""
    steps = STEPS[model.method]
    if model.method == "schedules":
        steps = MORE_STEPS.get(name, steps)
    start = classical_parameters(
        experiment.training_operator,
        experiment.molecule_photons,
        experiment.background_photons,
        fidelity=model.fidelity,
        penalty=model.penalty,
        iterations=model.iterations,
    )
    learning, checking = experiment.training, experiment.validation
    if model.loss == "reconstruction" and experiment.sparse_training is not None:
        learning, checking = experiment.sparse_training.split(0.2)
    made = make_loss(Training(loss=model.loss), experiment.molecule_photons)
    trained: Trained = run_to_end(
        train(
            experiment.training_operator, start, learning, checking, made,
            method="schedules" if model.method == "schedules" else "paper",
            outer_iterations=steps, whiten=True, seed=seed,
        )
    )  # fmt: skip
    return trained


@dataclass(frozen=True)
class Score:
    """How well a network does on the test frames.

    Attributes
    ----------
    jaccard : array (tolerance, frame)
    psnr, psnr_binarized : float
        Of the light, and of lit pixels, the latter as the paper seems to have it for the
        localization loss.
    correlation, correlation_of_mean : float
        Of the images, blurred by one fine pixel, with the truth: mean over the frames, and of the
        mean of all frames.
    """

    jaccard: NDArray[np.float64]
    psnr: float
    psnr_binarized: float
    correlation: float
    correlation_of_mean: float


def images(
    operator: SeparableOperator, parameters: NetworkParameters, frames: TrainingSet
) -> torch.Tensor:
    """Return what a network makes of frames."""
    network = UnfoldedNetwork(operator, parameters)
    return torch.cat([final_iterate(network, y, frames.b).clone() for y in frames.y.split(4)])


def score(experiment: Experiment, parameters: NetworkParameters, loss: LossName) -> Score:
    """Run a network over the test frames."""
    x = images(experiment.operator, parameters, experiment.test)
    threshold = parameters.threshold_photons
    if loss == "reconstruction":
        threshold = SUPPORT * experiment.molecule_photons
    return score_images(x, x, experiment.test, threshold)


def score_images(
    x: torch.Tensor, found: torch.Tensor, test: TrainingSet, threshold: float
) -> Score:
    """Compare images with the truth: their light `x`, and the pixels `found` above a threshold."""
    truth = test.truth.numpy()
    lit = (found.numpy() > threshold).astype(np.float32)
    wanted = (truth > 0.0).astype(np.float32)
    jaccard = [
        [jaccard_on_grid(a[None], b[None], 0.0, t) for a, b in zip(lit, wanted, strict=True)]
        for t in TOLERANCES_PX
    ]
    return Score(
        np.array(jaccard), psnr(x.numpy(), truth), psnr(lit, wanted),
        likeness(x, test.truth), likeness(x.mean(0, True), test.truth.mean(0, True)),
    )  # fmt: skip


def likeness(x: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean correlation of images with the truth, both blurred by one fine pixel."""
    return correlation(blurred(x, 1.0), blurred(truth, 1.0)).mean().item()


def row(name: str, experiment: Experiment, model: Model, seed: int) -> dict[str, Any]:
    """Learn a model, and test it before and after on the same frames."""
    began = time.monotonic()
    trained = learn(name, experiment, model, seed)
    seconds = time.monotonic() - began
    before = score(experiment, trained.state.start, model.loss)
    after = score(experiment, trained.parameters, model.loss)
    gain = after.jaccard.mean(axis=0) - before.jaccard.mean(axis=0)
    return {
        **asdict(model), "name": model.name, "seed": seed,
        "before": before.jaccard.mean(axis=1).tolist(),
        "after": after.jaccard.mean(axis=1).tolist(),
        "gain": float(gain.mean()), "gain_error": float(gain.std(ddof=1) / np.sqrt(len(gain))),
        "psnr": after.psnr, "psnr_binarized": after.psnr_binarized,
        "correlation": [before.correlation, after.correlation],
        "correlation_of_mean": [before.correlation_of_mean, after.correlation_of_mean],
        "best": trained.best, "outcome": trained.outcome, "seconds": seconds,
        "history": [asdict(step) for step in trained.history],
        "parameters": trained.parameters.model_dump(mode="json"),
    }  # fmt: skip


def report(name: str, wanted: list[Model], seeds: range) -> None:
    """Learn, test, print and write models of an experiment; other rows of its file stay."""
    print(
        f"{'':52s} seed  before  J 0    J 2    J 4    mean    gain          PSNR  binarized  "
        "correlation of mean  step"
    )
    for model in wanted:
        for seed in seeds:
            experiment = EXPERIMENTS[name](seed)
            found = row(name, experiment, model, seed)
            keep(name, experiment.title, found)
            cells = "  ".join(f"{j:.3f}" for j in (*found["after"], np.mean(found["after"])))
            print(
                f"{model.name:52s} {seed:4d}  {np.mean(found['before']):.3f}   {cells}   "
                f"{found['gain']:+.3f} ± {found['gain_error']:.3f}  {found['psnr']:.2f}  "
                f"{found['psnr_binarized']:.2f}  {found['correlation'][1]:.3f} "
                f"{found['correlation_of_mean'][1]:.3f}      {found['best']}"
                f"{'' if found['best'] else ' (the start)'}",
                flush=True,
            )
    for title, (*jaccard, noise_ratio) in PAPER[name].items():
        cells = "  ".join(f"{j:.3f}" for j in (*jaccard, float(np.mean(jaccard))))
        print(f"{'the paper: ' + title:66s} {cells}  {noise_ratio:.2f}")


def keep(name: str, title: str, found: dict[str, Any]) -> None:
    """Write a row into the file of the experiment, in the order of `models`."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    rows = json.loads(path.read_text("utf-8"))["rows"] if path.is_file() else []
    order = [model.name for model in models(name)]
    by_key = {(r["name"], r["seed"]): r for r in [*rows, found] if r["name"] in order}
    content = {
        "title": title,
        "rows": sorted(by_key.values(), key=lambda r: (order.index(r["name"]), r["seed"])),
    }
    path.write_text(json.dumps(content) + "\n", "utf-8")


def main() -> None:
    """Run one experiment, or some of its models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=list(EXPERIMENTS))
    parser.add_argument("--methods", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--iterations", nargs="+", type=int, help="K")
    parser.add_argument(
        "--fidelities", nargs="+", choices=list(FIDELITIES), default=list(FIDELITIES)
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    asked = parser.parse_args()
    wanted = [
        model
        for model in models(asked.name)
        if model.method in asked.methods
        and model.iterations in (asked.iterations or ALL)
        and model.fidelity in asked.fidelities
    ]
    report(asked.name, wanted, range(asked.first_seed, asked.first_seed + asked.seeds))


if __name__ == "__main__":
    main()
