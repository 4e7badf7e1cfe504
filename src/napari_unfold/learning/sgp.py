"""Scaled gradient projection: the solver of the upper level.

S. Bonettini, R. Zanella, L. Zanni, *A scaled gradient projection method for constrained image
deblurring*, Inverse Problems 25 (2009). ``theta <- theta + nu (P(theta - rho D grad) - theta)``
with box constraints P, a positive diagonal scaling D, a step rho from the two Barzilai-Borwein
rules in turn, and nonmonotone Armijo backtracking on nu.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import torch

ARMIJO = 1e-4
BACKTRACKING = 0.4
MAX_BACKTRACKS = 20
SWITCH_START = 0.5
STEP_RANGE = (1e-8, 1e8)
SHORT_STEP_MEMORY = 3


Box = tuple[float, float, float]
"""Lower bound, upper bound and scale of a group of parameters."""


def boxed(
    parameters: Iterable[tuple[str, torch.nn.Parameter]], boxes: dict[str, Box]
) -> list[dict[str, Any]]:
    """Return named parameters as groups for `SGP`, each in the box of its name."""
    groups = []
    for name, parameter in parameters:
        lower, upper, scale = boxes[name]
        groups.append({"params": [parameter], "lower": lower, "upper": upper, "scale": scale})
    return groups


class SGP(torch.optim.Optimizer):
    """Scaled gradient projection with box constraints, for deterministic losses.

    Parameters
    ----------
    params : iterable of dict
        Groups with the keys ``params``, ``lower``, ``upper`` (numbers) and ``scale``: the size of
        change that matters for that group. The diagonal of D is ``scale^2``, as if every group
        were measured in units of its scale.
    balance : float
        Groups that hardly matter at the start get their scale enlarged, by up to this factor, so
        that the most sensitive group (in our case the threshold) does not hold back the others.
    memory : int
        The loss may rise, but not above the largest of this many last ones.
    first_step : float
        Largest change of any parameter in the first iteration, in units of its scale.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        memory: int = 5,
        first_step: float = 0.2,
        balance: float = 1.0,
    ) -> None:
        super().__init__(params, {"lower": 0.0, "upper": float("inf"), "scale": 1.0})
        self.first_step, self.balance = first_step, balance
        self.recent_losses: deque[float] = deque(maxlen=memory)
        self.short_steps: deque[float] = deque(maxlen=SHORT_STEP_MEMORY)
        self.switch = SWITCH_START
        self.rho: float | None = None
        self.previous: tuple[list[torch.Tensor], list[torch.Tensor]] | None = None

    def step(self, closure: Callable[[bool], torch.Tensor]) -> float:  # type: ignore[override]
        """Take one step.

        Parameters
        ----------
        closure : callable
            ``closure(True)`` returns the loss and leaves its gradient in the parameters,
            ``closure(False)`` returns the loss alone.

        Returns
        -------
        float
            The loss after the step. Equal to the loss before it if no acceptable step was found.
        """
        self.zero_grad()
        with torch.enable_grad():
            loss = closure(True).item()
        if not self.recent_losses:
            self.recent_losses.append(loss)
        with torch.no_grad():
            theta = [p.detach().clone() for p in self._parameters()]
            gradient = [
                torch.zeros_like(p) if p.grad is None else p.grad.detach().clone()
                for p in self._parameters()
            ]
            rho = self._barzilai_borwein(theta, gradient)
            direction = self._projected_direction(theta, gradient, rho)
            self.previous = (theta, gradient)
            return self._line_search(closure, loss, theta, gradient, direction)

    def memory(self) -> dict[str, Any]:
        """Return what the solver knows from earlier steps, ready for JSON."""
        previous = self.previous and [[t.tolist() for t in part] for part in self.previous]
        return {
            "recent_losses": list(self.recent_losses), "short_steps": list(self.short_steps),
            "switch": self.switch, "rho": self.rho, "previous": previous,
            "scales": [group["scale"] for group in self.param_groups],
        }  # fmt: skip

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on with the `memory` of a solver of the same parameters."""
        self.recent_losses.extend(memory["recent_losses"])
        self.short_steps.extend(memory["short_steps"])
        self.switch, self.rho = memory["switch"], memory["rho"]
        for group, scale in zip(self.param_groups, memory["scales"], strict=True):
            group["scale"] = scale
        if memory["previous"]:
            theta, gradient = (
                [p.new_tensor(values) for p, values in zip(self._parameters(), part, strict=True)]
                for part in memory["previous"]
            )
            self.previous = theta, gradient

    def _parameters(self) -> list[torch.Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _scales(self) -> list[float]:
        return [group["scale"] for group in self.param_groups for _ in group["params"]]

    def _projected_direction(
        self, theta: list[torch.Tensor], gradient: list[torch.Tensor], rho: float
    ) -> list[torch.Tensor]:
        boxes = [(g["lower"], g["upper"]) for g in self.param_groups for _ in g["params"]]
        return [
            (t - rho * d**2 * g).clamp(*box) - t
            for t, g, d, box in zip(theta, gradient, self._scales(), boxes, strict=True)
        ]

    def _barzilai_borwein(self, theta: list[torch.Tensor], gradient: list[torch.Tensor]) -> float:
        """Return the step length: the shorter rule after good agreement, else the longer one."""
        if self.previous is None or self.rho is None:
            self._balance(gradient)
            moves = (d * g for d, g in zip(self._scales(), gradient, strict=True))
            self.rho = self.first_step / max(*(float(m.abs().max()) for m in moves), 1e-300)
            return self.rho
        scales = self._scales()
        old_theta, old_gradient = self.previous
        # in units of the scales, so that D is the identity
        s = torch.cat(
            [((t - o) / d).flatten() for t, o, d in zip(theta, old_theta, scales, strict=True)]
        )
        w = torch.cat(
            [
                ((g - o) * d).flatten()
                for g, o, d in zip(gradient, old_gradient, scales, strict=True)
            ]
        )
        curvature = float(s @ w)
        if curvature <= 0:
            self.rho = min(10.0 * self.rho, STEP_RANGE[1])
            return self.rho
        long = min(max(float(s @ s) / curvature, STEP_RANGE[0]), STEP_RANGE[1])
        short = min(max(curvature / float(w @ w), STEP_RANGE[0]), STEP_RANGE[1])
        self.short_steps.append(short)
        if short / long <= self.switch:
            self.rho, self.switch = min(self.short_steps), 0.9 * self.switch
        else:
            self.rho, self.switch = long, 1.1 * self.switch
        return self.rho

    def _balance(self, gradient: list[torch.Tensor]) -> None:
        """Enlarge the scales of groups whose scaled gradient is small beside the largest."""
        each = iter(gradient)
        sizes = [
            group["scale"] * max(float(next(each).abs().max()) for _ in group["params"])
            for group in self.param_groups
        ]
        for group, size in zip(self.param_groups, sizes, strict=True):
            factor = math.sqrt(max(sizes) / size) if size > 0 else self.balance
            group["scale"] *= min(factor, self.balance)

    def _line_search(
        self,
        closure: Callable[[bool], torch.Tensor],
        loss: float,
        theta: list[torch.Tensor],
        gradient: list[torch.Tensor],
        direction: list[torch.Tensor],
    ) -> float:
        slope = sum(float((g * d).sum()) for g, d in zip(gradient, direction, strict=True))
        limit = max(self.recent_losses)
        nu = 1.0
        for _ in range(MAX_BACKTRACKS):
            self._set([t + nu * d for t, d in zip(theta, direction, strict=True)])
            trial = closure(False).item()
            if trial <= limit + ARMIJO * nu * slope:  # not true for nan either
                self.recent_losses.append(trial)
                return trial
            nu *= BACKTRACKING
        self._set(theta)
        return loss

    def _set(self, values: list[torch.Tensor]) -> None:
        for parameter, value in zip(self._parameters(), values, strict=True):
            parameter.copy_(value)
