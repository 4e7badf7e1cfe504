"""What the compiled fits have in common: spots, camera noise and brightness as plain numbers.

The arithmetic is that of `profiles`, `likelihood` and `brightness`. A spot is a sum over K of the
product of a profile down and one across, each made of cubic pieces (`profiles.Splines`); patches
are lists of ``P * P`` pixels, one row after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from napari_unfold.localization.brightness import TAIL, PriorNumbers
from napari_unfold.localization.profiles import Splines

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

Function = TypeVar("Function", bound=Callable[..., object])

zero, half, one, two, three = (np.float32(value) for value in (0, 0.5, 1, 2, 3))
least_mean, least_count, least_photons = (np.float32(v) for v in (1e-3, 1e-6, 1e-3))
least_curvature, tail = half, np.float32(TAIL)


def jit(function: Function) -> Function:
    """Compile a function when it is first called; later runs find it on disk.

    Sums may be taken in another order than written, in which they fit the widest instructions; the
    order is the same in every run.
    """
    return numba.njit(  # type: ignore[no-any-return]
        fastmath={"reassoc", "contract", "nsz"}, nogil=True, error_model="numpy", cache=True
    )(function)


@jit
def copy(values: Floats | Doubles, out: Floats | Doubles) -> None:
    """Copy ``(n, m)`` numbers; an assignment would take ten times as long to compile."""
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            out[i, j] = values[i, j]


@jit
def profile(
    pieces: Floats,
    splines: Splines,
    first: int,
    size: int,
    position: np.float32,
    value: Floats,
    slope: Floats,
) -> None:
    """Write the profiles ``(K, P)`` along one axis and their derivatives by the position.

    Parameters
    ----------
    pieces : array (intervals, K, 4)
        Polynomials of the axis.
    splines : Splines
    first : int
        Camera pixel where the patch begins.
    size : int
        Pixels of the frame; those beyond get no light.
    position : float32
        Of the molecule, in camera pixels.
    value, slope : array (K, P)
        Written to.
    """
    samples = np.float32(splines.samples)
    start = (np.float32(first) + half - position + np.float32(splines.edge)) * samples
    whole = math.floor(start)
    u = start - np.float32(whole)
    low = int(whole)
    for k in range(value.shape[0]):
        for p in range(value.shape[1]):
            at = low + p * splines.samples
            if 0 <= first + p < size and 0 <= at < pieces.shape[0]:
                a, b, c, d = pieces[at, k, 0], pieces[at, k, 1], pieces[at, k, 2], pieces[at, k, 3]
                value[k, p] = ((a * u + b) * u + c) * u + d
                slope[k, p] = -samples * ((three * a * u + two * b) * u + c)
            else:
                value[k, p] = zero
                slope[k, p] = zero


@jit
def profiles_of(
    spot: Floats, top: int, left: int, size: tuple[int, int], splines: Splines, out: Floats
) -> None:
    """Write the profiles ``(4, K, P)`` of a spot: y, its derivative, x, its derivative."""
    profile(splines.down, splines, top, size[0], spot[0], out[0], out[1])
    profile(splines.across, splines, left, size[1], spot[1], out[2], out[3])


@jit
def add_light(profiles: Floats, photons: np.float32, light: Floats) -> None:
    """Add the light of a spot to its patch ``(P * P,)``."""
    side = profiles.shape[2]
    for k in range(profiles.shape[1]):
        x = profiles[2, k]
        for i in range(side):
            row, a = light[i * side : (i + 1) * side], photons * profiles[0, k, i]
            for j in range(side):
                row[j] += a * x[j]


@jit
def derivatives(profiles: Floats, photons: np.float32, jacobian: Floats) -> None:
    """Write the derivatives ``(3, P * P)`` of a spot by y, x and photons."""
    side = profiles.shape[2]
    jacobian[:] = zero
    for k in range(profiles.shape[1]):
        x, dx = profiles[2, k], profiles[3, k]
        for i in range(side):
            y, dy = profiles[0, k, i], photons * profiles[1, k, i]
            py = photons * y
            rows = jacobian[:, i * side : (i + 1) * side]
            for j in range(side):
                rows[0, j] += dy * x[j]
                rows[1, j] += py * dx[j]
                rows[2, j] += y * x[j]


@jit
def mean_of(light: np.float32, floor: np.float32) -> np.float32:
    """Return what a pixel holds in the mean."""
    return max(light + floor, least_mean)


@jit
def loss_of_pixel(light: np.float32, floor: np.float32, counts: np.float32) -> np.float32:
    """Return minus the log-probability of a pixel, times the excess noise."""
    mean = mean_of(light, floor)
    loss = mean - counts
    if counts > zero:
        loss -= counts * math.log(mean / max(counts, least_count))
    return np.float32(loss)


@jit
def prior_at(prior: PriorNumbers, photons: np.float32) -> tuple[np.float32, ...]:
    """Return penalty, its derivative, the curvature for a safe step, and the information."""
    n, scale = prior.table.shape[1], prior.scale
    photons = photons / scale
    if n == 0:
        u = (photons - prior.photons) * prior.inverse_width
        curvature = prior.inverse_width * prior.inverse_width / (one + u * u / tail)
        penalty = half * tail * math.log1p(u * u / tail)
        safe = curvature / (scale * scale)
        return penalty, curvature * (photons - prior.photons) / scale, safe, safe
    place = (math.log(max(photons, least_photons)) - prior.first) / prior.step
    place = min(max(place, zero), np.float32(n - 1.001))
    left = int(place)
    t = place - np.float32(left)
    penalty, slope, bend = (
        prior.table[0, left] + t * (prior.table[0, left + 1] - prior.table[0, left]),
        prior.table[1, left] + t * (prior.table[1, left + 1] - prior.table[1, left]),
        prior.table[2, left] + t * (prior.table[2, left + 1] - prior.table[2, left]),
    )
    square = photons * photons * scale * scale
    safe = max(bend - slope, max(abs(slope), least_curvature)) / square
    return penalty, slope / (photons * scale), safe, max(bend - slope, zero) / square


@jit
def solve(matrix: Doubles, right: Doubles) -> None:
    """Solve symmetric equations in place; `matrix` ``(n, n)`` is lost, `right` is ``(n, r)``.

    By ``L D L^T`` without pivots; only the upper triangle is read.
    """
    n, r = matrix.shape[0], right.shape[1]
    for j in range(n):
        row = matrix[j]
        for i in range(j + 1, n):
            factor, target = row[i] / row[j], matrix[i]
            for m in range(i, n):
                target[m] -= factor * row[m]
            for c in range(r):
                right[i, c] -= factor * right[j, c]
    for j in range(n - 1, -1, -1):
        row = matrix[j]
        for c in range(r):
            value = right[j, c]
            for i in range(j + 1, n):
                value -= row[i] * right[i, c]
            right[j, c] = value / row[j]
