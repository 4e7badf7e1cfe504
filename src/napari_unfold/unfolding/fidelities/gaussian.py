"""Gaussian (least squares): for additive white noise."""

from __future__ import annotations

import torch

from napari_unfold.unfolding.fidelity import Fidelity


class GaussianFidelity(Fidelity):
    """Least squares ``1/2 ||A x + b - y||^2``, the paper's fidelity (i)."""

    degree = 2.0
    whitenings = (0.03, 0.1, 0.3)

    def value(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """``D`` of every frame."""
        return 0.5 * (light + b - y).square().sum(dim=(-2, -1))

    def residual(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return ``A x + b - y``."""
        return light + b - y

    def curvature(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """One everywhere."""
        del y, b
        return torch.ones_like(light)

    def expected_curvature(
        self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor
    ) -> torch.Tensor:
        """One everywhere."""
        return self.curvature(light, y, b)

    def safe_step(self, background_photons: float, weight: float) -> float:
        """One: the gradient is Lipschitz with ``L = ||A||^2``."""
        del background_photons, weight
        return 1.0

    def largest_weight(self, light_photons: float, background_photons: float) -> float:
        """``B ||a||^2``: `zero_image_weight` of the frame of one molecule."""
        del background_photons
        return light_photons
