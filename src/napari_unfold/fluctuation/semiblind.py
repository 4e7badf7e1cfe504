"""The network with an unknown PSF: its sigma is learned with all other parameters (section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from napari_unfold.imaging.forward import SeparableOperator, norm_squared_bound
from napari_unfold.imaging.psf import gaussian_matrix
from napari_unfold.learning.train import learned_parameters
from napari_unfold.unfolding.inference import Tick
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.parameters import NetworkParameters


class SemiBlindOperator(nn.Module):
    """``A∘A`` (or A) for a Gaussian PSF whose sigma is a parameter.

    The matrices are built anew from the present sigma at every use, or once for what happens
    `held`, so that automatic differentiation sees it.

    Parameters
    ----------
    shape : tuple of int
        Camera pixels ``(Y, X)``.
    upsampling : int
        Fine pixels per camera pixel.
    sigma_px : float
        PSF sigma to start from, in camera pixels.
    squared : bool
        ``A∘A``, for images of variances; otherwise A.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        upsampling: int,
        sigma_px: float,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        squared: bool = True,
    ) -> None:
        super().__init__()
        self.shape, self.upsampling, self.squared = shape, upsampling, squared
        self.sigma_px = nn.Parameter(torch.tensor(sigma_px, dtype=dtype, device=device))
        self._held: tuple[torch.Tensor, torch.Tensor] | None = None

    def matrices(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the matrices of both axes, ``G_y`` and ``G_x`` or their squares."""
        if self._held is not None:
            return self._held
        rows, columns = self.shape
        matrix_y = self._matrix(rows)
        return matrix_y, matrix_y if columns == rows else self._matrix(columns)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Build the matrices once for the whole block."""
        self._held = self.matrices()
        try:
            yield
        finally:
            self._held = None

    def norm_bound(self) -> torch.Tensor:
        """Upper bound of ``L``, the square of the operator's norm; differentiable in sigma."""
        matrix_y, matrix_x = self.matrices()
        return norm_squared_bound(matrix_y) * norm_squared_bound(matrix_x)

    @property
    def norm_squared(self) -> float:
        """`norm_bound` as a number."""
        return self.norm_bound().item()

    @property
    def point_energy(self) -> float:
        """``||a||^2`` of the image of one molecule of one photon far from the border."""
        return self.frozen().point_energy

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Image ``(..., qY, qX)`` as ``(..., Y, X)`` camera pixels."""
        matrix_y, matrix_x = self.matrices()
        return matrix_y @ x @ matrix_x.T

    def adjoint(self, residual: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Apply the transpose: ``(..., Y, X)`` to ``(..., qY, qX)``, into `out` if given."""
        matrix_y, matrix_x = self.matrices()
        spread = matrix_y.T @ residual @ matrix_x
        return spread if out is None else out.copy_(spread)

    def frozen(self) -> SeparableOperator:
        """Return the operator at the present sigma, which is faster and no longer learns."""
        return SeparableOperator(
            self.shape,
            self.upsampling,
            self.sigma_px.item(),
            self.sigma_px.dtype,
            self.sigma_px.device,
            self.squared,
        )

    def _matrix(self, n_pixels: int) -> torch.Tensor:
        matrix = gaussian_matrix(n_pixels, self.upsampling, self.sigma_px)
        return matrix.square() if self.squared else matrix


class SemiBlindNetwork(UnfoldedNetwork):
    """The unfolded network with the PSF sigma among its parameters: equation (23).

    The norm of the operator depends on sigma, and with it which steps are safe. Its step sizes
    are therefore multiples of ``1 / L`` at the present sigma.

    Parameters
    ----------
    operator : SemiBlindOperator
    parameters : NetworkParameters
        Values to start from, for the operator at its present sigma.

    Attributes
    ----------
    tick : callable
        Called at every iteration, forwards and backwards; may raise to stop.
    """

    operator: SemiBlindOperator
    tick: Tick

    def __init__(self, operator: SemiBlindOperator, parameters: NetworkParameters) -> None:
        sigma = operator.sigma_px
        super().__init__(operator, parameters, dtype=sigma.dtype, device=sigma.device)
        self.tick = _nothing
        with torch.no_grad():
            self.step_sizes.mul_(operator.norm_bound())

    def iteration(
        self,
        k: int,
        x: torch.Tensor,
        previous: torch.Tensor,
        y: torch.Tensor,
        b: torch.Tensor,
        supported: torch.Tensor,
    ) -> torch.Tensor:
        """Return ``x^(k+1)`` from ``x^k`` and ``x^(k-1)``."""
        self.tick()
        with self.operator.held():
            return super().iteration(k, x, previous, y, b, supported)

    def step(self, k: int) -> torch.Tensor:
        """Return the step size ``alpha_k`` at the present sigma."""
        return self.step_sizes[k] / self.operator.norm_bound()

    def learned(self, start: NetworkParameters) -> NetworkParameters:
        """Return the present values as plain numbers, for the operator at the present sigma."""
        operator = self.operator.frozen()
        with torch.no_grad():
            steps = self.step_sizes / self.operator.norm_bound()
        return learned_parameters(self, start).model_copy(
            update={
                "step_sizes": steps.tolist(),
                "reference": start.reference.model_copy(
                    update={
                        "norm_squared": operator.norm_squared,
                        "point_energy": operator.point_energy,
                    }
                ),
            }
        )

    def frozen(self, start: NetworkParameters) -> UnfoldedNetwork:
        """Return the network at the present parameters, for use without learning."""
        sigma = self.operator.sigma_px
        return UnfoldedNetwork(
            self.operator.frozen(), self.learned(start), dtype=sigma.dtype, device=sigma.device
        )


def _nothing() -> None:
    pass
