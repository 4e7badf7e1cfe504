"""Maps of frames, and the patches of molecules on them, compiled.

Maps have a margin on which the patches of molecules at the border may lie; pixels that no patch
covers are not touched.
"""

from __future__ import annotations

import numpy as np

from napari_unfold.localization.compiled_spots import (
    Doubles,
    Floats,
    Integers,
    jit,
    mean_of,
    one,
    zero,
)


@jit
def corners_of(spots: Floats, size: tuple[int, int]) -> Integers:
    """Return row and column ``(N, 2)`` in a map with a margin where the patches begin."""
    corner = np.empty((spots.shape[0], 2), np.int64)
    for n in range(spots.shape[0]):
        for axis in range(2):
            pixel = int(np.floor(spots[n, axis]))
            corner[n, axis] = min(max(pixel, 0), size[axis] - 1)
    return corner


@jit
def covered(corner: Integers, side: int, size: tuple[int, int]) -> Integers:
    """Return the pixels ``(L, 2)`` under patches: their places in a map and in the frame."""
    reach, width = side // 2, size[1] + side - 1
    found = np.zeros((size[0] + side - 1, width), np.bool_)
    for n in range(corner.shape[0]):
        found[corner[n, 0] : corner[n, 0] + side, corner[n, 1] : corner[n, 1] + side] = True
    count = 0
    lit = np.empty((min(corner.shape[0] * side * side, size[0] * size[1]), 2), np.int64)
    for row in range(size[0]):
        for column in range(size[1]):
            if found[row + reach, column + reach]:
                lit[count, 0] = (row + reach) * width + column + reach
                lit[count, 1] = row * size[1] + column
                count += 1
    return lit[:count]


@jit
def empty(pixels: Floats, lit: Integers) -> None:
    """Set the pixels under patches to zero."""
    flat = pixels.reshape(-1)
    for p in range(lit.shape[0]):
        flat[lit[p, 0]] = zero


@jit
def put(patch: Floats, corner: Integers, pixels: Floats) -> None:
    """Add a patch ``(P * P,)`` to a map."""
    side, left = int(np.sqrt(patch.shape[0])), corner[1]
    for i in range(side):
        row, own = pixels[corner[0] + i, left : left + side], patch[i * side : (i + 1) * side]
        for j in range(side):
            row[j] += own[j]


@jit
def take(pixels: Floats, corner: Integers, patch: Floats) -> None:
    """Copy a patch ``(P * P,)`` from a map."""
    side, left = int(np.sqrt(patch.shape[0])), corner[1]
    for i in range(side):
        row, own = pixels[corner[0] + i, left : left + side], patch[i * side : (i + 1) * side]
        for j in range(side):
            own[j] = row[j]


@jit
def weigh(
    counts: Floats,
    floor: Floats,
    excess_noise: np.float32,
    light: Floats,
    lit: Integers,
    residual: Floats,
    weight: Floats,
) -> None:
    """Write residual and weight of the pixels under patches into maps."""
    seen, known, flat = counts.reshape(-1), floor.reshape(-1), light.reshape(-1)
    flat_residual, flat_weight = residual.reshape(-1), weight.reshape(-1)
    for p in range(lit.shape[0]):
        place, pixel = lit[p, 0], lit[p, 1]
        mean = mean_of(flat[place], known[pixel])
        flat_weight[place] = one / (excess_noise * mean)
        flat_residual[place] = (seen[pixel] - mean) * flat_weight[place]


@jit
def change_of(jacobian: Floats, y: np.float32, x: np.float32, q: np.float32, out: Floats) -> None:
    """Write by how much a patch changes when its molecule does."""
    by_y, by_x, by_q = jacobian[0], jacobian[1], jacobian[2]
    for p in range(out.shape[0]):
        out[p] = y * by_y[p] + x * by_x[p] + q * by_q[p]


@jit
def collect(jacobian: Floats, patch: Floats) -> tuple[np.float32, np.float32, np.float32]:
    """Return the sums over a patch times the derivatives."""
    by_y, by_x, by_q = jacobian[0], jacobian[1], jacobian[2]
    y = x = q = zero
    for p in range(patch.shape[0]):
        y += patch[p] * by_y[p]
        x += patch[p] * by_x[p]
        q += patch[p] * by_q[p]
    return y, x, q


@jit
def information_of(
    jacobian: Floats, weight: Floats
) -> tuple[np.float32, np.float32, np.float32, np.float32, np.float32, np.float32]:
    """Return the Fisher information of a patch on its molecule: yy, yx, yq, xx, xq, qq."""
    by_y, by_x, by_q = jacobian[0], jacobian[1], jacobian[2]
    yy = yx = yq = xx = xq = qq = zero
    for p in range(weight.shape[0]):
        wy, wx, wq = weight[p] * by_y[p], weight[p] * by_x[p], weight[p] * by_q[p]
        yy += wy * by_y[p]
        yx += wy * by_x[p]
        yq += wy * by_q[p]
        xx += wx * by_x[p]
        xq += wx * by_q[p]
        qq += wq * by_q[p]
    return yy, yx, yq, xx, xq, qq


@jit
def product(
    along: Doubles | Floats,
    which: Integers,
    corner: Integers,
    jacobian: Floats,
    lit: Integers,
    weight: Floats,
    change: Floats,
    patch: Floats,
    out: Doubles | Floats,
) -> None:
    """Apply the Fisher information of a frame to changes of some of its molecules.

    Parameters
    ----------
    along : array (n, 3)
        Changes of y, x and photons.
    which : array (n,)
        Of the molecules that `corner` and `jacobian` are of.
    corner, jacobian, lit
        As above.
    weight : array (Y + P - 1, X + P - 1)
    change : array (Y + P - 1, X + P - 1)
    patch : array (P * P,)
        Both are overwritten.
    out : array (n, 3)
        Written to.
    """
    flat_change, flat_weight = change.reshape(-1), weight.reshape(-1)
    empty(change, lit)
    for i in range(which.shape[0]):
        n, (y, x, q) = which[i], (along[i, 0], along[i, 1], along[i, 2])
        change_of(jacobian[n], np.float32(y), np.float32(x), np.float32(q), patch)
        put(patch, corner[n], change)
    for p in range(lit.shape[0]):
        flat_change[lit[p, 0]] *= flat_weight[lit[p, 0]]
    for i in range(which.shape[0]):
        take(change, corner[which[i]], patch)
        out[i, 0], out[i, 1], out[i, 2] = collect(jacobian[which[i]], patch)
