"""Temporal statistics of a stack: the images that fluctuation imaging (SOFI) works on.

Independent emitters add their variances and their covariances between neighbouring frames, both
through ``A∘A``, equation (22). Photon noise adds to the variance alone: it does not remember the
last frame.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]


@dataclass(frozen=True)
class FluctuationImages:
    """Images ``(Y, X)`` that sum up a stack.

    Attributes
    ----------
    mean : array
        Photons.
    covariance : dict of int to array
        Auto-covariance of every pixel at each lag, in frames; photons squared. Lag 0 is the
        variance, its noise included.
    n_frames : int
    n_blocks : int
        Time blocks over which the covariances are averaged.
    """

    mean: Image
    covariance: dict[int, Image]
    n_frames: int
    n_blocks: int


class TemporalStatistics:
    """Mean and auto-covariances of every pixel, from frames that come in batches.

    One pass; the memory does not depend on the number of frames. Sums are taken of the differences
    from the first frames of a block, in double precision, so that a large mean costs no digits.

    Slow changes (bleaching, drift of the illumination) are not fluctuations: time is cut into
    blocks, from each of which every pixel's straight line, or its mean alone, is removed.
    Covariances are unbiased for noise without memory, the lags included, if its variance is given
    to `images`.

    Parameters
    ----------
    lags : sequence of int
        In frames; 0 for the variance.
    detrend : bool
        Remove the straight line and not only the mean of each block.
    """

    def __init__(self, lags: Sequence[int] = (0, 1), detrend: bool = True) -> None:
        self.lags = tuple(sorted(set(lags)))
        self.n_frames = self.n_blocks = 0
        self._order = 2 if detrend else 1
        self._total: Image | None = None
        self._sums: dict[int, Image] = {}
        self._freedom = dict.fromkeys(self.lags, 0.0)
        self._leak = dict.fromkeys(self.lags, 0.0)
        self._block: _Block | None = None

    @property
    def smallest_block(self) -> int:
        """Number of frames that a block needs at least."""
        return self._order + max(self.lags) + 1

    def add(self, frames: NDArray[np.floating]) -> None:
        """Add the next frames ``(T, Y, X)``, in photons, to the present block."""
        if self._block is None:
            self._block = _Block(frames, self.lags)
        self._block.add(frames)

    def end_block(self) -> None:
        """Close the present block of time.

        Raises
        ------
        ValueError
            If it has fewer frames than `smallest_block`.
        """
        block, self._block = self._block, None
        if block is None:
            return
        if block.n < self.smallest_block:
            raise ValueError(f"a block of {block.n} frames is too short")
        self.n_frames += block.n
        self.n_blocks += 1
        self._total = block.total() + (0.0 if self._total is None else self._total)
        basis = _polynomials(block.n, self._order)
        for lag in self.lags:
            of_block, leak = block.lagged_sum(lag, basis)
            self._sums[lag] = self._sums.get(lag, 0.0) + of_block
            self._freedom[lag] += block.n - lag
            self._leak[lag] += leak

    def images(self, noise_variance: Image | float = 0.0) -> FluctuationImages:
        """Return mean and covariances of all blocks so far.

        Parameters
        ----------
        noise_variance : array or float
            Variance of the noise without memory, which removing the trend makes a little
            negatively correlated.
        """
        self.end_block()
        if self._total is None:
            raise ValueError("there are no frames")
        covariance = {}
        for lag in self.lags:
            if lag == 0:
                covariance[0] = self._sums[0] / (self._freedom[0] - self._leak[0])
            else:
                missing = self._leak[lag] * noise_variance
                covariance[lag] = (self._sums[lag] + missing) / self._freedom[lag]
        return FluctuationImages(
            self._total / self.n_frames, covariance, self.n_frames, self.n_blocks
        )


class _Block:
    """Sums over one block of time, of the differences from a reference image."""

    def __init__(self, first_frames: NDArray[np.floating], lags: Sequence[int]) -> None:
        self.n = 0
        self._reference = first_frames.mean(axis=0, dtype=np.float64)
        self._keep = max(lags)
        self._sum, self._sum_t = np.zeros_like(self._reference), np.zeros_like(self._reference)
        self._products = {lag: np.zeros_like(self._reference) for lag in lags}
        self._head = self._tail = np.empty((0, *self._reference.shape))

    def add(self, frames: NDArray[np.floating]) -> None:
        d = frames - self._reference
        t = np.arange(self.n, self.n + len(d), dtype=np.float64)
        self._sum += d.sum(axis=0)
        self._sum_t += np.tensordot(t, d, axes=1)
        joined = np.concatenate([self._tail, d])
        old = len(self._tail)
        for lag, products in self._products.items():
            later = joined[max(old, lag) :]
            start = max(old, lag) - lag
            earlier = joined[start : start + len(later)]
            products += np.einsum("tyx,tyx->yx", earlier, later)
        self.n += len(d)
        if len(self._head) < self._keep:
            self._head = np.concatenate([self._head, d])[: self._keep]
        self._tail = joined[max(len(joined) - self._keep, 0) :]

    def total(self) -> Image:
        """Sum of all frames."""
        total: Image = self._sum + self.n * self._reference
        return total

    def lagged_sum(self, lag: int, basis: NDArray[np.float64]) -> tuple[Image, float]:
        """Sum over t of ``e_t e_(t+lag)``, where e is what a fit with `basis` leaves.

        With orthonormal rows ``f_j`` of `basis` and ``a_j = sum f_j(t) d_t``, the residuals are
        ``e_t = d_t - sum a_j f_j(t)``, and the products are multiplied out. The second number is
        the loss of noise of variance 1 without memory.
        """
        n = self.n
        coefficients = [self._sum * basis[0, 0]]
        if len(basis) > 1:
            slope = basis[1, -1] - basis[1, -2]
            coefficients.append(self._sum * basis[1, 0] + self._sum_t * slope)
        gram = basis[:, : n - lag] @ basis[:, lag:].T
        out = self._products[lag].copy()
        for j, a in enumerate(coefficients):
            # sum of f_j(t + lag) d_t and f_j(t - lag) d_t over all t is 2 a_j, since f_j is linear;
            # what lies beyond the ends is taken away
            beyond = self._extrapolated(basis[j], lag)
            out -= a * (2.0 * a - beyond)
            for k, other in enumerate(coefficients):
                out += gram[j, k] * a * other
        return out, float(np.trace(gram))

    def _extrapolated(self, f: NDArray[np.float64], lag: int) -> Image | float:
        if lag == 0:
            return 0.0
        slope = f[-1] - f[-2]
        after = f[-1] + slope * np.arange(1, lag + 1)
        before = f[0] - slope * np.arange(lag, 0, -1)
        tail, head = self._tail[-lag:], self._head[:lag]
        beyond: Image = np.tensordot(after, tail, axes=1) + np.tensordot(before, head, axes=1)
        return beyond


def _polynomials(n: int, order: int) -> NDArray[np.float64]:
    """Orthonormal polynomials of degree below `order` (1 or 2) over n points."""
    t = np.arange(n, dtype=np.float64)
    rows = [np.full(n, 1.0 / math.sqrt(n))]
    if order > 1:
        centered = t - t.mean()
        rows.append(centered / np.linalg.norm(centered))
    return np.stack(rows)


def time_blocks(n_frames: int, block_frames: int, smallest: int) -> list[tuple[int, int]]:
    """Cut frames into blocks of about `block_frames`, none shorter than `smallest`.

    Returns
    -------
    list of tuple of int
        First frame, and the one after the last.
    """
    n_blocks = max(1, min(round(n_frames / block_frames), n_frames // smallest))
    ends = np.linspace(0, n_frames, n_blocks + 1).round().astype(int)
    return [(int(a), int(b)) for a, b in itertools.pairwise(ends)]
