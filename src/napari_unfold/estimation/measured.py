"""Values with their standard errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Measured:
    """A value with its standard error."""

    value: float
    standard_error: float

    def contradicts(self, value: float) -> bool:
        """Whether another value lies beyond three standard errors."""
        return abs(value - self.value) > 3.0 * self.standard_error

    def __mul__(self, factor: float) -> Measured:
        return Measured(self.value * factor, self.standard_error * abs(factor))

    @property
    def decimals(self) -> int:
        """Decimals worth writing: those of the second digit of the standard error."""
        if not 0 < self.standard_error < math.inf:
            return 3
        return max(0, 1 - math.floor(math.log10(self.standard_error)))

    def rounded(self) -> float:
        """Return the value, as far as it is worth writing."""
        return round(self.value, self.decimals)

    def __str__(self) -> str:
        return f"{self.value:.{self.decimals}f} ± {self.standard_error:.{self.decimals}f}"


def jackknife_error(left_out: ArrayLike, per_block: float) -> NDArray[np.float64]:
    """Return the standard errors of estimates from differences of neighbouring frames.

    Parameters
    ----------
    left_out : array (blocks, ...)
        Estimates that each leave out one block.
    per_block : float
        Differences in a block. Neighbouring ones share a frame, so their powers have the
        correlation 1/4, which the scatter of the blocks shows the less the shorter they are.
    """
    estimates = np.asarray(left_out, dtype=np.float64)
    n, length = len(estimates), max(per_block, 1.0)
    if n < 2:
        return np.full(estimates.shape[1:], np.inf)
    scatter = np.sum((estimates - estimates.mean(axis=0)) ** 2, axis=0)
    shared = 1.5 / (1.0 + 0.5 * (length - 1.0) / length)
    return np.asarray(np.sqrt((n - 1) / n * shared * scatter))
