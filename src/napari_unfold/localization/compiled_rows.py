"""The rows of tracks in all frames of a window, compiled.

The arithmetic is that of `row_pixels.RowPixels`. Every function works on the frames from a first up
to, not including, a last one; rows are sorted by frame.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_unfold.localization.compiled_maps import (
    collect,
    empty,
    information_of,
    product,
    put,
    take,
    weigh,
)
from napari_unfold.localization.compiled_spots import (
    Floats,
    Integers,
    add_light,
    derivatives,
    jit,
    loss_of_pixel,
    profiles_of,
    zero,
)
from napari_unfold.localization.profiles import Splines


class WindowArrays(NamedTuple):
    """The frames of a window and the rows in them, as arrays.

    Attributes
    ----------
    starts, lit_starts : array (B + 1,)
        Where the rows of each frame begin, and the pixels under their patches.
    lit : array (L, 2)
        As `compiled_maps.covered` returns them.
    corner : array (N, 2)
        As `compiled_maps.corners_of` returns them.
    counts, floor : array (B, Y, X)
        As the likelihood counts them.
    excess_noise : float32
    light, residual, weight : array (B, Y + P - 1, X + P - 1)
        Maps with a margin.
    jacobian : array (N, 3, P * P)
        Derivatives by y, x and photons of each row.
    """

    starts: Integers
    lit_starts: Integers
    lit: Integers
    corner: Integers
    counts: Floats
    floor: Floats
    excess_noise: np.float32
    light: Floats
    residual: Floats
    weight: Floats
    jacobian: Floats


@jit
def look(
    first: int,
    last: int,
    window: WindowArrays,
    splines: Splines,
    rows: Floats,
    stale: NDArray[np.bool_],
    gradient: Floats,
    information: Floats,
) -> None:
    """Bring maps and derivatives up to date and write what the pixels say of the rows.

    Frames in which nothing has moved are left as they are.

    Parameters
    ----------
    first, last : int
    window : WindowArrays
    splines : Splines
    rows : array (N, 3)
        y, x and photons.
    stale : array (N,)
        Which rows have moved.
    gradient : array (N, 3)
        Minus the derivative of the loss.
    information : array (N, 3, 3)
        Fisher information.
    """
    side = int(np.sqrt(window.jacobian.shape[2]))
    profiles = np.empty((4, splines.down.shape[1], side), np.float32)
    patch, reach = np.empty(side * side, np.float32), side // 2
    size = (window.counts.shape[1], window.counts.shape[2])
    for t in range(first, last):
        moved = False
        for n in range(window.starts[t], window.starts[t + 1]):
            moved |= stale[n]
        if not moved:
            continue
        light, lit = window.light[t], window.lit[window.lit_starts[t] : window.lit_starts[t + 1]]
        empty(light, lit)
        for n in range(window.starts[t], window.starts[t + 1]):
            corner, jacobian = window.corner[n], window.jacobian[n]
            q, one_photon = rows[n, 2], jacobian[2]
            if stale[n]:
                top, left = corner[0] - reach, corner[1] - reach
                profiles_of(rows[n], top, left, size, splines, profiles)
                derivatives(profiles, q, jacobian)
            for p in range(patch.shape[0]):
                patch[p] = q * one_photon[p]
            put(patch, corner, light)
        weigh(
            window.counts[t], window.floor[t], window.excess_noise, light, lit,
            window.residual[t], window.weight[t],
        )  # fmt: skip
        for n in range(window.starts[t], window.starts[t + 1]):
            corner, jacobian, h = window.corner[n], window.jacobian[n], information[n]
            take(window.residual[t], corner, patch)
            gradient[n, 0], gradient[n, 1], gradient[n, 2] = collect(jacobian, patch)
            take(window.weight[t], corner, patch)
            h[0, 0], h[0, 1], h[0, 2], h[1, 1], h[1, 2], h[2, 2] = information_of(jacobian, patch)
            h[1, 0], h[2, 0], h[2, 1] = h[0, 1], h[0, 2], h[1, 2]


@jit
def products(
    first: int,
    last: int,
    window: WindowArrays,
    which: Integers,
    starts: Integers,
    along: Floats,
    out: Floats,
) -> None:
    """Apply the Fisher information to changes of some rows.

    Parameters
    ----------
    first, last, window
        As above.
    which : array (n,)
        Numbers of the rows.
    starts : array (B + 1,)
        Where those of each frame begin in `which`.
    along, out : array (n, 3)
        Changes of y, x and photons; what is written.
    """
    change = np.zeros(window.light.shape[1:], np.float32)
    patch = np.empty(window.jacobian.shape[2], np.float32)
    for t in range(first, last):
        a, b = starts[t], starts[t + 1]
        if a == b:
            continue
        lit = window.lit[window.lit_starts[t] : window.lit_starts[t + 1]]
        product(
            along[a:b], which[a:b], window.corner, window.jacobian, lit, window.weight[t],
            change, patch, out[a:b],
        )  # fmt: skip
        empty(change, lit)


@jit
def rises(
    first: int,
    last: int,
    window: WindowArrays,
    splines: Splines,
    rows: Floats,
    which: Integers,
    starts: Integers,
    trial: Floats,
    out: Floats,
) -> None:
    """Write by how much the loss around some rows rises when all of them move.

    Parameters
    ----------
    first, last, window, splines, which, starts
        As above.
    rows : array (N, 3)
        y, x and photons of all rows.
    trial : array (n, 3)
        Those of some after the move.
    out : array (n,)
    """
    side = int(np.sqrt(window.jacobian.shape[2]))
    profiles = np.empty((4, splines.down.shape[1], side), np.float32)
    patch, reach = np.empty(side * side, np.float32), side // 2
    size = (window.counts.shape[1], window.counts.shape[2])
    change = np.zeros(window.light.shape[1:], np.float32)
    flat_change = change.reshape(-1)
    for t in range(first, last):
        if starts[t] == starts[t + 1]:
            continue
        lit = window.lit[window.lit_starts[t] : window.lit_starts[t + 1]]
        for i in range(starts[t], starts[t + 1]):
            n = which[i]
            corner, one_photon = window.corner[n], window.jacobian[n, 2]
            profiles_of(trial[i], corner[0] - reach, corner[1] - reach, size, splines, profiles)
            for p in range(patch.shape[0]):
                patch[p] = -rows[n, 2] * one_photon[p]
            add_light(profiles, trial[i, 2], patch)
            put(patch, corner, change)
        light = window.light[t].reshape(-1)
        counts, floor = window.counts[t].reshape(-1), window.floor[t].reshape(-1)
        for p in range(lit.shape[0]):
            place, pixel = lit[p, 0], lit[p, 1]
            if flat_change[place] != zero:
                after = light[place] + flat_change[place]
                flat_change[place] = (
                    loss_of_pixel(after, floor[pixel], counts[pixel])
                    - loss_of_pixel(light[place], floor[pixel], counts[pixel])
                ) / window.excess_noise
        for i in range(starts[t], starts[t + 1]):
            take(change, window.corner[which[i]], patch)
            total = zero
            for p in range(patch.shape[0]):
                total += patch[p]
            out[i] = total
        empty(change, lit)
