"""Steps that suit every pixel, compiled: `metric` for the tiles of `compiled`."""

from __future__ import annotations

import numpy as np

from napari_unfold.unfolding.compiled_lines import (
    Floats,
    Terms,
    collect,
    jit,
    one,
    project,
    spread,
    zero,
)

smallest = np.float32(1e-30)


@jit
def count(
    x: Floats,
    previous: Floats,
    gradient: Floats,
    lit: Floats,
    start: int,
    n: int,
    inertia: np.float32,
    weight: np.float32,
    bend: np.float32,
    terms: Terms,
    counted: Floats,
) -> None:
    """Complete the gradient of a line by the penalty; add up the shares of what can change."""
    inverse_width, inverse_molecule = one / terms.width, one / terms.molecule
    scaled_weight = weight * bend
    for p in range(x.shape[0]):
        xs, ps = x[p, start : start + n], previous[p, start : start + n]
        gs, ls = gradient[p, start : start + n], lit[start : start + n]
        for m in range(n):
            z = xs[m] + inertia * (xs[m] - ps[m])
            slope = scaled_weight / (max(z, zero) + bend) if bend > zero else weight
            gs[m] += slope
            faint = one if gs[m] < zero else min(abs(z) * inverse_width, one)
            root = np.sqrt(min(abs(z) * inverse_molecule, one))
            counted[m] += ls[m] * max(root, terms.faint * faint)


@jit
def curve(
    counted: Floats,
    light: Floats,
    b: Floats,
    inside: Floats,
    even: Floats,
    window: tuple[int, ...],
    rows: tuple[int, int],
    lanes: int,
    dark: np.float32,
    terms: Terms,
    scratch: tuple[Floats, Floats],
) -> None:
    """Replace the shares that count by ``A^T D'' A`` times them; see `metric.pixel_curvature`.

    Parameters
    ----------
    counted : array (Y, X * lanes)
    light, b, inside : array (Y + 2 reach, (X + 2 reach) * lanes)
    even : array (1, 2 reach + 1)
        How an axis of A spreads light that is even within a camera pixel.
    window : tuple
        As long as a row of `even`.
    rows : tuple
        First row of camera pixels that matters, and that after the last.
    lanes : int
    dark : float32
        The reserve.
    terms : Terms
    scratch : tuple of array
        Of the shape of the light, and of one of its rows.
    """
    seen, line = scratch
    phase = (0,)
    reach, width, n = even.shape[1] // 2, seen.shape[1], counted.shape[1]
    flat = seen.reshape(-1)
    first, last = rows[0], rows[1]
    seen[first : last + 2 * reach] = zero
    for r in range(first, last):
        line[:] = zero
        spread(counted[r : r + 1], 0, n, even, phase, lanes, line[0])
        spread(line, 0, width, even, phase, width, flat[r * width :])
    for r in range(first, last + 2 * reach):
        seen_row, light_row, b_row, inside_row = seen[r], light[r], b[r], inside[r]
        for m in range(width):
            expected = one / (max(light_row[m], zero) + b_row[m]) if terms.kl else one
            seen_row[m] = inside_row[m] * expected * (seen_row[m] + dark)
    for r in range(first, last):
        collect(flat[r * width :], width, even, window, line, 0, width)
        collect(line[0], lanes, even, window, counted[r : r + 1], 0, n)


@jit
def descend_by_pixel(
    x: Floats,
    previous: Floats,
    gradient: Floats,
    lit: Floats,
    curvature: Floats,
    start: int,
    n: int,
    inertia: np.float32,
    step: np.float32,
    first: bool,
    terms: Terms,
) -> None:
    """Take one step that suits every pixel of a line; else as `descend`."""
    inverse_width, inverse_molecule = one / terms.width, one / terms.molecule
    scaled_step = step / terms.coarseness
    for p in range(x.shape[0]):
        xs, ps = x[p, start : start + n], previous[p, start : start + n]
        gs, ls, ds = gradient[p, start : start + n], lit[start : start + n], curvature[start:]
        for m in range(n):
            z = xs[m] + inertia * (xs[m] - ps[m])
            share = max(np.sqrt(min(abs(z) * inverse_molecule, one)), terms.faint)
            if first:
                share = one
            # beyond the frame there is nothing to divide by, and nothing is lit
            t = z - scaled_step * gs[m] * (ls[m] * share / max(ds[m], smallest))
            ps[m] = project(t, terms.width, inverse_width)
