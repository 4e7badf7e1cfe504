"""Fluctuating filaments on the pixel grid: experiment 4 of the paper, section 3.2.

30 patterns of filaments, superposed, rotated and shifted; emitters in the middle of pixels
(q = 1) that blink; every frame blurred and with additive Gaussian noise (21); empirical variances
over time (22). Left open by the text and chosen here: images of 64 x 64 pixels, about one pixel in
ten with an emitter, a PSF sigma of 1.1 pixels (a FWHM of 258 nm at 100 nm), 500 frames, emitters of
one photon (give or take 0.3) that are on a fifth of the time, two frames at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unfold.estimation.estimate import estimate
from napari_unfold.estimation.measured import Measured
from napari_unfold.files.stacks import as_stack
from napari_unfold.fluctuation.learn_psf import image_parameters
from napari_unfold.fluctuation.semiblind import SemiBlindOperator
from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.jobs import run_to_end
from napari_unfold.learning.appraisal import TrainingSet
from napari_unfold.settings.microscope import Camera
from napari_unfold.simulation.photophysics import Blinking, FilamentPatterns, blink
from napari_unfold.unfolding.parameters import NetworkParameters

SIDE, FRAMES = 64, 500
SIGMA_PX = 1.1
EMITTERS_PER_PIXEL = 0.12
BLINKING = Blinking(photons=1.0)


@dataclass(frozen=True)
class Patterns:
    """Variance images with their truth, in units of the mean variance of a pixel with emitters.

    Attributes
    ----------
    images : TrainingSet
    widths : list of Measured or None
        PSF sigma of each stack, estimated from its frames alone.
    brightest : float
        Largest standard deviation of a pixel without noise; that of the noise is in the same unit.
    """

    images: TrainingSet
    widths: list[Measured | None]
    brightest: float


def simulate(n_patterns: int, noise: float, side: int = SIDE, seed: int = 4) -> Patterns:
    """Simulate patterns with Gaussian noise of standard deviation `noise`."""
    rng = np.random.default_rng(seed)
    draw = FilamentPatterns(np.full(2, 100.0 * side), rng)
    operator = SeparableOperator((side, side), 1, SIGMA_PX)
    y, truth, widths, brightest = [], [], [], 0.0
    for _ in range(n_patterns):
        rows, columns = (draw(round(EMITTERS_PER_PIXEL * side**2), rng) / 100.0).astype(int).T
        active = np.unique(rows * side + columns)
        x = np.zeros((FRAMES, side * side), dtype=np.float32)
        x[:, active] = blink(len(active), FRAMES, BLINKING, rng)
        images = x.reshape(FRAMES, side, side)
        clean = operator.forward(torch.as_tensor(images)).numpy()
        frames = clean + rng.normal(0.0, noise, clean.shape)
        y.append(frames.var(axis=0, ddof=1) - noise**2)
        truth.append(images.var(axis=0, ddof=1))
        widths.append(_width(frames))
        brightest = max(brightest, float(clean.std(axis=0).max()))
    unit = float(np.mean([image[image > 0].mean() for image in truth]))
    return Patterns(
        TrainingSet(
            torch.tensor(np.array(y) / unit, dtype=torch.float32),
            torch.zeros(side, side),
            torch.tensor(np.array(truth) / unit, dtype=torch.float32),
        ),
        widths,
        brightest,
    )


def start(
    images: TrainingSet, off: float, iterations: int
) -> tuple[SemiBlindOperator, NetworkParameters]:
    """Return where learning starts: with the PSF sigma wrong by the factor `off`."""
    shape = images.y.shape[1], images.y.shape[2]
    operator = SemiBlindOperator(shape, 1, off * SIGMA_PX)
    parameters = image_parameters(operator.frozen(), images.y, 0.01, iterations)
    return operator, parameters.model_copy(
        update={"threshold_photons": 0.3, "projection_width_photons": 1e-3}
    )


def part(images: TrainingSet, first: int, last: int) -> TrainingSet:
    """Return some of the images."""
    return TrainingSet(images.y[first:last], images.b, images.truth[first:last])


def _width(frames: NDArray[np.float64]) -> Measured | None:
    found: Measured | None = run_to_end(
        estimate(as_stack(frames), Camera(excess_noise=1))
    ).psf_sigma_px
    return found
