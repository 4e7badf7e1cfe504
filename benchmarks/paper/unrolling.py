"""How many iterations learned steps save: `python benchmarks/paper/unrolling.py`.

On the frames of experiment 2 (Gaussian noise): the mean Jaccard index after K iterations with
classical parameters, weight and threshold being the best of a grid for every K, and with networks
of K = 50, 100 and 200 iterations whose parameters were learned. Prints both and writes
benchmarks/paper/results/unrolling.json, from which report.py draws the curve.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from experiments import EXPERIMENTS, Experiment
from run import RESULTS

from napari_unfold.jobs import run_to_end
from napari_unfold.learning.appraisal import TOLERANCES_PX, TrainingSet
from napari_unfold.learning.losses import TolerantLoss
from napari_unfold.learning.starting_point import THRESHOLDS
from napari_unfold.learning.train import train
from napari_unfold.settings.terms import Penalty
from napari_unfold.tables.evaluate import jaccard_on_grid
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.fidelity import fidelity_named
from napari_unfold.unfolding.inference import final_iterate, iterates_in_place
from napari_unfold.unfolding.network import UnfoldedNetwork

CLASSICAL = (50, 100, 150, 200, 300, 400, 600, 800, 1200, 1600)
LEARNED = (50, 100, 200)
PENALTIES: tuple[Penalty, ...] = ("l1", "log-sum")
TEST_FRAMES, STEPS = 10, 60


def mean_jaccard(x: torch.Tensor, frames: TrainingSet, threshold: float) -> float:
    """Return the mean over the paper's tolerances and the frames."""
    images, truth = x.numpy(), frames.truth.numpy()
    return float(np.mean([jaccard_on_grid(images, truth, threshold, t) for t in TOLERANCES_PX]))


def classical(experiment: Experiment, test: TrainingSet, penalty: Penalty) -> dict[int, float]:
    """Return the best mean Jaccard index of the grid at every K."""
    best = dict.fromkeys(CLASSICAL, 0.0)
    for weight in fidelity_named("gaussian").starting_weights:
        # the log-sum penalty starts after a quarter of the iterations, so each K is a run
        lengths = (max(CLASSICAL),) if penalty == "l1" else CLASSICAL
        for length in lengths:
            parameters = classical_parameters(
                experiment.operator, experiment.molecule_photons, experiment.background_photons,
                penalty=penalty, iterations=length, weight=weight,
            )  # fmt: skip
            network = UnfoldedNetwork(experiment.operator, parameters)
            for k, x in enumerate(iterates_in_place(network, test.y, test.b), start=1):
                if k == length or (penalty == "l1" and k in best):
                    for share in THRESHOLDS:
                        threshold = share * experiment.molecule_photons
                        best[k] = max(best[k], mean_jaccard(x, test, threshold))
    return best


def learned(experiment: Experiment, test: TrainingSet, penalty: Penalty) -> dict[int, float]:
    """Return the mean Jaccard index of learned networks on frames they did not learn from."""
    scores = {}
    for iterations in LEARNED:
        start = classical_parameters(
            experiment.training_operator, experiment.molecule_photons,
            experiment.background_photons, penalty=penalty, iterations=iterations,
        )  # fmt: skip
        learning, checking = experiment.training.split(0.25)
        parameters = run_to_end(
            train(
                experiment.training_operator, start, learning, checking, TolerantLoss(),
                method="schedules", outer_iterations=STEPS,
            )
        ).parameters  # fmt: skip
        network = UnfoldedNetwork(experiment.operator, parameters)
        x = final_iterate(network, test.y, test.b)
        scores[iterations] = mean_jaccard(x, test, parameters.threshold_photons)
    return scores


def main() -> None:
    """Measure, print and write."""
    experiment = EXPERIMENTS["2-gaussian"](0)
    test = experiment.test[:TEST_FRAMES]
    result: dict[str, Any] = {}
    for penalty in PENALTIES:
        result[penalty] = {
            "classical": classical(experiment, test, penalty),
            "learned": learned(experiment, test, penalty),
        }
        for kind, scores in result[penalty].items():
            cells = "  ".join(f"{k}: {j:.3f}" for k, j in scores.items())
            print(f"{penalty}, {kind}: {cells}", flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "unrolling.json").write_text(json.dumps(result) + "\n", "utf-8")


if __name__ == "__main__":
    main()
