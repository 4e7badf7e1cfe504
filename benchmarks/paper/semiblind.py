"""Experiment 4 of the paper: fluctuating filaments, PSF sigma learned (table 6, figure 9).

    python benchmarks/paper/semiblind.py [--iterations K] [--steps N] [--losses NAME ...]

20 patterns to learn from (4 of them decide which step is kept), 10 to test on; the sigma starts
30 % too small and 30 % too large. Writes rows and curves to benchmarks/paper/results/4.json and
the figure to docs/images/semiblind.png.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from napari_unfold.fluctuation.learn_psf import LearnedPSF, learn_psf
from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.jobs import run_to_end
from napari_unfold.learning.appraisal import TOLERANCES_PX, TrainingSet
from napari_unfold.learning.losses import make_loss
from napari_unfold.settings.training import LossName, Training
from napari_unfold.tables.evaluate import jaccard_on_grid
from napari_unfold.unfolding.inference import iterates_in_place
from napari_unfold.unfolding.network import UnfoldedNetwork

sys.path.insert(0, str(Path(__file__).parents[1]))
from filaments import SIGMA_PX, part, simulate, start

RESULTS = Path(__file__).parent / "results"
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "semiblind.png"
NOISE = 0.05
STARTS = (0.7, 1.3)
LOSSES: tuple[LossName, ...] = ("localization", "reconstruction", "tolerant")
SUPPORT = 1e-2
"""Without binarization, pixels above this fraction of a mean one count."""


def score(learned: LearnedPSF, test: TrainingSet) -> dict[str, Any]:
    """Jaccard indices of the test set with and without binarization, and the inner curves."""
    operator = SeparableOperator((test.y.shape[1], test.y.shape[2]), 1, learned.sigma_px,
                                 squared=True)  # fmt: skip
    network = UnfoldedNetwork(operator, learned.parameters)
    truth = test.truth.numpy()

    def jaccard(x: np.ndarray, threshold: float) -> list[float]:
        return [jaccard_on_grid(x, truth, threshold, t) for t in TOLERANCES_PX]

    energy, inner = [], []
    for iterate in iterates_in_place(network, test.y, test.b):
        x = iterate.numpy()
        with torch.no_grad():
            energy.append(float(network.energy(iterate, test.y, test.b).mean()))
        inner.append(float(np.mean(jaccard(x, SUPPORT))))
    return {
        "binarized": jaccard(x, learned.parameters.threshold_photons),
        "not binarized": jaccard(x, SUPPORT),
        "energy": energy,
        "inner Jaccard index": inner,
    }


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the curves of figure 9 for the localization loss."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    outer, inner = figure.subplots(1, 2)
    sigma, jaccard = outer.twinx(), inner.twinx()
    for row, style in zip([r for r in rows if r["loss"] == "localization"], ("-", "--"),
                          strict=True):  # fmt: skip
        steps = range(len(row["history"]))
        loss = [h["training_loss"] for h in row["history"]]
        name = f"start {100 * (row['start'] - 1):+.0f} %"
        outer.plot(steps, loss, style, color="tab:blue", label=name)
        sigma.plot(steps, [h["psf_sigma_px"] for h in row["history"]], style, color="tab:orange")
        inner.semilogy(row["energy"], style, color="tab:blue")
        jaccard.plot(row["inner Jaccard index"], style, color="tab:orange")
    sigma.axhline(SIGMA_PX, color="0.6", lw=0.8)
    outer.legend(frameon=False)
    outer.set(xlabel="outer iteration", ylabel="localization loss (blue)")
    sigma.set_ylabel("PSF sigma in px (orange; grey: true)")
    inner.set(xlabel="inner iteration", ylabel="energy (23) (blue)")
    jaccard.set_ylabel("mean J, not binarized (orange)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def main() -> None:
    """Learn, test, print, and keep the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=LOSSES)
    asked = parser.parse_args()
    patterns = simulate(30, NOISE)
    images = patterns.images
    print(f"K = {asked.iterations}; noise {NOISE:g}, brightest pixel {patterns.brightest:.3f}; "
          f"true PSF sigma {SIGMA_PX} px")  # fmt: skip
    print("loss            start   learned sigma      J 0    J 2    J 4    mean   "
          "not binarized: J 0    J 2    J 4    mean    s")  # fmt: skip
    rows = []
    for loss in asked.losses:
        for off in STARTS:
            began = time.monotonic()
            operator, begin = start(part(images, 0, 16), off, asked.iterations)
            learned: LearnedPSF = run_to_end(
                learn_psf(operator, begin, part(images, 0, 16), part(images, 16, 20),
                          make_loss(Training(loss=loss), 1.0), outer_iterations=asked.steps)
            )  # fmt: skip
            scores = score(learned, part(images, 20, 30))
            took = time.monotonic() - began
            cells = ["  ".join(f"{j:.3f}" for j in (*scores[k], np.mean(scores[k])))
                     for k in ("binarized", "not binarized")]  # fmt: skip
            error = 100 * (learned.sigma_px / SIGMA_PX - 1)
            print(f"{loss:15s} {100 * (off - 1):+4.0f} %  {learned.sigma_px:.4f} "
                  f"({error:+.1f} %)   {cells[0]}  {'':14s} {cells[1]}  {took:4.0f}",
                  flush=True)  # fmt: skip
            rows.append({"loss": loss, "start": off, "sigma_px": learned.sigma_px,
                         "history": [asdict(step) for step in learned.history], "seconds": took,
                         "parameters": learned.parameters.model_dump(mode="json"),
                         **scores})  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "4.json").write_text(json.dumps({"sigma_px": SIGMA_PX, "rows": rows}) + "\n")
    draw(rows, PICTURE)


if __name__ == "__main__":
    main()
