"""Kullback-Leibler (photon noise): for Poisson noise."""

from __future__ import annotations

import torch

from napari_unfold.imaging.forward import ForwardOperator
from napari_unfold.unfolding.fidelity import Fidelity

PEDESTAL = 0.005
"""Smallest background, as a fraction of a typical molecule's photons.

Both sides are raised to it where a frame is darker: that costs no precision beside the light of a
molecule, and spares the tiny steps that a vanishing background would need.
"""

WEIGHT_BOUND = 30.0
"""Largest weight that is worth trying, by experience, as in the paper."""


class KLFidelity(Fidelity):
    """Kullback-Leibler divergence, the paper's fidelity (ii).

    ``sum (A x + b) - y + y log(y / (A x + b))`` with ``0 log 0 = 0``. Data are clipped at zero,
    and so is the light, which can be negative only at an extrapolated point.

    Learning starts from large weights, which mostly make the images fainter, and from more than
    the safe step, which is a cautious one.
    """

    degree = 1.0
    classical_weight = 0.4
    starting_weights = (0.1, 0.2, 0.4, 0.6, 1.0, 2.0, 4.0, 8.0)
    starting_steps = (1.0, 3.0, 8.0)

    def value(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """``D`` of every frame."""
        mean, counts = light.clamp(min=0.0) + b, y.clamp(min=0.0)
        divergence = mean - counts + torch.xlogy(counts, counts) - counts * mean.log()
        return divergence.sum(dim=(-2, -1))

    def residual(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return ``1 - y / (A x + b)``."""
        return 1.0 - y.clamp(min=0.0) / (light.clamp(min=0.0) + b)

    def curvature(self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """``y / (A x + b)^2`` where there is light."""
        return y.clamp(min=0.0) * (light > 0) / (light.clamp(min=0.0) + b).square()

    def expected_curvature(
        self, light: torch.Tensor, y: torch.Tensor, b: torch.Tensor
    ) -> torch.Tensor:
        """``1 / (A x + b)``."""
        del y
        return 1.0 / (light.clamp(min=0.0) + b)

    def safe_step(self, background_photons: float, weight: float) -> float:
        """``b / (1 + lambda)``.

        The curvature is about ``1 / b`` where a frame is dark and explained. A weight lambda makes
        the light ``1 + lambda`` times fainter (the l1 norm of x is that of ``A x``), which raises
        the curvature once more.
        """
        return background_photons / (1.0 + weight)

    def largest_weight(self, light_photons: float, background_photons: float) -> float:
        """``B ||a||^2 / b`` for a molecule that is faint beside the background.

        If it is bright its light is divided by ``1 + weight``, whatever its brightness, which sets
        a limit of about one.
        """
        return light_photons / (light_photons + background_photons)

    def weight_bound(self, operator: ForwardOperator, y: torch.Tensor, b: torch.Tensor) -> float:
        """Return a bound by experience."""
        del operator, y, b
        return WEIGHT_BOUND

    def pedestal_photons(
        self, molecule_photons: float, background_photons: float, read_noise_photons: float
    ) -> float:
        """Return at least what makes the read noise look like that of photons."""
        return max(read_noise_photons, PEDESTAL * molecule_photons - background_photons, 0.0)
