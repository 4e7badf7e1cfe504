"""Learning the parameters by back-propagation through all iterations.

This is the upper level of the bilevel problem, equation (5); the network is the lower one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch

from napari_unfold.imaging.forward import ForwardOperator
from napari_unfold.jobs import (
    Check,
    Checkpoint,
    Event,
    Job,
    Metric,
    Metrics,
    Note,
    Preview,
    Progress,
    Stage,
    in_background,
)
from napari_unfold.learning.appraisal import TrainingSet, appraise, unfold, worth
from napari_unfold.learning.losses import Loss
from napari_unfold.learning.sgp import SGP, boxed
from napari_unfold.learning.starting_point import best_start
from napari_unfold.unfolding.backward import unrolled
from napari_unfold.unfolding.inference import final_iterate
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.parameters import MAX_COUPLING, NetworkParameters

Outcome = Literal["learned", "stalled", "zero", "diverged"]

STALLED_AFTER = 4
STALLED_IMPROVEMENT = 2e-3
BALANCE = 10.0
LARGEST_STEP = 2.0
"""Upper bound of the step sizes in units of those at the start. With 3, one of forty test frames
blew up that the training frames had not warned of."""

FIRST_CHANGE, RESTARTS, CAUTION = 0.1, 2, 0.25
"""Largest relative change in the first learning step, the number of new starts after a stall, and
the factor by which each makes smaller changes."""


@dataclass(frozen=True)
class Trained:
    """Learned parameters and how they came about.

    Attributes
    ----------
    parameters : NetworkParameters
        The best on the validation frames.
    history : list of Metrics
        Those of every outer iteration; the first is that of the start.
    best : int
        Outer iteration of `parameters`.
    outcome : str
        Why the training ended.
    """

    parameters: NetworkParameters
    history: list[Metrics]
    best: int
    outcome: Outcome


def train(
    operator: ForwardOperator,
    start: NetworkParameters,
    training: TrainingSet,
    validation: TrainingSet,
    loss: Loss,
    *,
    outer_iterations: int = 40,
    search_start: bool = True,
) -> Job[Trained]:
    """Learn step sizes, weight, threshold and what the penalty has to learn.

    From frames in sequence the coupling of neighbours is learned too; others tell nothing of it,
    and it stays as it is.

    Parameters
    ----------
    operator : ForwardOperator
    start : NetworkParameters
        Where to start; its reference says what data it is for. With `search_start` only the kind
        of network matters: fidelity, penalty, number of iterations.
    training, validation : TrainingSet
        Validation frames decide which iteration is kept (`appraisal.worth`), and are not learned
        from.
    loss : Loss
    outer_iterations : int
        Steps of the scaled gradient projection.
    search_start : bool
        Try several weights and thresholds and start from the best.

    Yields
    ------
    Event
        `Metric` and `Checkpoint` (holding a `Trained`) at every outer iteration.

    Returns
    -------
    Trained
    """
    if search_start:
        start = yield from best_start(operator, start, training, loss)
    network = UnfoldedNetwork(operator, start, dtype=training.y.dtype, device=training.y.device)
    learner = _Learner(network, start, training, loss)
    yield Stage("Learning")
    best = Trained(start, [], 0, "learned")
    best_worth = -math.inf
    outcome: Outcome = "learned"
    history: list[Metrics] = []
    for iteration in range(outer_iterations + 1):
        value = yield from in_background(learner.step if iteration else learner.loss_at_start)
        x = yield from in_background(partial(unfold, network, validation))
        metrics = replace(appraise(network, validation, x, loss), training_loss=value)
        history.append(metrics)
        yield Progress(iteration, outer_iterations)
        yield Metric(iteration, metrics)
        if not math.isfinite(metrics.validation_loss):
            outcome = "diverged"
            break
        if worth(metrics, loss) > best_worth:
            best_worth = worth(metrics, loss)
            parameters = learned_parameters(network, start)
            best = Trained(parameters, list(history), iteration, "learned")
            yield Checkpoint(best)
            yield Preview(x[0].cpu().numpy())
        empty = metrics.filled_pixels == 0
        if (empty or learner.is_stalled()) and not learner.start_again(best.parameters):
            outcome = "zero" if empty else "stalled"
            break
    yield from _explain(outcome)
    return Trained(best.parameters, history, best.best, outcome)


def has_stalled(losses: list[float], after: int, improvement: float) -> bool:
    """Whether the last `after` steps lowered the loss by less than a share `improvement`."""
    if len(losses) <= after:
        return False
    before, now = losses[-1 - after], losses[-1]
    return before - now < improvement * abs(before)


def learned_parameters(network: UnfoldedNetwork, start: NetworkParameters) -> NetworkParameters:
    """Return the present values of a network as plain numbers."""
    return start.model_copy(
        update={
            "step_sizes": network.step_sizes.tolist(),
            "weight": network.weight.item(),
            "threshold_photons": network.threshold.item(),
            "penalty_parameters": {n: p.item() for n, p in network.penalty_parameters.items()},
            "coupling": network.coupling.item(),
            "schedules": {n: p.tolist() for n, p in network.schedules.items()},
        }
    )


class _Learner:
    """Scaled gradient projection on the training loss, begun anew where it is stuck.

    A learning step that ends where the loss is rough leaves the Barzilai-Borwein rules with tiny
    steps, and one that empties the images leaves no way back; starting again from the best
    parameters, more cautiously, gets out of both.
    """

    def __init__(
        self,
        network: UnfoldedNetwork,
        start: NetworkParameters,
        training: TrainingSet,
        loss: Loss,
    ) -> None:
        self.network, self.start, self.training, self.loss = network, start, training, loss
        self.restarts, self.change = RESTARTS, FIRST_CHANGE
        self._begin()

    def _begin(self) -> None:
        groups = _groups(self.network, self.start, self.training)
        self.optimizer = SGP(groups, first_step=self.change, balance=BALANCE)
        self.losses: list[float] = []

    def loss_at_start(self, check: Check) -> float:
        """Training loss before anything is learned."""
        self.losses.append(self._evaluate(backward=False, check=check).item())
        return self.losses[-1]

    def step(self, check: Check) -> float:
        """Take a learning step; returns the training loss after it."""

        def closure(backward: bool) -> torch.Tensor:
            return self._evaluate(backward, check)

        self.losses.append(self.optimizer.step(closure))
        return self.losses[-1]

    def is_stalled(self) -> bool:
        """Whether the training loss has stopped falling."""
        return has_stalled(self.losses, STALLED_AFTER, STALLED_IMPROVEMENT)

    def start_again(self, parameters: NetworkParameters) -> bool:
        """Begin anew from `parameters`, more cautiously; False if that was done enough."""
        if not self.restarts:
            return False
        self.restarts -= 1
        self.change *= CAUTION
        network = self.network
        with torch.no_grad():
            network.step_sizes.copy_(torch.tensor(parameters.step_sizes))
            network.weight.fill_(parameters.weight)
            network.threshold.fill_(parameters.threshold_photons)
            network.coupling.fill_(parameters.coupling)
            for name, value in parameters.penalty_parameters.items():
                network.penalty_parameters[name].fill_(value)
        self._begin()
        return True

    def _evaluate(self, backward: bool, check: Check) -> torch.Tensor:
        """Loss over the whole training set, with or without its gradient."""
        network, unfold_ = self.network, unrolled if backward else final_iterate

        def run(part: TrainingSet) -> torch.Tensor:
            return unfold_(network, part.y, part.b, check, part.follows)

        return self.training.loss(run, self.loss, network.threshold, backward=backward)


def _groups(
    network: UnfoldedNetwork, start: NetworkParameters, training: TrainingSet
) -> list[dict[str, Any]]:
    """Box constraints and scales of all parameters."""
    molecule = start.reference.molecule_photons
    step = max(start.step_sizes)
    # K steps that change together count as one parameter
    together = math.sqrt(start.iterations)
    largest_weight = network.fidelity.weight_bound(network.operator, training.y, training.b)
    brightest = float(training.truth.max())
    boxes = {
        "step_sizes": (1e-3 * step, LARGEST_STEP * step, together * step),
        "weight": (1e-4 * start.weight, max(largest_weight, start.weight), start.weight),
        "threshold": (1e-3 * molecule, 0.5 * brightest, start.threshold_photons),
        # a coupling of one is the first to be felt
        "coupling": (0.0, MAX_COUPLING, max(start.coupling, 1.0)),
    }
    for name, learnable in network.penalty_class.learnables().items():
        unit = learnable.unit(molecule)
        boxes[f"penalty_parameters.{name}"] = (
            learnable.lower * unit, learnable.upper * unit, start.penalty_parameters[name]
        )  # fmt: skip
    return boxed(network.named_parameters(), boxes)


def _explain(outcome: Outcome) -> Iterator[Event]:
    texts = {
        "stalled": "The loss has stopped falling; the training is complete",
        "zero": "The training ended in empty images; the best parameters before that are kept. "
        "The tolerant loss has no such trap",
        "diverged": "The training diverged; the best parameters before that are kept",
    }
    if outcome in texts:
        yield Note(texts[outcome])
