"""Few parameters for many iterations: schedules on knots, learned in log space by Adam.

Step sizes, weight and bend of the penalty change slowly over the K iterations, so that each is told
by its logarithm at a few knots, with straight lines between them. In these coordinates every
parameter is positive, and a change of 0.1 is one of ten percent, whatever the parameter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from napari_unfold.jobs import Check
from napari_unfold.learning.appraisal import FRAMES_AT_ONCE, TrainingSet
from napari_unfold.learning.losses import LocalizationLoss, Loss, TolerantLoss
from napari_unfold.unfolding.backward import unrolled
from napari_unfold.unfolding.inference import final_iterate
from napari_unfold.unfolding.metric import RESERVE_PIXELS
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.parameters import MAX_COUPLING, MIN_WHITENING, NetworkParameters
from napari_unfold.unfolding.penalty import penalty_named

KNOTS = 6
BEGINNING = 0.6
"""Share of the iterations, and of the learning steps, after which nothing is special any more."""

FIRST_SOFTNESS = 2.0
"""Softness of the first learning step, in units of that of the loss."""

RATE = 0.03
"""Change of a logarithm in one learning step, at first; it falls to a tenth of that. With 0.1 the
loss first rises far above that of the start where frames are noisy."""

LARGEST_STEP = 1.6
"""In units of the steps that suit every pixel, which are cautious ones."""

INERTIAS = (0.3, 1.6)
"""Bounds of the inertia in units of the sequence of the paper."""

LARGEST_WHITENING = 10.0
"""With it the misfit is that of least squares but for a few percent."""

CAUTION, RESTARTS = 0.3, 2


@dataclass(frozen=True)
class Curve:
    """Logarithms of a parameter at its knots.

    Attributes
    ----------
    knots : tensor (n,)
    lower, upper : float
        Bounds of the parameter.
    """

    knots: torch.Tensor
    lower: float
    upper: float

    def project(self) -> None:
        """Put the knots back within the bounds."""
        with torch.no_grad():
            self.knots.clamp_(math.log(self.lower), math.log(self.upper))


def _number(value: float, lower: float, upper: float) -> Curve:
    """Return the curve of a parameter that is the same in all iterations."""
    return Curve(torch.tensor([math.log(value)], dtype=torch.float64), lower, upper)


def interpolation(iterations: int, knots: int = KNOTS) -> torch.Tensor:
    """Return the matrix ``(K, knots)`` from values at even knots to values of iterations."""
    position = torch.linspace(0.0, knots - 1.0, iterations, dtype=torch.float64)
    return (1.0 - (position[:, None] - torch.arange(knots)).abs()).clamp(min=0.0)


def scheduled(parameters: NetworkParameters) -> NetworkParameters:
    """Return classical parameters for a network that will have schedules.

    Its steps suit every pixel, the weight is the same all over, and the penalty begins as one that
    does not yet decide where there is light, which takes the place of iterations with the l1 norm.
    """
    if parameters.reserve_pixels is not None:
        return parameters
    iterations = parameters.iterations
    passed = torch.linspace(0.0, 1.0, iterations)
    early = (1.0 - passed / BEGINNING).clamp(min=0.0)
    schedules = {"weight": [1.0] * iterations, "inertia": [1.0] * iterations}
    for name, learnable in penalty_named(parameters.penalty).learnables().items():
        schedules[name] = (learnable.early**early).tolist()
    return parameters.model_copy(
        update={
            "step_sizes": [1.0] * iterations,
            "reserve_pixels": RESERVE_PIXELS,
            "l1_iterations": 0,
            "schedules": schedules,
        }
    )


def softened(loss: Loss, share: float) -> Loss:
    """Return a loss for the learning step after a `share` of all: softer at first, then itself."""
    if not isinstance(loss, LocalizationLoss | TolerantLoss):
        return loss
    factor = FIRST_SOFTNESS ** max(0.0, 1.0 - share / BEGINNING)
    return replace(loss, softness=min(factor * loss.softness, 0.9))


class ScheduleLearner:
    """Adam on the knots, each learning step on a few of the training frames.

    Parameters
    ----------
    network : UnfoldedNetwork
        With schedules (`scheduled`).
    start : NetworkParameters
        What its parameters are at the start.
    training : TrainingSet
    loss : Loss
    steps : int
        Learning steps there will be.
    seed : int
        Of the choice of frames.
    """

    def __init__(
        self,
        network: UnfoldedNetwork,
        start: NetworkParameters,
        training: TrainingSet,
        loss: Loss,
        steps: int,
        seed: int = 0,
    ) -> None:
        self.network, self.start, self.training, self.loss = network, start, training, loss
        self.steps, self.done = steps, 0
        self.rate, self.restarts = RATE, RESTARTS
        self.seed = seed
        self.to_iterations = interpolation(start.iterations, min(KNOTS, start.iterations))
        self._begin(start)

    def _begin(self, at: NetworkParameters) -> None:
        self.curves = self._curves(at)
        self.log_support = torch.tensor(math.log1p(at.coupling), dtype=torch.float64)
        knots = [curve.knots.requires_grad_() for curve in self.curves.values()]
        if self.training.in_sequence:
            knots.append(self.log_support.requires_grad_())
        self.optimizer = torch.optim.Adam(knots, lr=self.rate, betas=(0.9, 0.95))
        self._put()

    def _curves(self, at: NetworkParameters) -> dict[str, Curve]:
        network, molecule = self.network, at.reference.molecule_photons
        unit = 1.0 if at.reserve_pixels is not None else max(self.start.step_sizes)
        largest = network.fidelity.weight_bound(network.operator, self.training.y, self.training.b)
        brightest = float(self.training.truth.max())
        curves = {
            "step_sizes": self._curve(at.step_sizes, 1e-2 * unit, LARGEST_STEP * unit),
            "weight": self._curve(
                [at.weight * f for f in at.schedules["weight"]],
                1e-4 * self.start.weight, max(largest, self.start.weight),
            ),
            "schedules.inertia": self._curve(at.schedules["inertia"], *INERTIAS),
            "threshold": _number(at.threshold_photons, 1e-3 * molecule, 0.5 * brightest),
        }  # fmt: skip
        if at.whitening is not None:
            curves["whitening"] = _number(at.whitening, MIN_WHITENING, LARGEST_WHITENING)
        for name, learnable in network.penalty_class.learnables().items():
            of_one = learnable.unit(molecule)
            values = [at.penalty_parameters[name] * f for f in at.schedules[name]]
            curves[name] = self._curve(values, learnable.lower * of_one, learnable.upper * of_one)
        return curves

    def _curve(self, values: list[float], lower: float, upper: float) -> Curve:
        logs = torch.tensor(values, dtype=torch.float64).log()
        return Curve(torch.linalg.lstsq(self.to_iterations, logs).solution, lower, upper)

    def values(self) -> dict[str, torch.Tensor]:
        """Return what the network's parameters are for the present knots, by their names."""
        out = {}
        for name, curve in self.curves.items():
            if len(curve.knots) == 1:
                out[name] = curve.knots[0].exp()
                continue
            logs = self.to_iterations @ curve.knots
            if name in {"step_sizes", "schedules.inertia"}:
                out[name] = logs.exp()
                continue
            # the value of the last iteration, and factors that end with one
            key = name if name == "weight" else f"penalty_parameters.{name}"
            out[key] = logs[-1].exp()
            out[f"schedules.{name}"] = (logs - logs[-1]).exp()
        if self.training.in_sequence:
            out["coupling"] = self.log_support.expm1()
        return out

    def _put(self) -> dict[str, torch.Tensor]:
        """Give the network the present values."""
        values = self.values()
        with torch.no_grad():
            for name, value in values.items():
                self.network.get_parameter(name).copy_(value)
        return values

    def loss_at_start(self, check: Check) -> float:
        """Training loss before anything is learned."""
        network = self.network
        return self.training.loss(
            lambda p: final_iterate(network, p.y, p.b, check, p.follows),
            self.loss, network.threshold, backward=False,
        ).item()  # fmt: skip

    def step(self, check: Check) -> float:
        """Take a learning step; returns the loss before it, on the frames that it learned from.

        That is not a number, and nothing is changed, where the network diverged.
        """
        network, values = self.network, self._put()
        share = min(self.done / max(self.steps - 1, 1), 1.0)
        network.zero_grad()
        value = self._some_frames().loss(
            lambda p: unrolled(network, p.y, p.b, check, p.follows),
            softened(self.loss, share), network.threshold, backward=True,
        )  # fmt: skip
        self.optimizer.zero_grad()
        gradients = {name: network.get_parameter(name).grad for name in values}
        known = {n: g.to(torch.float64).cpu() for n, g in gradients.items() if g is not None}
        if not all(torch.isfinite(gradient).all() for gradient in known.values()):
            return math.nan
        torch.autograd.backward([values[n] for n in known], list(known.values()))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * 0.1**share
        self.optimizer.step()
        self.done += 1
        for curve in self.curves.values():
            curve.project()
        with torch.no_grad():
            self.log_support.clamp_(0.0, math.log1p(MAX_COUPLING))
        self._put()
        return value.item()

    def _some_frames(self) -> TrainingSet:
        """Choose frames that follow each other."""
        room = len(self.training) - FRAMES_AT_ONCE
        if room <= 0:
            return self.training
        choice = torch.Generator().manual_seed(1000 * self.seed + self.done)
        first = int(torch.randint(room + 1, (1,), generator=choice))
        return self.training[first : first + FRAMES_AT_ONCE]

    def is_stalled(self) -> bool:
        """Whether nothing more can be learned: the steps there are end it, nothing else."""
        return False

    def start_again(self, parameters: NetworkParameters) -> bool:
        """Begin anew from `parameters`, more cautiously; False if that was done enough."""
        if not self.restarts:
            return False
        self.restarts -= 1
        self.rate *= CAUTION
        self._begin(parameters)
        return True

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to go on as if nothing had happened, ready for JSON."""
        knots = {name: curve.knots.tolist() for name, curve in self.curves.items()}
        moments = [
            {name: value.tolist() for name, value in self.optimizer.state[p].items()}
            for group in self.optimizer.param_groups
            for p in group["params"]
            if p in self.optimizer.state
        ]
        return {
            "knots": knots, "log_support": self.log_support.item(), "moments": moments,
            "rate": self.rate, "restarts": self.restarts, "done": self.done,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.rate, self.restarts, self.done = state["rate"], state["restarts"], state["done"]
        self._begin(self.start)
        with torch.no_grad():
            for name, curve in self.curves.items():
                curve.knots.copy_(torch.tensor(state["knots"][name], dtype=torch.float64))
            self.log_support.fill_(state["log_support"])
        learned = [p for group in self.optimizer.param_groups for p in group["params"]]
        for p, moments in zip(learned, state["moments"], strict=False):  # none before the first
            self.optimizer.state[p] = {
                name: torch.tensor(value, dtype=torch.float32 if name == "step" else p.dtype)
                for name, value in moments.items()
            }
        self._put()
