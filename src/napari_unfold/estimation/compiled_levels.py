"""Levels of the dark pixels, compiled: the arithmetic of `dark_levels` and `lamp`."""

from __future__ import annotations

import math

import numpy as np

from napari_unfold.localization.compiled_spots import Doubles, Floats, Integers, jit

HALF = math.sqrt(2.0 / math.pi)
EDGEWORTH = 1.0 / (3.0 * math.sqrt(2.0 * math.pi))

PER_DEVIATION, BUCKETS = 100, 1600
"""Values are sorted into buckets, so many per standard deviation of the noise."""


@jit
def in_order(values: Doubles, bucket: float, counts: Integers, order: Integers) -> None:
    """Write the order of some values; most lie within a few hundred buckets of the lowest."""
    n, last = values.shape[0], BUCKETS - 1
    lowest = values.min()
    counts[:] = 0
    for i in range(n):
        counts[min(int((values[i] - lowest) / bucket), last) + 1] += 1
    for k in range(BUCKETS):
        counts[k + 1] += counts[k]
    for i in range(n):
        k = min(int((values[i] - lowest) / bucket), last)
        order[counts[k]] = i
        counts[k] += 1
    start = 0
    for k in range(BUCKETS):
        stop = counts[k]
        if stop - start > 64:
            some = order[start:stop].copy()
            by_value = np.argsort(values[some])
            for i in range(stop - start):
                order[start + i] = some[by_value[i]]
        else:
            for i in range(start + 1, stop):
                one = order[i]
                at = i
                while at > start and values[order[at - 1]] > values[one]:
                    order[at] = order[at - 1]
                    at -= 1
                order[at] = one
        start = stop


@jit
def dark_shifts(
    first: int,
    last: int,
    windows: tuple[Integers, Integers, int, int],
    photons: Floats,
    background: Floats,
    factors: Floats,
    light: Floats,
    noise: tuple[Floats, float],
    fewest: tuple[int, int],
    shifts: Doubles,
) -> None:
    """Write what the background is wrong by in the windows of some rows, see `dark_levels`.

    Parameters
    ----------
    first, last : int
        Rows of windows.
    windows : tuple of (array, array, int, int)
        Where they start along both axes, and their height and width.
    photons : array (T, Y, X)
    background : array (Y, X)
    factors : array (T,)
    light : array (T, Y, X)
        Of molecules; of no frame if none are known.
    noise : tuple of (array (Y, X), float)
        Read variance and excess noise.
    fewest : tuple of int
        Values below a level, and in a window, without which neither says anything.
    shifts : array
        One value for each window.
    """
    tops, lefts, height, width = windows
    read_variance, excess = noise
    most = photons.shape[0] * height * width
    values, deviations, skews = np.empty(most), np.empty(most), np.empty(most)
    counts, order = np.empty(BUCKETS + 1, np.int64), np.empty(most, np.int64)
    third = excess * (2.0 * excess - 1.0)
    for row in range(first, last):
        for column in range(lefts.shape[0]):
            n, scatter = 0, 0.0
            for t in range(photons.shape[0]):
                for y in range(tops[row], tops[row] + height):
                    for x in range(lefts[column], lefts[column] + width):
                        known = background[y, x] * factors[t]
                        if light.shape[0]:
                            shown = light[t, y, x]
                            variance = excess * max(known, 0.0) + read_variance[y, x]
                            if shown > math.sqrt(variance):
                                continue
                            known += shown
                        mean = max(known, 0.0)
                        variance = excess * mean + read_variance[y, x]
                        deviations[n] = math.sqrt(variance)
                        skews[n] = third * mean / max(variance * deviations[n], 1e-18)
                        values[n] = photons[t, y, x] - known
                        scatter += deviations[n]
                        n += 1
            shifts[row, column] = 0.0
            if n < fewest[1]:
                continue
            bucket = max(scatter / n, 1e-9) / PER_DEVIATION
            in_order(values[:n], bucket, counts, order)
            below, expected, skew, found = 0.0, 0.0, 0.0, values[order[n // 2]]
            for k in range(n):
                i = order[k]
                below += values[i]
                expected += deviations[i]
                skew += skews[i]
                m = k + 1.0
                distance = values[i] - below / m
                if m >= min(fewest[0], most) and distance >= HALF * expected / m / (
                    1.0 + EDGEWORTH * skew / m
                ):
                    found = values[i]
                    break
            shifts[row, column] = found


@jit
def frame_levels(
    first: int,
    last: int,
    photons: Floats,
    pixels: Integers,
    background: Floats,
    noise: tuple[Floats, float],
    span: tuple[float, float, int, float],
    levels: Doubles,
) -> None:
    """Write the level of the background in some frames, see `lamp`.

    Parameters
    ----------
    first, last : int
        Frames.
    photons : array (T, Y * X)
    pixels : array (n,)
        Those that are looked at.
    background : array (n,)
    noise : tuple of (array (n,), float)
        Read variance and excess noise.
    span : tuple
        Logarithms of the lowest and the highest level, how often to halve what lies between, and
        the share of pixels below without which a level is too low.
    levels : array (T,)
    """
    n = pixels.shape[0]
    seen = np.empty(n, np.float32)
    read_variance, excess = noise[0], np.float32(noise[1])
    third = np.float32(EDGEWORTH * noise[1] * (2.0 * noise[1] - 1.0))
    nothing, one, half = np.float32(0), np.float32(1), np.float32(HALF)
    for t in range(first, last):
        for i in range(n):
            seen[i] = photons[t, pixels[i]]
        low, high = span[0], span[1]
        for _ in range(span[2]):
            middle = (low + high) / 2.0
            level = np.float32(math.exp(middle))
            surplus, count = nothing, nothing
            for i in range(n):
                known = level * background[i]
                mean = max(known, nothing)
                variance = max(excess * mean + read_variance[i], np.float32(1e-12))
                deviation = one / np.sqrt(variance)
                skewness = third * mean * deviation * deviation * deviation
                below = (known - seen[i]) * deviation
                counted = one if below > nothing else nothing
                count += counted
                surplus += counted * (below - half / (one + skewness)) * (background[i] * deviation)
            if surplus > nothing and count > np.float32(span[3] * n):
                high = middle
            else:
                low = middle
        levels[t] = math.exp((low + high) / 2.0)
