"""Algorithm 1 of the paper: accelerated projected gradient descent, unrolled for K iterations."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from napari_unfold.errors import InputError
from napari_unfold.imaging.convolution import along_both_axes
from napari_unfold.imaging.forward import ForwardOperator, SeparableOperator
from napari_unfold.unfolding.coupling import (
    iterations_alone,
    light_of_neighbours,
    remitted_slope,
    support,
)
from napari_unfold.unfolding.fidelity import fidelity_named
from napari_unfold.unfolding.metric import pixel_curvature
from napari_unfold.unfolding.parameters import NetworkParameters
from napari_unfold.unfolding.penalties.l1 import L1Penalty
from napari_unfold.unfolding.penalty import Penalty, penalty_named
from napari_unfold.unfolding.projection import smoothed_projection
from napari_unfold.unfolding.whitening import whitening_kernel

CHAMBOLLE_DOSSAL = 3.0
"""The constant ``a > 2`` of the inertial sequence ``beta_k = (k - 1) / (k + a)``."""

LARGEST_INERTIA = 0.98
"""With one, an oscillation would never die away."""


def inertia(k: int) -> float:
    """Return the extrapolation ``beta_k`` of iteration `k`, counted from 0."""
    return max(k - 1, 0) / (k + CHAMBOLLE_DOSSAL)


class UnfoldedNetwork(nn.Module):
    """The network: K iterations on the energy ``D(A x + b, y) + lambda sum phi(x)``.

    Its parameters are the paper's theta: step sizes, regularisation weight and binarization
    threshold, those of the penalty, and the coupling of neighbouring frames. Untrained (classical)
    and learned parameters run through the same code; gradients flow through all iterations.

    Parameters
    ----------
    operator : ForwardOperator
        A.
    parameters : NetworkParameters
        Values to start from.
    """

    def __init__(
        self,
        operator: ForwardOperator,
        parameters: NetworkParameters,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()

        def learnable(value: float | list[float]) -> nn.Parameter:
            return nn.Parameter(torch.tensor(value, dtype=dtype, device=device))

        self.operator = operator
        self.fidelity = fidelity_named(parameters.fidelity)
        self.step_sizes = learnable(parameters.step_sizes)
        self.weight = learnable(parameters.weight)
        self.threshold = learnable(parameters.threshold_photons)
        self.penalty_class = penalty_named(parameters.penalty)
        self.penalty_parameters = nn.ParameterDict(
            {name: learnable(value) for name, value in parameters.penalty_parameters.items()}
        )
        self.schedules = nn.ParameterDict(
            {name: learnable(factors) for name, factors in parameters.schedules.items()}
        )
        self.coupling = learnable(parameters.coupling)
        self.iterations_alone = iterations_alone(parameters.iterations)
        self.molecule_photons = parameters.reference.molecule_photons
        self.reserve_pixels = parameters.reserve_pixels
        self.faint_share = parameters.faint_share
        self.whitening: nn.Parameter | None = None
        if parameters.whitening is not None:
            if not isinstance(operator, SeparableOperator):
                raise InputError(
                    "these learned parameters whiten the misfit, which needs a Gaussian PSF",
                    "Choose another preset, or state the width of the PSF instead of an image",
                    field="optics.psf",
                )
            self.whitening = learnable(parameters.whitening)
        self.l1_iterations = parameters.l1_iterations
        self.projection_width = parameters.projection_width_photons

    def penalty(self, k: int) -> Penalty:
        """Return the penalty of iteration `k`."""
        if k < self.l1_iterations:
            return L1Penalty()
        return self.penalty_class(
            **{name: self._scheduled(name, p, k) for name, p in self.penalty_parameters.items()}
        )

    def weight_of(self, k: int) -> torch.Tensor:
        """Return the regularisation weight of iteration `k`."""
        return self._scheduled("weight", self.weight, k)

    def _scheduled(self, name: str, value: torch.Tensor, k: int) -> torch.Tensor:
        return value * self.schedules[name][k] if name in self.schedules else value

    def inertia(self, k: int) -> torch.Tensor | float:
        """Return the extrapolation of iteration `k`, learned or that of `inertia`."""
        if "inertia" not in self.schedules:
            return inertia(k)
        learned: torch.Tensor = inertia(k) * self.schedules["inertia"][k]
        return learned.clamp(max=LARGEST_INERTIA)

    def inertia_number(self, k: int) -> float:
        """Return `inertia` without its derivative."""
        value = self.inertia(k)
        return value if isinstance(value, float) else value.item()

    def whitening_kernel(self) -> torch.Tensor | None:
        """Return what the misfit is convolved with along both axes, if it is whitened."""
        if self.whitening is None:
            return None
        assert isinstance(self.operator, SeparableOperator)
        return whitening_kernel(self.operator, self.whitening)

    def whitened(self, misfit: torch.Tensor) -> torch.Tensor:
        """Return ``M`` times the misfit, or the misfit."""
        kernel = self.whitening_kernel()
        return misfit if kernel is None else along_both_axes(misfit, kernel)

    def energy(self, x: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Energy of every frame, equation (7), with the penalty of the last iteration."""
        last = len(self.step_sizes) - 1
        light = self.operator.forward(x)
        if self.whitening is None:
            misfit = self.fidelity.value(light, y, b)
        else:
            residual = self.fidelity.residual(light, y, b)
            misfit = 0.5 * (residual * self.whitened(residual)).sum(dim=(-2, -1))
        return misfit + self.weight_of(last) * self.penalty(last).value(x)

    def iterates(
        self, y: torch.Tensor, b: torch.Tensor, follows: torch.Tensor | None = None
    ) -> Iterator[torch.Tensor]:
        """Yield ``x^1 .. x^K`` for frames `y`.

        Parameters
        ----------
        y : tensor (..., Y, X)
            Frames in photons.
        b : tensor (..., Y, X)
            Background in photons, positive for the KL fidelity.
        follows : tensor (T,), bool, optional
            For frames ``(T, Y, X)`` in the order of time, which of them came directly after the
            one before (`unfolding.coupling`). By default none has neighbours.

        Yields
        ------
        tensor (..., qY, qX)
            Molecule image in photons per fine pixel.
        """
        x = previous = torch.zeros_like(self.operator.adjoint(y))
        supported = y.new_zeros(())
        for k in range(len(self.step_sizes)):
            if k == self.iterations_alone and follows is not None:
                supported = self.support(x, follows)
            previous, x = x, self.iteration(k, x, previous, y, b, supported)
            yield x

    def support(self, x: torch.Tensor, follows: torch.Tensor) -> torch.Tensor:
        """Return how far neighbours support every pixel, for images `x` of frames left alone."""
        return support(light_of_neighbours(x, follows) / self.molecule_photons, self.coupling)

    def iteration(
        self,
        k: int,
        x: torch.Tensor,
        previous: torch.Tensor,
        y: torch.Tensor,
        b: torch.Tensor,
        supported: torch.Tensor,
    ) -> torch.Tensor:
        """Return ``x^(k+1)`` from ``x^k`` and ``x^(k-1)``: the loop of Algorithm 1.

        What is `supported` by neighbouring frames is an image, or zero.
        """
        z = x + self.inertia(k) * (x - previous)
        light = self.operator.forward(z)
        misfit = self.whitened(self.fidelity.residual(light, y, b))
        slope = self.penalty(k).gradient(z) - supported * remitted_slope(z, self.molecule_photons)
        gradient = self.operator.adjoint(misfit) + self.weight_of(k) * slope
        if self.reserve_pixels is not None:
            gradient = gradient / self.pixel_curvature(k, z, gradient, light, y, b)
        return smoothed_projection(z - self.step(k) * gradient, self.projection_width)

    def step(self, k: int) -> torch.Tensor:
        """Return the step size ``alpha_k``."""
        return self.step_sizes[k]

    def pixel_curvature(
        self,
        k: int,
        z: torch.Tensor,
        gradient: torch.Tensor,
        light: torch.Tensor,
        y: torch.Tensor,
        b: torch.Tensor,
    ) -> torch.Tensor:
        """Return by what the gradient at `z` is divided before step `k`; see `unfolding.metric`."""
        return pixel_curvature(
            self.operator, self.fidelity, z, gradient, light, y, b,
            self.reserve_pixels if k else None, self.faint_share,
            self.molecule_photons, self.projection_width,
            None if self.whitening is None else self.whitening.item(),
        )  # fmt: skip

    def forward(
        self, y: torch.Tensor, b: torch.Tensor, follows: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return ``x^K``, equation (6), of shape ``(..., qY, qX)``; see `iterates`."""
        x = y
        for x in self.iterates(y, b, follows):  # noqa: B007 - the last one counts
            pass
        return x
