"""How probable frames are, given their molecules: camera noise, and the brightness to expect."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from napari_unfold.localization.brightness import Brightness, BrightnessPrior
from napari_unfold.localization.kernels import in_pieces, serve
from napari_unfold.localization.profiles import Spot
from napari_unfold.localization.spots import Molecules, SpotModel

NO_PRIOR = BrightnessPrior()


class CameraLikelihood:
    """Negative log-likelihood of frames, for photon noise with excess and read noise.

    Poisson-like: the frames are counted in units of the excess noise, and read noise is taken
    along as if it were background on both sides, which gives it its variance. It is counted from
    that of frames that are explained exactly.

    Parameters
    ----------
    counts, floor : tensor (B, Y, X)
        Frames and background in photons, each with the read variance over the excess noise.
    excess_noise : float
        ``variance = excess_noise * mean + read_variance``, in photons squared.
    """

    def __init__(self, counts: torch.Tensor, floor: torch.Tensor, excess_noise: float) -> None:
        self._counts = counts.clamp(min=0.0)
        self._floor = floor
        self._excess_noise = excess_noise

    def _mean(self, spots: torch.Tensor) -> torch.Tensor:
        return (spots + self._floor).clamp(min=1e-3)

    def per_frame(self, spots: torch.Tensor) -> torch.Tensor:
        """Return its value ``(B,)`` for the light of the molecules ``(B, Y, X)``."""
        return self.per_pixel(spots).sum(dim=(-2, -1))

    def per_pixel(self, spots: torch.Tensor) -> torch.Tensor:
        """Return its value in every pixel, shape ``(B, Y, X)``."""
        mean, counts = self._mean(spots), self._counts
        # the difference, not the terms: pixels of high read variance would drown the others
        ratio = torch.where(counts > 0, mean / counts.clamp(min=1e-6), 1.0)
        return (mean - counts - torch.xlogy(counts, ratio)) / self._excess_noise

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
    spot : Spot
        What a molecule looks like.
    excess_noise : float
    read_variance : float or tensor (Y, X)
        Camera noise: ``variance = excess_noise * mean + read_variance``, in photons squared; a
        pixel that tells nothing has a huge one.
    prior : Brightness
    """

    y: torch.Tensor
    b: torch.Tensor
    spot: Spot
    excess_noise: float = 1.0
    read_variance: float | torch.Tensor = 0.0
    prior: Brightness = NO_PRIOR

    @property
    def sigma_px(self) -> float:
        """Sigma of the PSF in camera pixels."""
        return self.spot.sigma_px

    @cached_property
    def counts(self) -> torch.Tensor:
        """Frames as the likelihood counts them, shape ``(B, Y, X)``, not negative."""
        return (self.y + self.read_variance / self.excess_noise).clamp(min=0.0).contiguous()

    @cached_property
    def floor(self) -> torch.Tensor:
        """What the likelihood expects without molecules, shape ``(B, Y, X)``."""
        return (self.b + self.read_variance / self.excess_noise).contiguous()

    @property
    def likelihood(self) -> CameraLikelihood:
        """The likelihood of the frames for the light of molecules."""
        return CameraLikelihood(self.counts, self.floor, self.excess_noise)

    def light(self, molecules: Molecules) -> torch.Tensor:
        """Frames ``(B, Y, X)`` that molecules make."""
        if not (serve(self.y) and serve(molecules.photons)):
            return self.spot_model(molecules).light(molecules)
        from napari_unfold.localization import compiled_frames as compiled

        order = molecules.frame.argsort(stable=True)
        table = molecules.table[order].contiguous().numpy()
        starts = np.searchsorted(molecules.frame[order].numpy(), np.arange(len(self.y) + 1))
        side, splines = 2 * self.spot.reach + 1, self.spot.splines
        light = torch.empty_like(self.floor)

        def work(first: int, last: int) -> None:
            compiled.light_of(first, last, starts, table, side, splines, light.numpy())

        in_pieces(work, len(self.y))
        return light

    def spot_model(self, molecules: Molecules) -> SpotModel:
        """Return the spots, with a patch laid around every molecule."""
        model = SpotModel((self.y.shape[0], self.y.shape[1], self.y.shape[2]), self.spot)
        model.locate(molecules)
        return model
