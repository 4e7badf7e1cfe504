"""How probable frames are, given their molecules: camera noise, and the brightness to expect."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from napari_unfold.localization.spots import Molecules, SpotModel

BRIGHTNESS_SPREAD = 0.2
"""Scale of the brightness prior relative to a typical molecule.

Together with the tails below it suits molecules that hardly differ and such whose brightness
varies by 60 %: chosen on simulations of both.
"""

TAIL = 2.0
"""Degrees of freedom of the brightness prior; few are heavy tails."""


@dataclass(frozen=True)
class BrightnessPrior:
    """What is expected of the photons of a molecule before it is fitted.

    A Student's t distribution around the typical molecule. Where spots merge, it says how to share
    their light, and keeps molecules far closer than the PSF from fitting the noise with huge
    photons of opposite errors. An isolated spot, whose photons the frame tells within a few
    percent, hardly feels it, however far from typical, since the tails are heavy.

    Parameters
    ----------
    photons : float
        Of a typical molecule.
    spread : float
        Scale of the distribution relative to `photons`; infinite for no prior at all.
    """

    photons: float = 1.0
    spread: float = math.inf

    def penalty(self, photons: torch.Tensor) -> torch.Tensor:
        """Return minus its logarithm, zero for a typical molecule."""
        u = (photons - self.photons) / (self.spread * self.photons)
        return 0.5 * TAIL * torch.log1p(u * u / TAIL)

    def slope_and_curvature(self, photons: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return its derivative, and the curvature of the parabola that touches it from above."""
        width = self.spread * self.photons
        u = (photons - self.photons) / width
        curvature = 1.0 / (width * width * (1.0 + u * u / TAIL))
        return curvature * (photons - self.photons), curvature


class CameraLikelihood:
    """Negative log-likelihood of frames, for photon noise with excess and read noise.

    Poisson-like: the frames are counted in units of the excess noise, and read noise is taken
    along as if it were background on both sides, which gives it its variance.

    Parameters
    ----------
    y, b : tensor (B, Y, X)
        Frames and background in photons.
    excess_noise, read_variance : float
        ``variance = excess_noise * mean + read_variance``, in photons squared.
    """

    def __init__(
        self, y: torch.Tensor, b: torch.Tensor, excess_noise: float, read_variance: float
    ) -> None:
        pedestal = read_variance / excess_noise
        self._counts = (y + pedestal).clamp(min=0.0)
        self._floor = b + pedestal
        self._excess_noise = excess_noise

    def _mean(self, spots: torch.Tensor) -> torch.Tensor:
        return (spots + self._floor).clamp(min=1e-3)

    def per_frame(self, spots: torch.Tensor) -> torch.Tensor:
        """Return its value ``(B,)`` for the light of the molecules ``(B, Y, X)``."""
        mean = self._mean(spots)
        return (mean - torch.xlogy(self._counts, mean)).sum(dim=(-2, -1)) / self._excess_noise

    def residual_and_weight(self, spots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return minus its derivative by the mean of every pixel, and the Fisher information."""
        mean = self._mean(spots)
        weight = 1.0 / (self._excess_noise * mean)
        return (self._counts - mean) * weight, weight


@dataclass(frozen=True)
class Frames:
    """A batch of frames with all that is known before its molecules are.

    Parameters
    ----------
    y, b : tensor (B, Y, X)
        Frames and background in photons.
    sigma_px : float
        PSF sigma in camera pixels.
    excess_noise, read_variance : float
        Camera noise: ``variance = excess_noise * mean + read_variance``, in photons squared.
    prior : BrightnessPrior
    """

    y: torch.Tensor
    b: torch.Tensor
    sigma_px: float
    excess_noise: float = 1.0
    read_variance: float = 0.0
    prior: BrightnessPrior = BrightnessPrior()

    @property
    def likelihood(self) -> CameraLikelihood:
        """The likelihood of the frames for the light of molecules."""
        return self.likelihood_of(self.y, self.b)

    def likelihood_of(self, y: torch.Tensor, b: torch.Tensor) -> CameraLikelihood:
        """Return the likelihood of other frames of the same camera."""
        return CameraLikelihood(y, b, self.excess_noise, self.read_variance)

    def spot_model(self, molecules: Molecules) -> SpotModel:
        """Return the spots, with a patch laid around every molecule."""
        model = SpotModel((self.y.shape[0], self.y.shape[1], self.y.shape[2]), self.sigma_px)
        model.locate(molecules)
        return model
