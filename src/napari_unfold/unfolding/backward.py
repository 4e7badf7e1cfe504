"""The derivative of ``x^K`` by the parameters, written out instead of recorded.

The gradient is carried backwards through Algorithm 1 by the chain rule of the paper, equation (8)
with the derivatives of one iteration in equation (9), equation (10), equation (11) and
equation (12). It goes block by block of iterations: only the ends of the blocks are kept on the way
forward, and a block is computed again when it is needed. Equal to `checkpointed`, the reference,
with a third of its memory and in less time; the operator is fixed.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from napari_unfold.unfolding.coupling import (
    light_of_neighbours,
    remitted_curvature,
    remitted_slope,
    support,
)
from napari_unfold.unfolding.inference import Tick, coupled_iterates
from napari_unfold.unfolding.network import LARGEST_INERTIA, UnfoldedNetwork, inertia
from napari_unfold.unfolding.projection import projection_slope, smoothed_projection


def unrolled(
    network: UnfoldedNetwork,
    y: torch.Tensor,
    b: torch.Tensor,
    tick: Tick | None = None,
    follows: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return ``x^K`` with its gradient by the parameters of the network.

    Parameters
    ----------
    network : UnfoldedNetwork
    y : tensor (..., Y, X)
        Frames in photons.
    b : tensor (..., Y, X)
        Background in photons, positive for the KL fidelity.
    tick : callable, optional
        Called at every iteration, forwards and backwards; may raise to stop.
    follows : tensor (T,), bool, optional
        As in `UnfoldedNetwork.iterates`.

    Returns
    -------
    tensor (..., qY, qX)
    """
    theta = network.parameters()
    x: torch.Tensor = _Unrolled.apply(network, y, b, follows, tick or _nothing, *theta)  # type: ignore[no-untyped-call]
    return x


def _nothing() -> None:
    pass


class _Unrolled(torch.autograd.Function):
    """Algorithm 1 and its adjoint."""

    @staticmethod
    def forward(
        ctx: Any,
        network: UnfoldedNetwork,
        y: torch.Tensor,
        b: torch.Tensor,
        follows: torch.Tensor | None,
        tick: Tick,
        *_: torch.Tensor,
    ) -> torch.Tensor:
        block = math.ceil(math.sqrt(len(network.step_sizes)))
        x = previous = torch.zeros_like(network.operator.adjoint(y))
        starts = [(x, previous)]
        alone = x
        for k, iterate in enumerate(coupled_iterates(network, y, b, follows), start=1):
            tick()
            previous, x = x, iterate
            if k % block == 0:
                starts.append((x.clone(), previous.clone()))
            if k == network.iterations_alone and follows is not None:
                alone = x.clone()
        ctx.network, ctx.y, ctx.b, ctx.tick = network, y, b, tick
        ctx.coupling = None if follows is None else _Coupling(network, alone, follows)
        ctx.starts, ctx.block = starts, block
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        network, iterations = ctx.network, len(ctx.network.step_sizes)
        adjoint = _Adjoint(network, ctx.y, ctx.b, gradients[0], ctx.coupling)
        for i in reversed(range(math.ceil(iterations / ctx.block))):
            first, last = i * ctx.block, min((i + 1) * ctx.block, iterations)
            x, previous = ctx.starts[i]
            points = adjoint.again(first, last, x, previous, ctx.tick)
            for k in reversed(range(first, last)):
                ctx.tick()
                adjoint.step_back(k, points.pop())
        by_parameters = (adjoint.total.get(name) for name, _ in network.named_parameters())
        return (None, None, None, None, None, *by_parameters)


class _Coupling:
    """How the support of pixels depends on the images of frames that were left alone.

    With ``v = c n / (B + c n)``: ``dv/dc = (1 - v)^2 n / B`` and ``dv/dn = (1 - v)^2 c / B``.
    """

    def __init__(
        self, network: UnfoldedNetwork, alone: torch.Tensor, follows: torch.Tensor
    ) -> None:
        self.begins, self.follows = network.iterations_alone, follows
        self.unit, self.strength = network.molecule_photons, network.coupling.item()
        self.light = light_of_neighbours(alone, follows).div_(self.unit)
        self.support = support(self.light, self.strength)
        self.by_support = torch.zeros_like(self.support)

    def slope(self, z: torch.Tensor) -> torch.Tensor:
        """Return the derivative of what is remitted, without its support."""
        return remitted_slope(z, self.unit)

    def curvature(self, z: torch.Tensor) -> torch.Tensor:
        """Return the second derivative of what is remitted."""
        return remitted_curvature(z, self.unit).mul_(self.support)

    def by_coupling(self) -> torch.Tensor:
        """Return the derivative by c."""
        return _dot(self._by_product(), self.light)

    def by_images(self) -> torch.Tensor:
        """Return the derivative by the images."""
        by_light = self._by_product().mul_(self.strength / self.unit)
        return light_of_neighbours(by_light, self.follows)

    def _by_product(self) -> torch.Tensor:
        """Return the derivative by ``c n / B``."""
        return (1.0 - self.support).square_().mul_(self.by_support)


class _Point(NamedTuple):
    """Where an iteration came by.

    ``x - x_previous``, ``z``, ``t``, ``A z``, and what divides the gradient.
    """

    moved: torch.Tensor
    z: torch.Tensor
    t: torch.Tensor
    light: torch.Tensor
    curvature: torch.Tensor | None


class _Adjoint:
    """Carries the gradient by ``x^(k+1)`` and ``x^k`` back to ``x^k`` and ``x^(k-1)``.

    With ``z`` the extrapolated point, ``t = z - alpha grad F(z)`` and ``x^(k+1) = P(t)``.
    """

    def __init__(
        self,
        network: UnfoldedNetwork,
        y: torch.Tensor,
        b: torch.Tensor,
        by_x: torch.Tensor,
        coupling: _Coupling | None,
    ) -> None:
        self.network, self.y, self.b, self.coupling = network, y, b, coupling
        self.steps: list[float] = network.step_sizes.tolist()
        self.weights = [network.weight_of(k).item() for k in range(len(self.steps))]
        self.by_x, self.by_previous = by_x, torch.zeros_like(by_x)
        self.total = {
            name: torch.zeros_like(parameter)
            for name, parameter in network.named_parameters()
            if name != "threshold"  # it acts after the last iteration
        }

    def again(
        self, first: int, last: int, x: torch.Tensor, previous: torch.Tensor, tick: Tick
    ) -> list[_Point]:
        """Return where some iterations came by."""
        network, points = self.network, []
        for k in range(first, last):
            tick()
            moved = x - previous
            z = torch.add(x, moved, alpha=network.inertia_number(k))
            light = network.operator.forward(z)
            misfit = network.whitened(network.fidelity.residual(light, self.y, self.b))
            slope = network.penalty(k).gradient(z)
            if coupling := self.coupled(k):
                slope.addcmul_(coupling.support, coupling.slope(z), value=-1.0)
            gradient = slope.mul_(self.weights[k]).add_(network.operator.adjoint(misfit))
            curvature = None
            if network.reserve_pixels is not None:
                curvature = network.pixel_curvature(k, z, gradient, light, self.y, self.b)
                gradient.div_(curvature)
            t = z.sub(gradient, alpha=self.steps[k])
            points.append(_Point(moved, z, t, light, curvature))
            previous, x = x, smoothed_projection(t, network.projection_width)
        return points

    def coupled(self, k: int) -> _Coupling | None:
        """Return the coupling, if iteration `k` knows of it."""
        return self.coupling if self.coupling and k >= self.coupling.begins else None

    def step_back(self, k: int, at: _Point) -> None:
        """Undo iteration `k` and collect its share of the gradient."""
        network, penalty, step = self.network, self.network.penalty(k), self.steps[k]
        weight, z = self.weights[k], at.z
        by_t = projection_slope(at.t, network.projection_width).mul_(self.by_x)
        self.total["step_sizes"][k] = -_dot(by_t, z - at.t) / step
        by_gradient = by_t if at.curvature is None else by_t / at.curvature
        slope, bend = penalty.gradient(z), penalty.curvature(z)
        if coupling := self.coupled(k):
            remitted = coupling.slope(z)
            slope.addcmul_(coupling.support, remitted, value=-1.0)
            bend.sub_(coupling.curvature(z))
            coupling.by_support.addcmul_(by_gradient, remitted, value=step * weight)
        self._collect(k, "weight", -step * _dot(by_gradient, slope))
        for name, by_parameter in penalty.gradient_by_parameters(z).items():
            share = step * weight * _dot(by_gradient, by_parameter)
            self._collect(k, f"penalty_parameters.{name}", -share)
        # (1 - alpha D^2 F(z) / d) applied to the gradient by t, from the left
        curvature = network.fidelity.curvature(at.light, self.y, self.b)
        seen = network.operator.forward(by_gradient)
        if network.whitening is not None:
            self.total["whitening"] -= step * self.by_whitening(seen, at.light)
        bent = network.operator.adjoint(network.whitened(seen) * curvature)
        bent.addcmul_(bend, by_gradient, value=weight)
        by_z = by_t.sub_(bent, alpha=step)
        beta = network.inertia_number(k)
        if "inertia" in network.schedules and beta < LARGEST_INERTIA:
            self.total["schedules.inertia"][k] = inertia(k) * _dot(by_z, at.moved)
        self.by_x = self.by_previous.add_(by_z, alpha=1.0 + beta)
        self.by_previous = by_z.mul_(-beta)
        if coupling and k == coupling.begins:
            self.total["coupling"] += coupling.by_coupling()
            self.by_x += coupling.by_images()

    def by_whitening(self, seen: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
        """Return the derivative of ``seen . M r`` by the parameter of ``M``."""
        network = self.network
        assert network.whitening is not None
        residual = network.fidelity.residual(light, self.y, self.b)
        with torch.enable_grad():
            product = (seen * network.whitened(residual)).sum()
        return torch.autograd.grad(product, network.whitening)[0]

    def _collect(self, k: int, name: str, share: torch.Tensor) -> None:
        """Add a derivative by the value that a parameter has in iteration `k`."""
        key = name.rpartition(".")[2]
        factors = self.network.schedules
        if key in factors:
            self.total[f"schedules.{key}"][k] = share * self.network.get_parameter(name)
            share = share * factors[key][k]
        self.total[name] += share


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.dot(a.flatten(), b.flatten())
