"""Whether molecules stay on from one frame to the next.

One molecule that stays on is one, found again at its place. That two molecules are one, rather than
that one went off and another came on beside it, is decided by one number, the evidence, wherever
tracks are joined or cut. With the probability ``s`` of staying on, and ``density`` molecules per
pixel and frame, of which as many come on as go off, it is

    log s N(d; 0, S) - 2 log (1 - s) - log density

for the distance ``d`` between both and the sum ``S`` of their covariances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

FEWEST_ROWS, FEWEST_FRAMES = 100, 8
"""Fewer molecules, or frames, do not tell whether molecules stay on."""

WITHIN_SIGMAS = 2.0
"""Standard deviations within which a molecule is found again, in ``1 - exp(-2)`` of all cases."""

WORTHWHILE, CERTAIN = 0.15, 5.0
"""Molecules are followed if this share of them stays on, so many standard errors above nothing."""

LIMITS = (0.05, 0.99)


@dataclass(frozen=True)
class Staying:
    """Probability of staying on from one frame to the next.

    Attributes
    ----------
    probability, error : float
        With its standard error.
    """

    probability: float
    error: float

    @property
    def is_worthwhile(self) -> bool:
        """Whether following molecules through time can gain anything."""
        return self.probability > max(WORTHWHILE, CERTAIN * self.error)


def measure_staying(
    frame: NDArray[np.integer], position: NDArray[np.floating], variance: NDArray[np.floating]
) -> Staying:
    """Count how often molecules are found again in the next frame, beyond chance.

    Chance is how often another stands there in frames half the stack later.

    Parameters
    ----------
    frame : array (N,)
    position, variance : array (N, 2)
        With the variance of both coordinates, in the same unit.
    """
    span = int(frame.max()) + 1 if len(frame) else 0
    if len(frame) < FEWEST_ROWS or span < FEWEST_FRAMES:
        return Staying(0.0, math.inf)
    again, n = _found_again(frame, position, variance, 1)
    chance, m = _found_again(frame, position, variance, span // 2)
    complete = 1.0 - math.exp(-0.5 * WITHIN_SIGMAS**2)
    scale = 1.0 / max(complete - chance, 0.1)
    error = scale * math.sqrt(again * (1.0 - again) / n + chance * (1.0 - chance) / m)
    return Staying(float(np.clip((again - chance) * scale, *LIMITS)), error)


def _found_again(
    frame: NDArray[np.integer],
    position: NDArray[np.floating],
    variance: NDArray[np.floating],
    lag: int,
) -> tuple[float, int]:
    """Share of molecules that stand beside another of a later frame, and of how many."""
    asked = frame + lag <= frame.max()
    reach = WITHIN_SIGMAS * math.sqrt(4.0 * float(np.median(variance)))
    far = 10.0 * reach
    later = cKDTree(np.column_stack([far * frame, position]))
    here = np.column_stack([far * (frame[asked] + lag), position[asked]])
    _, nearest = later.query(here, 1, distance_upper_bound=reach)
    hit = nearest < len(frame)
    other = np.flatnonzero(asked)[hit], nearest[hit]
    distance = (position[other[0]] - position[other[1]]) ** 2
    distance = (distance / (variance[other[0]] + variance[other[1]])).sum(1)
    n = max(int(asked.sum()), 1)
    return float((distance < WITHIN_SIGMAS**2).sum()) / n, n


def evidence_for_one(
    half_distance: NDArray[np.floating],
    covariance: NDArray[np.floating],
    density: NDArray[np.floating],
    staying: float,
) -> NDArray[np.float64]:
    """Return the evidence ``(n,)`` that two tracks that follow each other are one molecule.

    Parameters
    ----------
    half_distance : array (n,)
        Half the squared distance of their positions, in units of `covariance`.
    covariance : array (n, 2, 2)
        Of the distance, in pixels squared.
    density : array (n,)
        Molecules per pixel and frame at their place.
    staying : float
        Probability of staying on.
    """
    determinant = covariance[:, 0, 0] * covariance[:, 1, 1] - covariance[:, 0, 1] ** 2
    log_normal = -half_distance - math.log(2.0 * math.pi) - 0.5 * np.log(determinant)
    prior = math.log(staying) - 2.0 * math.log1p(-staying)
    return np.asarray(log_normal + prior - np.log(density))
