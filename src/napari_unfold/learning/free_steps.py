"""The paper's upper level: K free steps and one weight, learned by scaled gradient projection."""

from __future__ import annotations

import math
from typing import Any

import torch

from napari_unfold.jobs import Check
from napari_unfold.learning.appraisal import TrainingSet
from napari_unfold.learning.losses import Loss
from napari_unfold.learning.sgp import SGP, boxed
from napari_unfold.unfolding.backward import unrolled
from napari_unfold.unfolding.inference import final_iterate
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.parameters import MAX_COUPLING, NetworkParameters

STALLED_AFTER = 4
STALLED_IMPROVEMENT = 2e-3
BALANCE = 10.0
LARGEST_STEP = 2.0
"""Upper bound of the step sizes in units of those at the start. With 3, one of forty test frames
blew up that the training frames had not warned of."""

FIRST_CHANGE, RESTARTS, CAUTION = 0.1, 2, 0.25
"""Largest relative change in the first learning step, the number of new starts after a stall, and
the factor by which each makes smaller changes."""


class StepLearner:
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

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to go on as if nothing had happened, ready for JSON."""
        values = {name: p.tolist() for name, p in self.network.named_parameters()}
        return {
            "values": values, "losses": self.losses, "restarts": self.restarts,
            "change": self.change, "solver": self.optimizer.memory(),
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.restarts, self.change = state["restarts"], state["change"]
        with torch.no_grad():
            for name, value in state["values"].items():
                self.network.get_parameter(name).copy_(torch.tensor(value))
        self._begin()
        self.losses = list(state["losses"])
        self.optimizer.remember(state["solver"])

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


def has_stalled(losses: list[float], after: int, improvement: float) -> bool:
    """Whether the last `after` steps lowered the loss by less than a share `improvement`."""
    if len(losses) <= after:
        return False
    before, now = losses[-1 - after], losses[-1]
    return before - now < improvement * abs(before)
