"""Write the shipped presets of the paper's experiments from what run.py learned.

    python benchmarks/paper/make_presets.py

Each holds the networks of the tolerant loss and the log-sum penalty, which do best, with their
scores on the test frames.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
from report import load

from napari_unfold.files.presets import Preset, PresetScore, save_preset
from napari_unfold.unfolding.parameters import NetworkParameters

ITERATIONS = 100
PRESETS = {
    "1": ("paper-random", "Paper 1: random molecules",
          "2.7 molecules per µm², 50 to 255 photons, next to no background, Gaussian noise."),
    "2-gaussian": ("paper-isbi-gaussian", "Paper 2: microtubules, Gaussian noise",
                   "5.5 molecules per µm² of about 190 photons, Gaussian noise."),
    "2-low": ("paper-isbi-low", "Paper 2: microtubules, low background",
              "5.5 molecules per µm² of about 190 photons on a background of 1, photon noise."),
    "2-high": ("paper-isbi-high", "Paper 2: microtubules, high background",
               "5.5 molecules per µm² of about 190 photons on a background of 20, photon noise."),
    "3": ("paper-long-on", "Paper 3: long ON times",
          "4.9 molecules per µm² of about 150 photons on a background of 5, photon noise."),
}  # fmt: skip


def preset(experiment: str) -> Preset:
    """Return the preset of an experiment."""
    name, title, description = PRESETS[experiment]
    result = load(experiment)
    rows = [
        row for row in result["rows"]
        if row["loss"] == "tolerant" and row["iterations"] == ITERATIONS and not row["seed"]
    ]  # fmt: skip
    of_pixels = "mean Jaccard index of pixels at 0, 2 and 4 fine pixels"
    scores = [
        PresetScore(
            data=f"test frames of experiment {result['title']}, {row['fidelity']} fidelity",
            metric=metric,
            value=round(value, 4),
        )
        for row in rows
        for metric, value in (
            (f"{of_pixels}, before learning", float(np.mean(row["before"]))),
            (of_pixels, float(np.mean(row["after"]))),
            ("PSNR in dB", row["psnr"]),
        )
    ]
    return Preset(
        name=name,
        title=title,
        description=description,
        trained_on=f"Experiment {result['title']}, as rebuilt in docs/paper.md; tolerant loss, "
        f"log-sum penalty, schedules over {ITERATIONS} iterations.",
        scores=scores,
        upsampling=4,
        networks={
            row["fidelity"]: NetworkParameters.model_validate(row["parameters"]) for row in rows
        },
    )


def main() -> None:
    """Write all of them."""
    folder = Path(str(resources.files("napari_unfold") / "presets"))
    for experiment in PRESETS:
        made = preset(experiment)
        save_preset(made, folder / f"{made.name}.json")
        print(f"{made.name}: {made.scores[1].value:.3f}")


if __name__ == "__main__":
    main()
