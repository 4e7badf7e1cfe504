"""What is expected of the photons of a molecule before it is fitted.

Where spots merge, the prior says how to share their light, and keeps molecules far closer than the
PSF from fitting the noise with huge photons of opposite errors. An isolated spot, whose photons the
frame tells within a few percent, hardly feels it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

SPREAD = 0.2
"""Scale of the prior around a stated brightness, relative to it.

Together with the tails below it suits molecules that hardly differ and such whose brightness
varies by 60 %: chosen on simulations of both.
"""

TAIL = 2.0
"""Degrees of freedom of the Student t distributions; few are heavy tails."""

KERNEL, NARROWEST = 0.35, 0.06
"""Width of the kernels of a learned distribution: a share of its quartile spread, but at least
this share of its median, by which the fits of equally bright molecules differ in any case."""

RANGE = (0.005, 20.0)
"""Of the table, in units of the median."""


class PriorNumbers(NamedTuple):
    """A prior as plain numbers, for the compiled fits.

    Attributes
    ----------
    table : array (3, n), float32
        Penalty and its derivatives by the logarithm of the photons; none of a t distribution.
    first, step : float32
        Logarithms of the photons in the table.
    photons, inverse_width : float32
        Middle and scale of the t distribution.
    scale : float32
        Light of the lamp, relative to its usual one.
    """

    table: NDArray[np.float32]
    first: np.float32 = np.float32(0)
    step: np.float32 = np.float32(1)
    photons: np.float32 = np.float32(1)
    inverse_width: np.float32 = np.float32(0)
    scale: np.float32 = np.float32(1)


class Brightness(Protocol):
    """A prior of the photons of a molecule in one frame."""

    def as_numbers(self) -> PriorNumbers:
        """Return what a compiled fit needs to know."""
        ...

    def penalty(self, photons: torch.Tensor) -> torch.Tensor:
        """Return minus its logarithm, up to the constant that counts as no penalty."""
        ...

    def slope_and_curvature(self, photons: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the derivative of the penalty, and a positive curvature for a safe step."""
        ...

    def information(self, photons: torch.Tensor) -> torch.Tensor:
        """Return the curvature of the penalty where it is convex, zero elsewhere."""
        ...


@dataclass(frozen=True)
class BrightnessPrior:
    """A Student's t distribution around a typical molecule whose photons are stated.

    Parameters
    ----------
    photons : float
        Of a typical molecule.
    spread : float
        Scale of the distribution relative to `photons`; infinite for no prior at all.
    """

    photons: float = 1.0
    spread: float = math.inf

    def as_numbers(self) -> PriorNumbers:
        """Return what a compiled fit needs to know."""
        return PriorNumbers(
            np.zeros((3, 0), np.float32),
            photons=np.float32(self.photons),
            inverse_width=np.float32(1.0 / (self.spread * self.photons)),
        )

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

    def information(self, photons: torch.Tensor) -> torch.Tensor:
        """Return the curvature of that parabola."""
        return self.slope_and_curvature(photons)[1]


class LearnedBrightness:
    """A distribution of any shape, learned from molecules whose photons are known.

    The density is a sum of heavy-tailed kernels. Its penalty counts from what a molecule of the
    commonest brightness costs if its photons were not known before: with the standard deviation
    ``s`` that the frame leaves them, ``-log`` of the probability that falls within ``s`` around it
    (the Occam factor of Bayesian model comparison). Where molecules differ much, a second one
    explains a bright spot easily, and must therefore explain it better.

    Parameters
    ----------
    photons : array (n,)
        Of single molecules in one frame.
    weights : array (n,)
        How much each counts.
    deviation : callable
        From photons to the standard deviation with which a lone molecule's are measured.
    """

    _POINTS = 700

    def __init__(
        self, photons: NDArray[np.floating], weights: NDArray[np.floating], deviation: Deviation
    ) -> None:
        self.photons, self.weights = photons, weights
        order = np.argsort(photons)
        cumulated = np.cumsum(weights[order]) / weights.sum()
        low, median, high = photons[order][np.searchsorted(cumulated, (0.25, 0.5, 0.75))]
        self.median = float(median)
        self.width = max(NARROWEST * median, KERNEL * (high - low) / 1.349)
        self.mean = float(np.average(photons, weights=weights))
        logs = np.log(np.geomspace(RANGE[0] * median, RANGE[1] * median, self._POINTS))
        density = self._density(photons, weights, np.exp(logs))
        penalty = -np.log(density)
        penalty += self._price(np.exp(logs), density, deviation) - penalty.min()
        self._first, self._step = float(logs[0]), float(logs[1] - logs[0])
        slope = np.gradient(penalty, self._step)
        table = np.stack([penalty, slope, np.gradient(slope, self._step)])
        self._table = torch.as_tensor(table, dtype=torch.float32)

    def _density(
        self,
        photons: NDArray[np.floating],
        weights: NDArray[np.floating],
        at: NDArray[np.floating],
    ) -> NDArray[np.float64]:
        """Kernel density estimate, up to a factor."""
        step = self.width / 10.0
        n = math.ceil(at[-1] / step)
        counts, _ = np.histogram(photons, n, (0.0, n * step), weights=weights)
        u = np.arange(-n, n + 1) * step / self.width
        kernel = (1.0 + u * u / TAIL) ** (-(TAIL + 1.0) / 2.0)
        smooth = convolved(counts, kernel)[n : 2 * n] / weights.sum()
        floor = kernel[0]
        return np.asarray(np.interp(at, (np.arange(n) + 0.5) * step, np.maximum(smooth, floor)))

    @staticmethod
    def _price(
        photons: NDArray[np.floating], density: NDArray[np.floating], deviation: Deviation
    ) -> float:
        """Minus the logarithm of the probability of the commonest brightness, as measured."""
        share = density * np.gradient(photons)
        commonest = photons[density.argmax()]
        u = (photons - commonest) / float(deviation(commonest))
        return -math.log(float((share * np.exp(-0.5 * u * u)).sum() / share.sum()))

    def as_numbers(self) -> PriorNumbers:
        """Return what a compiled fit needs to know."""
        return PriorNumbers(self._table.numpy(), np.float32(self._first), np.float32(self._step))

    def _at(self, photons: torch.Tensor) -> torch.Tensor:
        """Interpolate the table: the penalty and its derivatives by the logarithm."""
        table = self._table.to(photons)
        place = (photons.clamp(min=1e-3).log() - self._first) / self._step
        place = place.clamp(0.0, self._POINTS - 1.001)
        left = place.floor()
        low, high = table[:, left.long()], table[:, left.long() + 1]
        return torch.lerp(low, high, place - left)

    def penalty(self, photons: torch.Tensor) -> torch.Tensor:
        """Return minus the logarithm of the density, as described above."""
        return self._at(photons)[0]

    def slope_and_curvature(self, photons: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the derivative of the penalty, and a curvature that keeps steps short."""
        _, slope, bend = self._at(photons)
        # no step longer than the photons themselves
        curvature = torch.maximum(bend - slope, slope.abs().clamp(min=0.5))
        return slope / photons, curvature / photons.square()

    def information(self, photons: torch.Tensor) -> torch.Tensor:
        """Return the curvature of the penalty where it is convex, zero elsewhere."""
        _, slope, bend = self._at(photons)
        curvature: torch.Tensor = (bend - slope).clamp(min=0.0) / photons.square()
        return curvature


@dataclass(frozen=True)
class ScaledBrightness:
    """The same distribution of molecules that are lit more or less.

    Parameters
    ----------
    usual : Brightness
    scale : float
        Light of the lamp, relative to its usual one.
    """

    usual: Brightness
    scale: float

    def as_numbers(self) -> PriorNumbers:
        """Return what a compiled fit needs to know."""
        usual = self.usual.as_numbers()
        return usual._replace(scale=np.float32(usual.scale * self.scale))

    def penalty(self, photons: torch.Tensor) -> torch.Tensor:
        """Return the penalty that the molecule would have in the usual light."""
        return self.usual.penalty(photons / self.scale)

    def slope_and_curvature(self, photons: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return its derivative, and a positive curvature for a safe step."""
        slope, curvature = self.usual.slope_and_curvature(photons / self.scale)
        return slope / self.scale, curvature / self.scale**2

    def information(self, photons: torch.Tensor) -> torch.Tensor:
        """Return the curvature of the penalty where it is convex, zero elsewhere."""
        return self.usual.information(photons / self.scale) / self.scale**2


def convolved(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the convolution of two rows in full, by Fourier transforms.

    As `scipy.signal.fftconvolve`; importing that would take longer than all its calls in a run.
    """
    size = len(one) + len(other) - 1
    length = 2 ** math.ceil(math.log2(size))
    spectrum = np.fft.rfft(one, length) * np.fft.rfft(other, length)
    return np.asarray(np.fft.irfft(spectrum, length)[:size])


class Deviation(Protocol):
    """Standard deviation with which the photons of a lone molecule are measured."""

    def __call__(self, photons: float) -> float:
        """Return it for a molecule of so many photons."""
        ...
