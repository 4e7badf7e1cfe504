"""Learning with an unknown PSF: its sigma together with steps, weight and threshold.

Images of variances (or covariances, or means) with known emitters take the place of frames; see
`learning.train` for the same with a known PSF.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from napari_unfold.fluctuation.semiblind import SemiBlindNetwork, SemiBlindOperator
from napari_unfold.imaging.forward import ForwardOperator
from napari_unfold.jobs import Check, Job, Metric, Metrics, Note, Progress, Stage, in_background
from napari_unfold.learning.appraisal import TrainingSet, appraise
from napari_unfold.learning.free_steps import has_stalled
from napari_unfold.learning.losses import Loss
from napari_unfold.learning.sgp import SGP, boxed
from napari_unfold.unfolding.checkpointed import checkpointed
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.fidelity import fidelity_named, zero_image_weight
from napari_unfold.unfolding.inference import final_iterate
from napari_unfold.unfolding.parameters import NetworkParameters

LARGEST_STEP = 2.0
"""Upper bound of the step sizes in units of those at the start."""

SIGMA_RANGE = (0.4, 2.5)
"""Bounds of the learned sigma, in units of that at the start."""

BALANCE = 10.0
IMAGES_AT_ONCE = 10
STALLED_AFTER, STALLED_IMPROVEMENT = 6, 1e-3


@dataclass(frozen=True)
class LearnedPSF:
    """Parameters and PSF sigma that were learned together.

    Attributes
    ----------
    parameters : NetworkParameters
        Those with the smallest validation loss.
    sigma_px : float
        PSF sigma in camera pixels that belongs to them.
    history : list of Metrics
        Those of every outer iteration; the first is that of the start.
    """

    parameters: NetworkParameters
    sigma_px: float
    history: list[Metrics]


def image_parameters(
    operator: ForwardOperator,
    image: torch.Tensor,
    weight_share: float,
    iterations: int,
) -> NetworkParameters:
    """Untrained parameters for the deconvolution of an image with the l1 norm.

    Parameters
    ----------
    operator : ForwardOperator
        A for a mean image, A∘A for variances and covariances.
    image : tensor (..., Y, X)
        Without its background.
    weight_share : float
        Regularisation weight as a fraction of the one above which the solution is zero.
    iterations : int
        K.
    """
    largest_weight = _weight_bound(operator, image)
    brightness = largest_weight / operator.point_energy
    # least squares need no background
    parameters = classical_parameters(
        operator, brightness, brightness, penalty="l1", iterations=iterations
    )
    return parameters.model_copy(update={"weight": weight_share * largest_weight})


def _weight_bound(operator: ForwardOperator, image: torch.Tensor) -> float:
    return zero_image_weight(fidelity_named("gaussian"), operator, image, image.new_zeros(()))


def learn_psf(
    operator: SemiBlindOperator,
    start: NetworkParameters,
    training: TrainingSet,
    validation: TrainingSet,
    loss: Loss,
    *,
    outer_iterations: int = 40,
) -> Job[LearnedPSF]:
    """Learn PSF sigma, step sizes, weight and threshold.

    Parameters
    ----------
    operator : SemiBlindOperator
        Its sigma is where to start; it is changed.
    start : NetworkParameters
    training, validation : TrainingSet
        Images without noise variance, and the true variances of the emitters.
    loss : Loss
    outer_iterations : int
        Steps of the scaled gradient projection.

    Yields
    ------
    Event
        A `Metric` at every outer iteration.

    Returns
    -------
    LearnedPSF
    """
    network = SemiBlindNetwork(operator, start)
    learner = _Learner(network, start, training, loss)
    yield Stage("Learning the PSF")
    best, best_loss = LearnedPSF(start, operator.sigma_px.item(), []), math.inf
    history: list[Metrics] = []
    for iteration in range(outer_iterations + 1):
        value = yield from in_background(learner.step if iteration else learner.loss_at_start)
        metrics = replace(_metrics(network, start, validation, loss), training_loss=value)
        history.append(metrics)
        yield Progress(iteration, outer_iterations)
        yield Metric(iteration, metrics)
        if metrics.validation_loss < best_loss:
            best_loss = metrics.validation_loss
            best = LearnedPSF(network.learned(start), operator.sigma_px.item(), history)
        losses = [step.training_loss for step in history]
        if has_stalled(losses, STALLED_AFTER, STALLED_IMPROVEMENT):
            yield Note("The loss has stopped falling; the training is complete")
            break
    return best


class _Learner:
    """Scaled gradient projection on the loss over the whole training set, part by part."""

    def __init__(
        self, network: SemiBlindNetwork, start: NetworkParameters, images: TrainingSet, loss: Loss
    ) -> None:
        self.network, self.start, self.images, self.loss = network, start, images, loss
        self.optimizer = SGP(_groups(network, start, images), first_step=0.1, balance=BALANCE)

    def loss_at_start(self, check: Check) -> float:
        """Return the loss before anything is learned."""
        return self._evaluate(False, check).item()

    def step(self, check: Check) -> float:
        """Take one step and return the loss after it."""
        return self.optimizer.step(lambda backward: self._evaluate(backward, check))

    def _evaluate(self, backward: bool, check: Check) -> torch.Tensor:
        self.network.tick = check
        frozen = self.network.frozen(self.start)

        def run(part: TrainingSet) -> torch.Tensor:
            if backward:
                return checkpointed(self.network, part.y, part.b)
            return final_iterate(frozen, part.y, part.b, check)

        return self.images.loss(
            run, self.loss, self.network.threshold, backward=backward,
            frames_at_once=IMAGES_AT_ONCE,
        )  # fmt: skip


def _groups(
    network: SemiBlindNetwork, start: NetworkParameters, training: TrainingSet
) -> list[dict[str, Any]]:
    """Box constraints and scales of all parameters."""
    sigma, step = network.operator.sigma_px.item(), network.step_sizes.max().item()
    largest_weight = _weight_bound(network.operator.frozen(), training.y)
    brightest = float(training.truth.max())
    boxes = {
        "operator.sigma_px": (SIGMA_RANGE[0] * sigma, SIGMA_RANGE[1] * sigma, sigma),
        "step_sizes": (1e-3 * step, LARGEST_STEP * step, step),
        "weight": (1e-4 * start.weight, max(largest_weight, start.weight), start.weight),
        "threshold": (1e-4 * brightest, 0.5 * brightest, start.threshold_photons),
        "coupling": (start.coupling, start.coupling, 1.0),  # images without neighbours in time
    }
    return boxed(network.named_parameters(), boxes)


def _metrics(
    network: SemiBlindNetwork, start: NetworkParameters, images: TrainingSet, loss: Loss
) -> Metrics:
    x = final_iterate(network.frozen(start), images.y, images.b)
    appraised = appraise(network, images, x, loss)
    return replace(appraised, psf_sigma_px=network.operator.sigma_px.item())
