"""A group of tiles through all iterations, compiled: the inner loops of `tiles`.

The arithmetic is that of `UnfoldedNetwork.iterates` for a Gaussian PSF, in float32. Three things
make it fast: nothing is computed where a row of camera pixels holds no light, all that an
iteration touches stays in the cache of the processor, and every loop runs over consecutive numbers
(columns times tiles), so that the compiler can use the widest instructions there are.

A camera row of fine pixels is stored as ``(q, q, X * lanes)``: fine row, fine column within the
camera pixel, and camera pixel with the tiles of the group beside each other. Indices are unsigned
because signed ones, which may count from the end, keep loops from being vectorised. Tuples
``phases`` of length q and ``window`` of as many camera pixels as the PSF is wide tell their lengths
to the compiler, which unrolls the loops over them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_unfold.unfolding.compiled_lines import (
    Floats,
    Integers,
    Terms,
    collect,
    extrapolate,
    jit,
    one,
    project,
    residual,
    spread,
    zero,
)
from napari_unfold.unfolding.compiled_metric import count, curve, descend_by_pixel

CHECK_EVERY = 4
"""Iterations after which rows that went dark are looked at again; light may return so much late.
Steps that suit every pixel depend on all that may be lit, and are few: there it is always done."""


@jit
def descend(
    x: Floats,
    previous: Floats,
    gradient: Floats,
    lit: Floats,
    start: int,
    n: int,
    inertia: np.float32,
    step: np.float32,
    weight: np.float32,
    bend: np.float32,
    width: np.float32,
) -> None:
    """Take one step and project; the new image takes the place of the previous one."""
    inverse_width = one / width
    scaled_weight = weight * bend
    for p in range(x.shape[0]):
        xs, ps = x[p, start : start + n], previous[p, start : start + n]
        gs, ls = gradient[p], lit[start : start + n]
        for m in range(n):
            z = xs[m] + inertia * (xs[m] - ps[m])
            slope = scaled_weight / (max(z, zero) + bend) if bend > zero else weight
            t = ls[m] * (z - step * (gs[m] + slope))
            ps[m] = project(t, width, inverse_width)


@jit
def span_of_light(
    x: Floats, previous: Floats, first: int, last: int, lanes: int
) -> tuple[int, int]:
    """Narrow the columns of a camera row to those that hold light."""
    low, high = last, first
    for i in range(x.shape[0]):
        for p in range(x.shape[1]):
            for c in range(first, last):
                if c < low or c >= high:
                    light = zero
                    for m in range(c * lanes, (c + 1) * lanes):
                        light += x[i, p, m] + previous[i, p, m]
                    if light > zero:
                        low, high = min(low, c), max(high, c + 1)
    return low, high


@jit
def spans_of_lit(lit: Floats, lanes: int) -> tuple[Integers, Integers]:
    """Return the first column of every row that may receive light, and that after the last."""
    first = np.full(lit.shape[0], lit.shape[1] // lanes)
    last = np.zeros(lit.shape[0], np.int64)
    for r in range(lit.shape[0]):
        for m in range(lit.shape[1]):
            if lit[r, m] > zero:
                first[r] = min(first[r], m // lanes)
                last[r] = m // lanes + 1
    return first, last


@jit
def first_slopes(
    y: Floats, b: Floats, g: Floats, window: tuple[int, ...], kl: bool, out: Floats
) -> None:
    """Write what pulls light into each camera pixel of a dark frame.

    That is the largest ``-A^T D'(0)`` of its fine pixels.

    Parameters
    ----------
    y, b, out : array (Y, X)
    g : array (q, 2 reach + 1)
        How an axis of A spreads light.
    window : tuple
        As long as a row of `g`.
    kl : bool
        Kullback-Leibler fidelity.
    """
    q, reach = g.shape[0], g.shape[1] // 2
    rows, columns = y.shape
    width = columns + 2 * reach
    misfit = np.zeros((rows + 2 * reach, width), np.float32)
    dark, inside = np.zeros(columns, np.float32), np.ones(columns, np.float32)
    for r in range(rows):
        residual(dark, y[r], b[r], inside, kl, misfit[r + reach, reach : reach + columns])
    flat = misfit.reshape(-1)
    lines, pixels = np.zeros((q, width), np.float32), np.zeros((q, columns), np.float32)
    for r in range(rows):
        collect(flat[r * width :], width, g, window, lines, 0, width)
        steepest = out[r]
        for i in range(q):
            collect(lines[i], 1, g, window, pixels, 0, columns)
            for p in range(q):
                for c in range(columns):
                    if i + p == 0 or -pixels[p, c] > steepest[c]:
                        steepest[c] = -pixels[p, c]


@jit
def iterate(
    y: Floats,
    b: Floats,
    inside: Floats,
    lit: Floats,
    g: Floats,
    phases: tuple[int, ...],
    window: tuple[int, ...],
    steps: Floats,
    inertias: Floats,
    weights: Floats,
    bends: Floats,
    terms: Terms,
    lanes: int,
    stop: NDArray[np.bool_],
) -> Floats:
    """Return ``x^K`` of a group of tiles, ``(Y, q, q, X * lanes)``.

    Parameters
    ----------
    y, b, inside, lit : array
        As `cut` returns them.
    g : array (q, 2 reach + 1)
        How an axis of A spreads light.
    phases, window : tuple
        As long as a column and a row of `g`.
    steps, inertias, weights, bends : array (K,)
        A bend of zero stands for the l1 norm.
    terms : Terms
    lanes : int
        Number of tiles.
    stop : array (1,)
        Once it is true the iterations end.
    """
    q, reach = g.shape[0], g.shape[1] // 2
    rows, width, margin = lit.shape[0], y.shape[1], 2 * reach * lanes
    x = np.zeros((rows, q, q, lit.shape[1]), np.float32)
    previous = np.zeros_like(x)
    z = np.zeros(x.shape[1:], np.float32)
    by_pixel = terms.reserve >= zero
    gradient = np.zeros_like(x) if by_pixel else np.zeros_like(x[:1])
    counted, seen = np.zeros_like(lit), np.zeros_like(y if by_pixel else y[:1])
    line = np.zeros((1, width), np.float32)
    even = np.zeros((1, g.shape[1]), np.float32)
    for p in range(q):
        even[0] += g[p] / np.float32(q)
    lines = np.zeros((q, width), np.float32)
    light, misfit = np.zeros_like(y), np.zeros_like(y)
    flat_light, flat_misfit = light.reshape(-1), misfit.reshape(-1)
    first, last = spans_of_lit(lit, lanes)
    low, high = first.copy(), first.copy()
    for k in range(steps.shape[0]):
        if stop[0]:
            break
        inertia = inertias[k]
        light[:] = zero
        for r in range(rows):
            start, n = low[r] * lanes, (high[r] - low[r]) * lanes
            if n > 0:
                extrapolate(x[r], previous[r], start, n, inertia, z)
                lines[:, start : start + n + margin] = zero
                for i in range(q):
                    spread(z[i], 0, n, g, phases, lanes, lines[i, start:])
                spread(lines, start, n + margin, g, phases, width, flat_light[r * width + start :])
        # a weight that falls may let light into rows that went dark
        if by_pixel or k % CHECK_EVERY == 0 or weights[k] < weights[k - 1]:
            low[:], high[:] = first, last
        lit_rows = np.nonzero(high > low)[0]
        if lit_rows.size == 0:
            continue
        top, bottom = lit_rows[0], lit_rows[-1] + 1
        start, end = low.min() * lanes, high.max() * lanes + margin
        for r in range(top, bottom + 2 * reach):
            residual(
                light[r, start:end], y[r, start:end], b[r, start:end],
                inside[r, start:end], terms.kl, misfit[r, start:end],
            )  # fmt: skip
        counted[:] = zero
        for r in range(top, bottom):
            start, n = low[r] * lanes, (high[r] - low[r]) * lanes
            if n <= 0:
                continue
            collect(flat_misfit[r * width + start :], width, g, window, lines, start, n + margin)
            for i in range(q):
                slope = gradient[r, i, :, start:] if by_pixel else gradient[0, 0]
                collect(lines[i, start:], lanes, g, window, slope, 0, n)
                if by_pixel:
                    count(
                        x[r, i], previous[r, i], gradient[r, i], lit[r], start, n,
                        inertia, weights[k], bends[k], terms, counted[r, start:],
                    )  # fmt: skip
                else:
                    descend(
                        x[r, i], previous[r, i], slope, lit[r], start, n,
                        inertia, steps[k], weights[k], bends[k], terms.width,
                    )  # fmt: skip
        if by_pixel:
            dark = terms.reserve
            if k == 0:
                counted[:], dark = zero, np.float32(q * q)
            curve(
                counted, light, b, inside, even, window, (top, bottom), lanes, dark, terms,
                (seen, line),
            )  # fmt: skip
            for r in range(top, bottom):
                start, n = low[r] * lanes, (high[r] - low[r]) * lanes
                for i in range(q):
                    descend_by_pixel(
                        x[r, i], previous[r, i], gradient[r, i], lit[r], counted[r], start, n,
                        inertia, steps[k], k == 0, terms,
                    )  # fmt: skip
        for r in range(top, bottom):
            low[r], high[r] = span_of_light(x[r], previous[r], low[r], high[r], lanes)
        x, previous = previous, x
    return x
