"""Fluorophores that switch on and off at constant rates, at any time, and bleach."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize


@dataclass(frozen=True)
class Switching:
    """An emitter between a bright and a dark state, each of exponentially distributed duration.

    It switches at any time, so that a frame may catch it for a part of the exposure only. What is
    seen begins in the steady state.

    Parameters
    ----------
    on_frames, off_frames : float
        Mean duration of a bright and of a dark state, in frames.
    bleaching_frames : float
        Mean number of frames after which an emitter is dark for good.
    """

    on_frames: float = 2.0
    off_frames: float = 8.0
    bleaching_frames: float = math.inf

    @property
    def share_on(self) -> float:
        """Share of the time in which an emitter that has not bleached is on."""
        return self.on_frames / (self.on_frames + self.off_frames)

    @property
    def rate(self) -> float:
        """Rate per frame at which the state is forgotten: ``1 / on + 1 / off``."""
        return 1.0 / self.on_frames + 1.0 / self.off_frames

    @property
    def correlation(self) -> float:
        """Correlation of the light of an emitter in neighbouring frames."""
        return frame_correlation(self.rate)

    def on_intervals(
        self, n_emitters: int, n_frames: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
        """Draw when each emitter is on.

        Returns
        -------
        emitter : array (M,)
            Number of the emitter, once for each time it is on.
        start, stop : array (M,)
            In frames, from 0 to `n_frames`.
        """
        end = np.full(n_emitters, float(n_frames))
        if math.isfinite(self.bleaching_frames):
            end = np.minimum(end, rng.exponential(self.bleaching_frames, n_emitters))
        time, on = np.zeros(n_emitters), rng.random(n_emitters) < self.share_on
        running = np.arange(n_emitters)
        emitters, starts, stops = [], [], []
        while len(running):
            mean = np.where(on[running], self.on_frames, self.off_frames)
            start = time[running]
            stop = np.minimum(start + rng.exponential(mean), end[running])
            lit = on[running]
            emitters.append(running[lit])
            starts.append(start[lit])
            stops.append(stop[lit])
            time[running], on[running] = stop, ~lit
            running = running[stop < end[running]]
        empty = np.empty(0)
        return (
            np.concatenate([np.empty(0, np.intp), *emitters]),
            np.concatenate([empty, *starts]),
            np.concatenate([empty, *stops]),
        )

    def on_shares(
        self, n_emitters: int, n_frames: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """Draw for which share of each frame each emitter is on.

        Returns
        -------
        frame, emitter : array (M,)
            Ordered by frame, then emitter; frames in which an emitter is dark are left out.
        share : array (M,)
            Above 0, up to 1.
        """
        return frame_shares(*self.on_intervals(n_emitters, n_frames, rng))


def frame_shares(
    emitter: NDArray[np.intp], start: NDArray[np.floating], stop: NDArray[np.floating]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Cut times into frames and add up what lies in the same frame.

    Parameters
    ----------
    emitter, start, stop : array (M,)
        As `Switching.on_intervals` returns them.

    Returns
    -------
    frame, emitter, share : array (K,)
        As `Switching.on_shares` returns them.
    """
    first = np.floor(start).astype(np.intp)
    counts = np.ceil(stop).astype(np.intp) - first
    interval = np.repeat(np.arange(len(emitter)), counts)
    frame = first[interval] + np.arange(len(interval)) - np.repeat(counts.cumsum() - counts, counts)
    share = np.minimum(stop[interval], frame + 1.0) - np.maximum(start[interval], frame)
    # an emitter may be on several times in one frame
    n_emitters = int(emitter.max(initial=0)) + 1
    pairs, row = np.unique(frame * n_emitters + emitter[interval], return_inverse=True)
    together = np.bincount(row, weights=share).astype(np.float64)
    return pairs // n_emitters, pairs % n_emitters, together


def frame_variance(rate: float) -> float:
    """Variance of the share of a frame over that of a moment, for states forgotten at `rate`.

    The covariance of two moments a time t apart falls as ``exp(-rate t)``; a frame averages it.
    """
    if rate < 1e-3:
        return 1.0 - rate / 3.0
    return 2.0 * (rate - 1.0 + math.exp(-rate)) / rate**2


def frame_correlation(rate: float) -> float:
    """Correlation of the shares of neighbouring frames, for states forgotten at `rate`."""
    if rate < 1e-3:
        return 1.0 - 2.0 * rate / 3.0
    return (1.0 - math.exp(-rate)) ** 2 / rate**2 / frame_variance(rate)


def rate_of_correlation(correlation: float) -> float:
    """Invert `frame_correlation`, of a correlation that is taken to lie between 0.1 and 0.95.

    Faster switching is hardly seen in whole frames, slower switching hardly in a stack.
    """
    wanted = min(max(correlation, 0.1), 0.95)
    return float(optimize.brentq(lambda rate: frame_correlation(rate) - wanted, 1e-2, 1e2))
