"""Draw the paper's figures 3, 4, 6 and 8 with what was learned.

    python benchmarks/paper/figures.py [--only 3 4 6 8]

Writes docs/images/paper-figure-N.png. The networks are those in benchmarks/paper/results, seed 0;
for the tolerant loss, where run.py left none there, those of the shipped presets. What there is no
network for is left out.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from deepstorm import images as deepstorm_images
from deepstorm import load_network, weights_file
from experiments import EXPERIMENTS, UPSAMPLING
from make_presets import PRESETS
from matplotlib.figure import Figure
from PIL import Image
from report import DOCS, load
from run import RESULTS, images

from napari_unfold.files.figures import scale_bar_nm
from napari_unfold.files.presets import load_preset
from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.learning.appraisal import TrainingSet
from napari_unfold.settings.terms import Fidelity
from napari_unfold.settings.training import LossName
from napari_unfold.unfolding.parameters import NetworkParameters

sys.path.insert(0, str(Path(__file__).parents[1]))
from filaments import SIDE, part, simulate
from semiblind import NOISE

PIXEL_SIZE_NM = 100.0
FINE_NM = PIXEL_SIZE_NM / UPSAMPLING
BRIGHT = 0.995
"""Quantile of the lit pixels of an image that is shown as white."""

CUT = slice(96, 160)
"""Fine pixels of the cut-out of figure 3, in both directions."""

LOSSES: dict[LossName, str] = {
    "reconstruction": "l2 loss, l1 norm",
    "localization": "localization loss, l1 norm",
    "tolerant": "tolerant loss, log-sum",
}


@dataclass(frozen=True)
class Panel:
    """An image with its title, the side of its pixels, and places to put rings around."""

    title: str
    image: torch.Tensor
    pixel_nm: float
    rings: torch.Tensor | None = None


def parameters(experiment: str, loss: LossName, fidelity: Fidelity) -> NetworkParameters | None:
    """Return the learned network with the most iterations, or None if there is none."""
    rows: list[dict[str, Any]] = []
    if (RESULTS / f"{experiment}.json").is_file():
        rows = [
            row for row in load(experiment)["rows"]
            if (row["loss"], row["fidelity"], row["seed"]) == (loss, fidelity, 0)
        ]  # fmt: skip
    if rows:
        row = max(rows, key=lambda row: int(row["iterations"]))
        return NetworkParameters.model_validate(row["parameters"])
    if loss == "tolerant" and experiment in PRESETS:
        return load_preset(PRESETS[experiment][0]).networks[fidelity]
    return None


def reconstructions(
    name: str, fidelity: Fidelity, operator: SeparableOperator, frames: TrainingSet
) -> list[Panel]:
    """Return what each network makes of the frames, dark below its threshold."""
    panels = []
    for loss, title in LOSSES.items():
        found = parameters(name, loss, fidelity)
        if found is not None:
            x = images(operator, found, frames)
            if loss != "reconstruction":
                x = torch.where(x > found.threshold_photons, x, 0.0)
            panels.append(Panel(title, x, FINE_NM))
    if weights_file(name, "simulated", 0).is_file():
        x = deepstorm_images(load_network(name, "simulated", 0), frames)
        panels.append(Panel("DeepSTORM-like", x, FINE_NM))
    return panels


def figure_3() -> list[list[Panel]]:
    """Experiment 1: a part of a test frame, what the camera saw, and the reconstructions."""
    experiment = EXPERIMENTS["1"](0)
    frame = experiment.test[:1]
    on_fine_grid = frame.y.repeat_interleave(UPSAMPLING, 1).repeat_interleave(UPSAMPLING, 2)
    panels = [
        Panel("truth", frame.truth, FINE_NM),
        Panel("camera", on_fine_grid, FINE_NM),
        *reconstructions("1", "gaussian", experiment.operator, frame),
    ]
    molecules = frame.truth[0, CUT, CUT].nonzero()
    return in_rows([Panel(p.title, p.image[0, CUT, CUT], FINE_NM, molecules) for p in panels], 3)


def figure_4() -> list[list[Panel]]:
    """Experiment 2: sums over the test frames, one row for each kind of noise."""
    return [
        stack_panels("2-gaussian", "gaussian", "camera, Gaussian noise"),
        stack_panels("2-low", "kl", "camera, low background"),
        stack_panels("2-high", "kl", "camera, high background"),
    ]


def figure_6() -> list[list[Panel]]:
    """Experiment 3: sums over the test frames."""
    return in_rows(stack_panels("3", "kl", "camera"), 3)


def stack_panels(name: str, fidelity: Fidelity, title: str) -> list[Panel]:
    """Return truth, camera and reconstructions, each summed over the test frames."""
    experiment = EXPERIMENTS[name](0)
    test = experiment.test
    panels = [
        Panel("truth", test.truth, FINE_NM),
        Panel(title, test.y, PIXEL_SIZE_NM),
        *reconstructions(name, fidelity, experiment.operator, test),
    ]
    return [Panel(p.title, p.image.sum(dim=0), p.pixel_nm) for p in panels]


def figure_8() -> list[list[Panel]]:
    """Experiment 4: a test pattern, its variance image, and what was made of it."""
    if not (RESULTS / "4.json").is_file():
        return []
    row = next(row for row in load("4")["rows"] if row["loss"] == "localization")
    found = NetworkParameters.model_validate(row["parameters"])
    operator = SeparableOperator((SIDE, SIDE), 1, row["sigma_px"], squared=True)
    pattern = part(simulate(30, NOISE).images, 20, 21)
    x = images(operator, found, pattern)
    made = [
        ("truth", pattern.truth),
        ("variance of the frames", pattern.y),
        (f"learned sigma {row['sigma_px']:.2f} px", x),
        ("binarized", (x > found.threshold_photons).float()),
    ]
    return [[Panel(title, image[0], PIXEL_SIZE_NM) for title, image in made]]


def in_rows(panels: list[Panel], columns: int) -> list[list[Panel]]:
    """Break a list into rows."""
    return [panels[i : i + columns] for i in range(0, len(panels), columns)]


def draw(rows: list[list[Panel]], path: Path) -> None:
    """Draw panels as a PNG, each from its darkest to its brightest, with a scale bar."""
    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(2.3 * columns, 2.55 * len(rows)), layout="constrained", dpi=100)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for line, row in zip(grid, rows, strict=True):
        for axes, panel in zip(line, row, strict=False):
            show(axes, panel)
    drawn = io.BytesIO()
    figure.savefig(drawn)
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)


def show(axes: Any, panel: Panel) -> None:
    """Draw one panel."""
    image = panel.image
    lit = image[image > 0]
    bright = float(lit.quantile(BRIGHT)) if len(lit) else 1.0
    axes.imshow(image.numpy(), cmap="inferno", vmin=float(image.min()), vmax=bright)
    axes.set_title(panel.title, fontsize=9)
    if panel.rings is not None:
        rows, columns = panel.rings.T.numpy()
        axes.scatter(columns, rows, s=40, facecolors="none", edgecolors="#4c9be8", linewidths=0.8)
    height, width = image.shape
    length_nm = scale_bar_nm(width * panel.pixel_nm)
    right, bottom = 0.95 * width, 0.95 * height
    axes.plot([right - length_nm / panel.pixel_nm, right], [bottom, bottom], color="white", lw=3,
              solid_capstyle="butt")  # fmt: skip


FIGURES: dict[str, Callable[[], list[list[Panel]]]] = {
    "3": figure_3, "4": figure_4, "6": figure_6, "8": figure_8,
}  # fmt: skip


def main() -> None:
    """Draw what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(FIGURES), default=list(FIGURES))
    for number in parser.parse_args().only:
        rows = FIGURES[number]()
        if rows:
            path = DOCS / "images" / f"paper-figure-{number}.png"
            draw(rows, path)
            print(f"{path.name}: {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
