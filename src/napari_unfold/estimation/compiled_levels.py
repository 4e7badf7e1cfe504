"""Levels of the dark pixels, compiled: the arithmetic of `dark_levels` and `lamp`."""

from __future__ import annotations

import math

import numpy as np

from napari_unfold.localization.compiled_spots import Doubles, Floats, Integers, jit

HALF = math.sqrt(2.0 / math.pi)
EDGEWORTH = 1.0 / (3.0 * math.sqrt(2.0 * math.pi))

PER_DEVIATION, BUCKETS = 100, 1600
"""Values are sorted into buckets, so many per standard deviation of the noise."""

MANY = 64
"""In a bucket, as in the last if the lowest value is far from the others."""


@jit
def into_buckets(values: Doubles, bucket: float, ends: Integers, order: Integers) -> None:
    """Write the order of some values but for that within buckets, and where these end."""
    n, last, per = values.shape[0], BUCKETS - 1, 1.0 / bucket
    lowest = values.min()
    ends[:] = 0
    for i in range(n):
        ends[int(min((values[i] - lowest) * per, last)) + 1] += 1
    for k in range(BUCKETS):
        ends[k + 1] += ends[k]
    for i in range(n):
        k = int(min((values[i] - lowest) * per, last))
        order[ends[k]] = i
        ends[k] += 1


@jit
def sort(values: Doubles, order: Integers) -> None:
    """Put the indices of a few values in the order of these."""
    n = order.shape[0]
    if n > MANY:
        order[:] = order[np.argsort(values[order])]
        return
    for i in range(1, n):
        one, at = order[i], i
        while at > 0 and values[order[at - 1]] > values[one]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = one


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
    ends, order = np.empty(BUCKETS + 1, np.int64), np.empty(most, np.int64)
    third = excess * (2.0 * excess - 1.0)
    usual, usual_skew = np.empty(background.shape), np.empty(background.shape)
    for y in range(background.shape[0]):
        for x in range(background.shape[1]):
            mean = max(background[y, x], 0.0)
            variance = excess * mean + read_variance[y, x]
            usual[y, x] = math.sqrt(variance)
            usual_skew[y, x] = third * mean / max(variance * usual[y, x], 1e-18)
    for row in range(first, last):
        for column in range(lefts.shape[0]):
            n, scatter = 0, 0.0
            for t in range(photons.shape[0]):
                for y in range(tops[row], tops[row] + height):
                    for x in range(lefts[column], lefts[column] + width):
                        known = background[y, x] * factors[t]
                        if light.shape[0] == 0 and factors[t] == 1.0:
                            deviations[n], skews[n] = usual[y, x], usual_skew[y, x]
                            values[n] = photons[t, y, x] - known
                            scatter += deviations[n]
                            n += 1
                            continue
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
            into_buckets(values[:n], bucket, ends, order)
            shifts[row, column] = first_far_enough(
                values, deviations, skews, min(fewest[0], most), ends, order[:n]
            )


@jit
def first_far_enough(
    values: Doubles,
    deviations: Doubles,
    skews: Doubles,
    fewest: int,
    ends: Integers,
    order: Integers,
) -> float:
    """Return the lowest value from which those below are as far as their noise tells."""
    n, start, at = order.shape[0], 0, 0
    below, expected, skew, middle = 0.0, 0.0, 0.0, np.float64(0.0)
    for k in range(BUCKETS):
        sort(values, order[start : ends[k]])
        for at in range(start, ends[k]):
            i, m = order[at], at + 1.0
            below += values[i]
            expected += deviations[i]
            skew += skews[i]
            if at == n // 2:
                middle = np.float64(values[i])
            if m >= fewest and (values[i] - below / m) * (m + EDGEWORTH * skew) >= HALF * expected:
                return np.float64(values[i])
        start = ends[k]
    return middle


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
