"""Learning the parameters by back-propagation through all iterations.

This is the upper level of the bilevel problem, equation (5); the network is the lower one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from napari_unfold.imaging.forward import ForwardOperator
from napari_unfold.jobs import (
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
from napari_unfold.learning.free_steps import StepLearner
from napari_unfold.learning.losses import Loss
from napari_unfold.learning.schedules import ScheduleLearner, scheduled
from napari_unfold.learning.starting_point import best_start
from napari_unfold.learning.state import TrainingState
from napari_unfold.settings.training import Method
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.parameters import NetworkParameters

Outcome = Literal["learned", "stalled", "zero", "diverged"]


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
    state : TrainingState
        From which it can be gone on with.
    """

    parameters: NetworkParameters
    history: list[Metrics]
    best: int
    outcome: Outcome
    state: TrainingState


def train(
    operator: ForwardOperator,
    start: NetworkParameters,
    training: TrainingSet,
    validation: TrainingSet,
    loss: Loss,
    *,
    method: Method = "paper",
    outer_iterations: int = 40,
    search_start: bool = True,
    whiten: bool = False,
    resume: TrainingState | None = None,
    seed: int = 0,
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
    method : {"schedules", "paper"}
        Schedules on a few knots, learned by Adam (`learning.schedules`), or K free steps and one
        weight, by scaled gradient projection (`learning.free_steps`).
    outer_iterations : int
        Learning steps.
    search_start : bool
        Try several weights and thresholds and start from the best.
    whiten : bool
        Whether the search may start from a whitened misfit, which bright frames need fewer
        iterations for, but which runs several times slower on a CPU.
    resume : TrainingState, optional
        Go on with a training on the same frames, which ends as if it had not been interrupted; one
        that was at its end gets as many steps again.
    seed : int
        Of the choice of the frames that a step of Adam learns from.

    Yields
    ------
    Event
        `Metric` and `Checkpoint` (holding a `Trained`) at every outer iteration.

    Returns
    -------
    Trained
    """
    if method == "schedules":
        start = scheduled(start)
    if resume:
        start = resume.start
    elif search_start:
        start = yield from best_start(operator, start, training, loss, whiten=whiten)
    network = UnfoldedNetwork(operator, start, dtype=training.y.dtype, device=training.y.device)
    history = [] if resume is None else resume.metrics()
    first, last = len(history), outer_iterations
    if first > last:
        last += first - 1
    learner: StepLearner | ScheduleLearner = (
        StepLearner(network, start, training, loss)
        if method == "paper"
        else ScheduleLearner(network, start, training, loss, last, seed)
    )
    if resume:
        learner.restore(resume.learner)
    yield Stage("Learning")

    def stands(outcome: Outcome) -> Trained:
        state = TrainingState.of(start, best, best_iteration, history, learner.state())
        return Trained(best, list(history), best_iteration, outcome, state)

    best, best_iteration, best_worth = start, 0, -math.inf
    if resume:
        best, best_iteration = resume.best, resume.best_iteration
        best_worth = worth(history[best_iteration], loss)
    outcome: Outcome = "learned"
    for iteration in range(first, last + 1):
        value = yield from in_background(learner.step if iteration else learner.loss_at_start)
        x = yield from in_background(partial(unfold, network, validation))
        metrics = replace(appraise(network, validation, x, loss), training_loss=value)
        history.append(metrics)
        yield Progress(iteration, last)
        yield Metric(iteration, metrics)
        if worth(metrics, loss) > best_worth:
            best, best_iteration = learned_parameters(network, start), iteration
            best_worth = worth(metrics, loss)
            yield Checkpoint(stands("learned"))
            yield Preview(x[0].cpu().numpy())
        diverged = not math.isfinite(metrics.validation_loss)
        empty = metrics.filled_pixels == 0
        if (diverged or empty or learner.is_stalled()) and not learner.start_again(best):
            outcome = "diverged" if diverged else "zero" if empty else "stalled"
            break
    yield from _explain(outcome)
    return stands(outcome)


def learned_parameters(network: UnfoldedNetwork, start: NetworkParameters) -> NetworkParameters:
    """Return the present values of a network as plain numbers."""
    return start.model_copy(
        update={
            "step_sizes": network.step_sizes.tolist(),
            "weight": network.weight.item(),
            "threshold_photons": network.threshold.item(),
            "penalty_parameters": {n: p.item() for n, p in network.penalty_parameters.items()},
            "coupling": network.coupling.item(),
            "whitening": None if network.whitening is None else network.whitening.item(),
            "schedules": {n: p.tolist() for n, p in network.schedules.items()},
        }
    )


def _explain(outcome: Outcome) -> Iterator[Event]:
    texts = {
        "stalled": "The loss has stopped falling; the training is complete",
        "zero": "The training ended in empty images; the best parameters before that are kept. "
        "The tolerant loss has no such trap",
        "diverged": "The training diverged; the best parameters before that are kept",
    }
    if outcome in texts:
        yield Note(texts[outcome])
