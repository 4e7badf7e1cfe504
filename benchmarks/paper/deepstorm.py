"""Train a network like DeepSTORM on the paper's experiments, and test it as run.py does.

    python benchmarks/paper/deepstorm.py 1|2-gaussian|2-low|2-high|3|3-derived

After Nehme et al., Optica 5, 458 (2018), in our own words and a quarter of the width: every frame
is enlarged to the fine grid by repeating pixels, goes through three stages of convolution, batch
normalisation, ReLU and pooling, and back up through three of enlarging and the same; the loss is
the squared difference of both images after a Gaussian blur of one fine pixel, plus the l1 norm of
what comes out. Light is told in photons, so that the images can be compared with the truth.

Two ways to train it:

- ``quarters``: on the very quarters that our networks learn from, in their eight orientations.
- ``simulated``: on new frames in every step, as the notebook does by which the paper trained
  DeepSTORM: as many molecules as in one of the quarters, as bright, at random places, with the
  experiment's PSF, background and noise.

The last fifth of the quarters decides, as for our networks, which step is kept, and which threshold
and way of counting: all pixels above it, or only those that are brightest among their neighbours.
Writes benchmarks/paper/results/deepstorm.json, and the weights beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from experiments import EXPERIMENTS, Experiment, observe
from numpy.typing import NDArray
from run import RESULTS, score_images
from torch import nn
from torch.nn import functional

from napari_unfold.learning.appraisal import TOLERANCES_PX, TrainingSet
from napari_unfold.learning.losses import blurred
from napari_unfold.learning.starting_point import THRESHOLDS
from napari_unfold.tables.evaluate import jaccard_on_grid

FILE = RESULTS / "deepstorm.json"
Data = Literal["quarters", "simulated"]

WIDTHS = (8, 16, 32, 128)
"""Channels from the fine grid to the coarsest; the original has four times as many."""

SCALE = 100.0
"""What a typical molecule is worth in the loss, as in the original."""

STEPS, BATCH, CHECKS = 500, 8, 6
LARGEST_RATE = 3e-3

SHARES = (0.002, 0.005, *THRESHOLDS)
"""Thresholds to choose from, in units of a typical molecule."""


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


class DeepStormLike(nn.Module):
    """Fully convolutional encoder and decoder.

    Parameters
    ----------
    upsampling : int
        Fine pixels per camera pixel.
    background, contrast, molecule_photons : float
        Mean and standard deviation of the training frames, and a typical molecule: frames are
        brought to mean 0 and standard deviation 1, molecules to `SCALE`.
    """

    def __init__(
        self, upsampling: int, background: float, contrast: float, molecule_photons: float
    ) -> None:
        super().__init__()
        self.made_with = upsampling, background, contrast, molecule_photons
        self.upsampling, self.background, self.contrast = upsampling, background, contrast
        self.unit_photons = molecule_photons / SCALE
        layers: list[nn.Module] = []
        channels = 1
        for width in WIDTHS[:-1]:
            layers += [_block(channels, width), nn.MaxPool2d(2)]
            channels = width
        layers.append(_block(channels, WIDTHS[-1]))
        channels = WIDTHS[-1]
        for width in WIDTHS[-2::-1]:
            layers += [nn.Upsample(scale_factor=2), _block(channels, width)]
            channels = width
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 1))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """Return molecule images ``(R, qY, qX)`` of frames ``(R, Y, X)``, in photons."""
        x = ((y - self.background) / self.contrast)[:, None]
        x = functional.interpolate(x, scale_factor=self.upsampling)
        return self.unit_photons * self.layers(x)[:, 0]

    def loss(self, x: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Mean squared difference after a blur of one fine pixel, plus the mean absolute value."""
        x, truth = x / self.unit_photons, truth / self.unit_photons
        return blurred(x - truth, 1.0).square().mean() + x.abs().mean()


def images(network: DeepStormLike, frames: TrainingSet) -> torch.Tensor:
    """Return what a trained network makes of frames; light is not negative."""
    network.eval()
    with torch.no_grad():
        return torch.cat([network(part.y) for part in frames.parts()]).clamp(min=0.0)


@dataclass(frozen=True)
class Counting:
    """What counts as a molecule in an image of the network.

    Attributes
    ----------
    threshold_photons : float
    only_peaks : bool
        Only pixels that are brightest among their eight neighbours.
    """

    threshold_photons: float
    only_peaks: bool

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the image with all other pixels dark."""
        if not self.only_peaks:
            return x
        return torch.where(functional.max_pool2d(x[:, None], 3, 1, 1)[:, 0] == x, x, 0.0)


def best_counting(
    x: torch.Tensor, frames: TrainingSet, molecule_photons: float
) -> tuple[float, Counting]:
    """Return the best mean Jaccard index on frames, and how to count for it."""
    truth = frames.truth.numpy()

    def of(counting: Counting) -> float:
        found, threshold = counting(x).numpy(), counting.threshold_photons
        values = [jaccard_on_grid(found, truth, threshold, t) for t in TOLERANCES_PX]
        return float(np.mean(values))

    countings = [
        Counting(share * molecule_photons, only_peaks)
        for share in SHARES
        for only_peaks in (False, True)
    ]
    return max(((of(counting), counting) for counting in countings), key=lambda found: found[0])


class Batches:
    """Frames for every learning step.

    Parameters
    ----------
    experiment : Experiment
    learning : TrainingSet
        Its quarters.
    data : {"quarters", "simulated"}
    rng : numpy Generator
    """

    def __init__(
        self, experiment: Experiment, learning: TrainingSet, data: Data, rng: np.random.Generator
    ) -> None:
        self.experiment, self.learning, self.data, self.rng = experiment, learning, data, rng

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return frames and truth."""
        return self._simulated() if self.data == "simulated" else self._turned()

    def _turned(self) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = self.rng.choice(len(self.learning), BATCH, replace=False)
        y, truth = self.learning.y[chosen], self.learning.truth[chosen]
        turns, mirrored = int(self.rng.integers(4)), bool(self.rng.integers(2))
        y, truth = (torch.rot90(a, turns, (1, 2)) for a in (y, truth))
        return (y.flip(1), truth.flip(1)) if mirrored else (y, truth)

    def _simulated(self) -> tuple[torch.Tensor, torch.Tensor]:
        known = self.learning.truth.numpy()
        light = known[known > 0]
        made: NDArray[np.float32] = np.zeros((BATCH, *known.shape[1:]), dtype=np.float32)
        for image in made:
            like = known[self.rng.integers(len(known))]
            lit = self.rng.choice(image.size, int((like > 0).sum()), replace=False)
            image.flat[lit] = self.rng.choice(light, len(lit))
        frames = observe(
            made, self.experiment.training_operator, float(self.learning.b.flatten()[0]),
            self.experiment.poisson, self.rng,
        )  # fmt: skip
        return frames.y, frames.truth


@dataclass(frozen=True)
class Trained:
    """A network, how to count its molecules, and the J on validation frames at every check."""

    network: DeepStormLike
    counting: Counting
    history: list[float]


def train(experiment: Experiment, data: Data, seed: int, steps: int = STEPS) -> Trained:
    """Train a network; what did best on the validation quarters is kept."""
    torch.manual_seed(seed)
    learning, checking = experiment.training.split(0.2)
    batches = Batches(experiment, learning, data, np.random.default_rng((9, seed)))
    network = DeepStormLike(
        experiment.operator.upsampling, float(learning.y.mean()), float(learning.y.std()),
        experiment.molecule_photons,
    )  # fmt: skip
    network.to(memory_format=torch.channels_last)  # a third faster on a CPU
    optimizer = torch.optim.Adam(network.parameters(), lr=LARGEST_RATE)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, LARGEST_RATE, total_steps=steps)
    best, history = (-1.0, Counting(experiment.molecule_photons, False)), []
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    for step in range(1, steps + 1):
        network.train()
        y, truth = batches.draw()
        optimizer.zero_grad()
        network.loss(network(y), truth).backward()
        optimizer.step()
        rates.step()
        if step % max(1, steps // CHECKS) == 0:
            found = best_counting(images(network, checking), checking, experiment.molecule_photons)
            history.append(found[0])
            if found[0] > best[0]:
                best = found
                kept = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)
    return Trained(network, best[1], history)


def weights_file(name: str, data: Data, seed: int) -> Path:
    """Where the weights of a network lie."""
    return RESULTS / f"deepstorm-{name}-{data}-{seed}.pt"


def load_network(name: str, data: Data, seed: int) -> DeepStormLike:
    """Return a trained network."""
    made_with, weights = torch.load(weights_file(name, data, seed))
    network = DeepStormLike(*made_with)
    network.load_state_dict(weights)
    return network


def row(name: str, data: Data, seed: int, steps: int) -> dict[str, Any]:
    """Train a network and test it on the frames of the experiment."""
    experiment = EXPERIMENTS[name](seed)
    began = time.monotonic()
    trained = train(experiment, data, seed, steps)
    seconds = time.monotonic() - began
    x = images(trained.network, experiment.test)
    counting = trained.counting
    scores = score_images(x, counting(x), experiment.test, counting.threshold_photons)
    torch.save((trained.network.made_with, trained.network.state_dict()),
               weights_file(name, data, seed))  # fmt: skip
    return {
        "experiment": name, "data": data, "seed": seed, "steps": steps, "seconds": seconds,
        "after": scores.jaccard.mean(axis=1).tolist(),
        "psnr": scores.psnr, "psnr_binarized": scores.psnr_binarized,
        "threshold_photons": counting.threshold_photons, "only_peaks": counting.only_peaks,
        "history": trained.history,
    }  # fmt: skip


def keep(found: dict[str, Any]) -> None:
    """Write a row into the file of results, in place of the one like it."""
    rows = json.loads(FILE.read_text("utf-8"))["rows"] if FILE.is_file() else []
    by_key = {(r["experiment"], r["data"], r["seed"]): r for r in [*rows, found]}
    FILE.write_text(json.dumps({"rows": [by_key[key] for key in sorted(by_key)]}) + "\n", "utf-8")


def main() -> None:
    """Train and test on one experiment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=list(EXPERIMENTS))
    parser.add_argument("--data", nargs="+", choices=get_args(Data), default=list(get_args(Data)))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    asked = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for data in asked.data:
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
            found = row(asked.name, data, seed, asked.steps)
            keep(found)
            cells = "  ".join(f"{j:.3f}" for j in (*found["after"], np.mean(found["after"])))
            print(
                f"{asked.name:10s} {data:9s} {seed}  {cells}  {found['psnr']:.2f}  "
                f"{found['psnr_binarized']:.2f}  threshold {found['threshold_photons']:.1f}"
                f"{', peaks' if found['only_peaks'] else ''}  {found['seconds']:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
