"""Learning the parameters by back-propagation through all iterations (bilevel optimisation)."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unfold.analysis.evaluate import jaccard_on_grid
from napari_unfold.imaging.forward import ForwardOperator
from napari_unfold.jobs import (
    Checkpoint,
    Event,
    Job,
    Metric,
    Note,
    Preview,
    Progress,
    Result,
    Stage,
)
from napari_unfold.unfolding.inference import final_iterate
from napari_unfold.unfolding.losses import Loss
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.parameters import NetworkParameters
from napari_unfold.unfolding.sgp import SGP

Outcome = Literal["learned", "stalled", "zero", "diverged"]

TOLERANCES_PX = (0.0, 2.0, 4.0)
"""Fine pixels; the Jaccard index that is shown is the mean over them, as in the paper."""

WEIGHTS, THRESHOLDS = (0.05, 0.1, 0.3), (0.03, 0.1, 0.3)
"""Starting points: fractions of the largest weight and of a typical molecule's photons."""

STALLED_AFTER = 6
STALLED_IMPROVEMENT = 1e-3
FRAMES_AT_ONCE = 8
BALANCE = 10.0
LARGEST_STEP = 2.0
"""Upper bound of the step sizes in units of those at the start."""


@dataclass(frozen=True)
class TrainingSet:
    """Frames with known molecules.

    Attributes
    ----------
    y : tensor (R, Y, X)
        Frames in photons.
    b : tensor (Y, X)
        Background in photons.
    truth : tensor (R, qY, qX)
        Photons of the true molecules per fine pixel.
    """

    y: torch.Tensor
    b: torch.Tensor
    truth: torch.Tensor

    def __len__(self) -> int:
        return len(self.y)

    def split(self, validation_share: float = 0.25) -> tuple[TrainingSet, TrainingSet]:
        """Return the first frames for training and the last, at least one, for validation."""
        held_out = max(1, round(validation_share * len(self)))
        n = len(self) - held_out
        return (
            TrainingSet(self.y[:n], self.b, self.truth[:n]),
            TrainingSet(self.y[n:], self.b, self.truth[n:]),
        )


@dataclass(frozen=True)
class Trained:
    """Learned parameters and how they came about.

    Attributes
    ----------
    parameters : NetworkParameters
        Those with the smallest validation loss.
    history : list of dict
        Metrics of every outer iteration; the first is that of the start.
    outcome : str
        Why the training ended.
    """

    parameters: NetworkParameters
    history: list[dict[str, float]]
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
) -> Job:
    """Learn step sizes, weight, threshold and the bend of the log-sum penalty.

    Parameters
    ----------
    operator : ForwardOperator
    start : NetworkParameters
        Where to start; its reference says what data it is for.
    training, validation : TrainingSet
        Validation frames decide which iteration is kept, and are not learned from.
    loss : Loss
    outer_iterations : int
        Steps of the scaled gradient projection.
    search_start : bool
        Try several weights and thresholds and start from the best.

    Yields
    ------
    Event
        `Metric` and `Checkpoint` (holding a `Trained`) at every outer iteration; the last is a
        `Result` that holds a `Trained`.
    """
    if search_start:
        start = yield from _best_start(operator, start, training, loss)
    network = UnfoldedNetwork(operator, start, dtype=training.y.dtype, device=training.y.device)
    optimizer = SGP(_groups(network, start, training), first_step=0.1, balance=BALANCE)
    closure = _TrainingLoss(network, training, loss)
    yield Stage("Learning")
    best, best_loss = start, math.inf
    outcome: Outcome = "learned"
    history: list[dict[str, float]] = []
    value = closure(False).item()
    for iteration in range(outer_iterations + 1):
        if iteration > 0:
            value = optimizer.step(closure)
        x = _reconstructed(network, validation)
        metrics = _metrics(network, validation, x, loss) | {"training loss": value}
        history.append(metrics)
        yield Progress(iteration, outer_iterations)
        yield Metric(iteration, metrics)
        if not math.isfinite(metrics["validation loss"]):
            outcome = "diverged"
            break
        if metrics["validation loss"] < best_loss:
            best, best_loss = learned_parameters(network, start), metrics["validation loss"]
            yield Checkpoint(Trained(best, list(history), outcome))
            yield Preview(x[0])
        if _is_stalled(history):
            outcome = "stalled"
            break
    if history[-1]["filled pixels"] == 0:
        outcome = "zero"
    yield from _explain(outcome)
    yield Result(Trained(best, history, outcome))


def learned_parameters(network: UnfoldedNetwork, start: NetworkParameters) -> NetworkParameters:
    """Return the present values of a network as plain numbers."""
    return start.model_copy(
        update={
            "step_sizes": network.step_sizes.tolist(),
            "weight": network.weight.item(),
            "threshold_photons": network.threshold.item(),
            "sparsity_photons": None if network.sparsity is None else network.sparsity.item(),
        }
    )


def _reconstructed(network: UnfoldedNetwork, frames: TrainingSet) -> NDArray[np.float32]:
    """Run the network over a few frames."""
    return np.concatenate(
        [final_iterate(network, part.y, part.b).cpu().numpy() for part in _parts(frames)]
    )


def _parts(frames: TrainingSet) -> Iterator[TrainingSet]:
    for i in range(0, len(frames), FRAMES_AT_ONCE):
        part = slice(i, i + FRAMES_AT_ONCE)
        yield TrainingSet(frames.y[part], frames.b, frames.truth[part])


class _TrainingLoss:
    """Loss over the whole training set, part by part, with or without its gradient."""

    def __init__(self, network: UnfoldedNetwork, training: TrainingSet, loss: Loss) -> None:
        self.network, self.training, self.loss = network, training, loss

    def __call__(self, backward: bool) -> torch.Tensor:
        total = torch.zeros(())
        for part in _parts(self.training):
            share = len(part) / len(self.training)
            unfold = self.network.checkpointed if backward else partial(final_iterate, self.network)
            x = unfold(part.y, part.b)
            value = share * self.loss(x, part.truth, self.network.threshold)
            if backward:
                value.backward()  # type: ignore[no-untyped-call]
            total = total + value.detach().cpu()
        return total


def _groups(
    network: UnfoldedNetwork, start: NetworkParameters, training: TrainingSet
) -> list[dict[str, object]]:
    """Box constraints and scales of all parameters."""
    molecule = start.reference.molecule_photons
    step = max(start.step_sizes)
    # above this weight the zero image is the solution (20); for KL a bound by experience
    light = float(network.operator.adjoint(training.y - training.b).amax())
    largest_weight = light if start.fidelity == "gaussian" else 10.0
    brightest = float(training.truth.max())
    bounds = {
        "step_sizes": (1e-3 * step, LARGEST_STEP * step, step),
        "weight": (1e-4 * start.weight, max(largest_weight, start.weight), start.weight),
        "threshold": (1e-3 * molecule, 0.5 * brightest, start.threshold_photons),
        "sparsity": (1e-3 * molecule, 1e2 * molecule, start.sparsity_photons or molecule),
    }
    return [
        {"params": [parameter], "lower": bounds[name][0], "upper": bounds[name][1],
         "scale": bounds[name][2]}
        for name, parameter in network.named_parameters()
    ]  # fmt: skip


def _best_start(
    operator: ForwardOperator, start: NetworkParameters, training: TrainingSet, loss: Loss
) -> Generator[Event, None, NetworkParameters]:
    """Return the weight and threshold of smallest loss on a few frames, all else as given."""
    yield Stage("Looking for a starting point")
    few = TrainingSet(training.y[:FRAMES_AT_ONCE], training.b, training.truth[:FRAMES_AT_ONCE])
    largest = start.reference.largest_weight(start.fidelity)
    molecule = start.reference.molecule_photons
    found: list[tuple[float, NetworkParameters]] = []
    for i, weight in enumerate(WEIGHTS):
        trial = start.model_copy(update={"weight": weight * largest})
        network = UnfoldedNetwork(operator, trial, dtype=few.y.dtype, device=few.y.device)
        x = final_iterate(network, few.y, few.b)
        for share in THRESHOLDS:
            threshold = share * molecule
            value = loss(x, few.truth, torch.tensor(threshold)).item()
            if math.isfinite(value) and bool((x > threshold).any()):
                found.append((value, trial.model_copy(update={"threshold_photons": threshold})))
        yield Progress(i + 1, len(WEIGHTS))
    if not found:
        yield Note("No starting point gave molecules; starting from the classical parameters")
        return start
    return min(found, key=lambda pair: pair[0])[1]


def _metrics(
    network: UnfoldedNetwork, frames: TrainingSet, x: NDArray[np.float32], loss: Loss
) -> dict[str, float]:
    threshold = network.threshold.item()
    images = torch.as_tensor(x, device=frames.y.device)
    value = loss(images, frames.truth, network.threshold.detach()).item()
    truth = frames.truth.cpu().numpy()
    jaccard = [jaccard_on_grid(x, truth, threshold, t) for t in TOLERANCES_PX]
    metrics = {
        "validation loss": value,
        "weight": network.weight.item(),
        "threshold": threshold,
        "Jaccard index": float(np.mean(jaccard)),
        "filled pixels": float((x > threshold).sum()),
    }
    if network.sparsity is not None:
        metrics["sparsity"] = network.sparsity.item()
    return metrics


def _is_stalled(history: list[dict[str, float]]) -> bool:
    """Whether the training loss has stopped falling."""
    if len(history) <= STALLED_AFTER:
        return False
    before, now = history[-1 - STALLED_AFTER]["training loss"], history[-1]["training loss"]
    return before - now < STALLED_IMPROVEMENT * abs(before)


def _explain(outcome: Outcome) -> Iterator[Event]:
    texts = {
        "stalled": "The loss has stopped falling; the training is complete",
        "zero": "The training ended in empty images: start from a smaller weight or threshold, or "
        "choose the tolerant loss, which has no such trap",
        "diverged": "The training diverged; the best parameters before that are kept",
    }
    if outcome in texts:
        yield Note(texts[outcome])
