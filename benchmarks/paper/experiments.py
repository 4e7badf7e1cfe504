"""The data of the paper's experiments, as far as its text gives them; the rest is stated here.

Left open by the text and chosen by us: the size of the images (64 x 64 camera pixels), the noise
(standard deviation 1), the brightness in experiments 2 and 3 (uniform), and the three backgrounds.
Experiment 3 sums ten frames, more than the three that the paper's own scores imply ("3-derived").
Networks learn from quarters of the training images, observed as images of their own: the parameters
do not depend on the size, and a learning step takes a quarter of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unfold.files.localizations import read_localizations
from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.learning.appraisal import TrainingSet
from napari_unfold.settings.microscope import FWHM_PER_SIGMA
from napari_unfold.simulation.scenes import simulate

SHARED = Path(__file__).parents[3] / "shared" / "data"
SIDE, TRAINING_SIDE, UPSAMPLING = 64, 32, 4
FINE, TRAINING_FINE = SIDE * UPSAMPLING, TRAINING_SIDE * UPSAMPLING
ISBI_SIGMA_PX = 258.21 / FWHM_PER_SIGMA / 100.0
BRIGHTEST = 255.0
NOISE = 1.0
BACKGROUNDS = {"low": 1.0, "medium": 5.0, "high": 20.0}
SUMMED_FRAMES, DERIVED_SUM, ACTIVE_PER_FRAME = 10, 3, 20
SPARSE_PIXELS, SPARSE_IMAGES = 4, 8
TRAINING_IMAGES, VALIDATION_IMAGES, TEST_IMAGES = 10, 6, 40


@dataclass(frozen=True)
class Experiment:
    """Frames to learn from and to test on.

    Attributes
    ----------
    title : str
    training_operator, operator : SeparableOperator
        For the quarters that are learned from, and for the images of the test.
    training, validation, test : TrainingSet
    sparse_training : TrainingSet or None
        The very sparse set with which the paper had to train its l2 loss in experiment 1.
    molecule_photons, background_photons : float
    poisson : bool
        Whether the noise is that of the photons, or Gaussian.
    """

    title: str
    training_operator: SeparableOperator
    operator: SeparableOperator
    training: TrainingSet
    validation: TrainingSet
    test: TrainingSet
    sparse_training: TrainingSet | None
    molecule_photons: float
    background_photons: float
    poisson: bool


def observe(
    images: NDArray[np.float32],
    operator: SeparableOperator,
    background: float,
    poisson: bool,
    rng: np.random.Generator,
) -> TrainingSet:
    """Return frames of images, with photon noise or with Gaussian noise."""
    clean = operator.forward(torch.as_tensor(images)).numpy() + background
    y = rng.poisson(clean) if poisson else clean + rng.normal(0.0, NOISE, clean.shape)
    return TrainingSet(
        torch.as_tensor(y.astype(np.float32)),
        torch.full(operator.shape, background),
        torch.as_tensor(images),
    )


def _quarters(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut every image into four."""
    n, half = len(images), TRAINING_FINE
    cut = images.reshape(n, 2, half, 2, half).transpose(0, 1, 3, 2, 4)
    return np.ascontiguousarray(cut.reshape(4 * n, half, half))


def _operators(sigma_px: float) -> tuple[SeparableOperator, SeparableOperator]:
    """For training and for the test."""
    training, test = (
        SeparableOperator((side, side), UPSAMPLING, sigma_px) for side in (TRAINING_SIDE, SIDE)
    )
    return training, test


def _random_images(n: int, low: int, high: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Images with `low` to `high` active pixels of 50 to 255."""
    images = np.zeros((n, FINE, FINE), dtype=np.float32)
    for image in images:
        active = rng.choice(image.size, rng.integers(low, high + 1), replace=False)
        image.flat[active] = rng.uniform(50.0, BRIGHTEST, len(active))
    return images


def simulated(seed: int) -> Experiment:
    """Experiment 1: random active pixels, Gaussian noise."""
    rng, of_test = np.random.default_rng((1, seed)), np.random.default_rng(1)
    training_operator, operator = _operators(2.5 / UPSAMPLING)
    sparse = _random_images(SPARSE_IMAGES, SPARSE_PIXELS, SPARSE_PIXELS, rng)
    dense = _random_images(TRAINING_IMAGES, 75, 150, rng)
    more = _random_images(VALIDATION_IMAGES, 75, 150, rng)
    test = _random_images(25, 75, 150, of_test)
    return Experiment(
        title="1, simulated",
        training_operator=training_operator,
        operator=operator,
        training=observe(_quarters(dense), training_operator, 0.0, False, rng),
        validation=observe(_quarters(more), training_operator, 0.0, False, rng),
        test=observe(test, operator, 0.0, False, of_test),
        sparse_training=observe(_quarters(sparse), training_operator, 0.0, False, rng),
        molecule_photons=150.0,
        background_photons=1e-2,
        poisson=False,
    )


def _on_grid(
    y_nm: NDArray[np.floating], x_nm: NDArray[np.floating], values: NDArray[np.floating]
) -> NDArray[np.float32]:
    fine_nm = 100.0 / UPSAMPLING
    image = np.zeros((FINE, FINE), dtype=np.float32)
    rows, columns = (np.clip(p // fine_nm, 0, FINE - 1).astype(int) for p in (y_nm, x_nm))
    np.add.at(image, (rows, columns), values)
    return image


def _microtubule_frames() -> Iterator[tuple[NDArray[np.floating], NDArray[np.floating]]]:
    """Positions (y, x) in nm of the ISBI frames, or of simulated filaments where they are not."""
    path = SHARED / "deep-storm" / "microtubules_odd_truth.csv"
    if path.is_file():
        table = read_localizations(path)
    else:
        table = simulate("filaments", frames=60, density_per_um2=5.5, seed=3).truth
    for _, frame in table.groupby("frame"):
        yield frame["y_nm"].to_numpy(), frame["x_nm"].to_numpy()


def isbi(noise: str, seed: int) -> Experiment:
    """Experiment 2: positions of the ISBI 2013 challenge; Gaussian noise or a background."""
    rng, of_test = np.random.default_rng((2, seed)), np.random.default_rng(2)
    training_operator, operator = _operators(ISBI_SIGMA_PX)
    background = BACKGROUNDS["low"] if noise == "gaussian" else BACKGROUNDS[noise]
    images = np.stack(
        [
            _on_grid(y, x, of_test.uniform(127.0, BRIGHTEST, len(y)))
            for y, x in _microtubule_frames()
        ]
    )
    poisson = noise != "gaussian"
    order = rng.permutation(20)
    learned = images[order[:TRAINING_IMAGES]]
    checked = images[order[TRAINING_IMAGES : TRAINING_IMAGES + VALIDATION_IMAGES]]
    return Experiment(
        title="2, ISBI, Gaussian noise" if not poisson else f"2, ISBI, {noise} background",
        training_operator=training_operator,
        operator=operator,
        training=observe(_quarters(learned), training_operator, background, poisson, rng),
        validation=observe(_quarters(checked), training_operator, background, poisson, rng),
        test=observe(images[20 : 20 + TEST_IMAGES], operator, background, poisson, of_test),
        sparse_training=None,
        molecule_photons=190.0,
        background_photons=background,
        poisson=poisson,
    )


def long_on_time(summed: int, seed: int) -> Experiment:
    """Experiment 3: 8731 positions, few active at a time, several frames summed."""
    training_operator, operator = _operators(ISBI_SIGMA_PX)
    path = SHARED / "sofi-tubulin" / "emitters_yx_px.csv"
    if path.is_file():
        positions = np.loadtxt(path, delimiter=",") * 100.0
    else:
        truth = simulate("filaments", frames=20, density_per_um2=10, seed=4).truth
        positions = truth[["y_nm", "x_nm"]].to_numpy()

    def images(n: int, rng: np.random.Generator) -> NDArray[np.float32]:
        made = []
        for _ in range(n):
            active = rng.choice(len(positions), summed * ACTIVE_PER_FRAME, replace=False)
            y, x = positions[active].T
            made.append(_on_grid(y, x, rng.uniform(50.0, BRIGHTEST, len(active))))
        return np.stack(made)

    rng, of_test = np.random.default_rng((3, seed)), np.random.default_rng(3)
    background = BACKGROUNDS["medium"]
    learned, test = images(TRAINING_IMAGES, rng), images(TEST_IMAGES, of_test)
    checked = images(VALIDATION_IMAGES, rng)
    return Experiment(
        title=f"3, long ON time, {summed} frames summed, medium background",
        training_operator=training_operator,
        operator=operator,
        training=observe(_quarters(learned), training_operator, background, True, rng),
        validation=observe(_quarters(checked), training_operator, background, True, rng),
        test=observe(test, operator, background, True, of_test),
        sparse_training=None,
        molecule_photons=150.0,
        background_photons=background,
        poisson=True,
    )


EXPERIMENTS: dict[str, Callable[[int], Experiment]] = {
    "1": simulated,
    "2-gaussian": partial(isbi, "gaussian"),
    "2-low": partial(isbi, "low"),
    "2-high": partial(isbi, "high"),
    "3": partial(long_on_time, SUMMED_FRAMES),
    "3-derived": partial(long_on_time, DERIVED_SUM),
}
"""By name; called with a seed, which chooses what is learned from. The test is always the same."""
