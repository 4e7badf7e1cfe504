"""How bright molecules are: the same light for all, distributed, or as they were seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_unfold.settings.simulation import BrightnessName


@dataclass(frozen=True)
class Brightness:
    """Distribution of the light of a molecule in a frame in which it is on throughout.

    Parameters
    ----------
    photons : float
        Mean.
    spread : float
        Standard deviation over mean; 0 makes all alike. An exponential distribution has 1.
    distribution : {"gamma", "log-normal", "exponential"}
    """

    photons: float = 1500.0
    spread: float = 0.2
    distribution: BrightnessName = "gamma"

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the photons of as many molecules."""
        if self.distribution == "exponential":
            return rng.exponential(self.photons, count)
        if self.spread == 0:
            return np.full(count, self.photons)
        if self.distribution == "log-normal":
            sigma = math.sqrt(math.log1p(self.spread**2))
            return rng.lognormal(math.log(self.photons) - sigma**2 / 2, sigma, count)
        return rng.gamma(self.spread**-2, self.photons * self.spread**2, count)


@dataclass(frozen=True)
class SampledBrightness:
    """Any distribution, given by values and how often each occurs.

    Parameters
    ----------
    values : array (n,)
        Photons.
    shares : array (n,)
        Not negative, of sum 1.
    """

    values: NDArray[np.floating]
    shares: NDArray[np.floating]

    @property
    def photons(self) -> float:
        """Mean."""
        return float(self.values @ self.shares)

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the photons of as many molecules."""
        return np.asarray(rng.choice(self.values, count, p=self.shares), dtype=np.float64)
