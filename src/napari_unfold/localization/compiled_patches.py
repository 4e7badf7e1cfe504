"""Patches around molecules, each a small problem of its own, compiled.

The arithmetic is that of `patches.Patches`. Every function works on the patches from a first up to,
not including, a last one, so that several threads can share them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from napari_unfold.localization.brightness import PriorNumbers
from napari_unfold.localization.compiled_spots import (
    Doubles,
    Floats,
    Integers,
    add_light,
    copy,
    derivatives,
    half,
    jit,
    loss_of_pixel,
    mean_of,
    one,
    prior_at,
    profiles_of,
    solve,
    zero,
)
from napari_unfold.localization.profiles import Splines


class PatchArrays(NamedTuple):
    """Patches and what is known of them, as arrays.

    Attributes
    ----------
    corner : array (N, 2)
        Camera row and column of the first pixel, perhaps beyond the border.
    size : tuple of int
        Rows and columns of the frames.
    counts, fixed : array (N, P * P)
        Frames and fixed light as the likelihood counts them; zero beyond the border.
    excess_noise : float32
    origin, pull : array (N, k, 2)
        Where anchors touch, and minus the derivative of their loss there.
    stiffness : array (N, k, 2, 2)
        Second derivative of that loss; all three have N = 0 without anchors.
    """

    corner: Integers
    size: tuple[int, int]
    counts: Floats
    fixed: Floats
    excess_noise: np.float32
    origin: Floats
    pull: Floats
    stiffness: Floats


@jit
def cut(
    first: int,
    last: int,
    frame: Integers,
    corner: Integers,
    spots: Floats,
    counts: Floats,
    floor: Floats,
    splines: Splines,
    seen: Floats,
    fixed: Floats,
) -> None:
    """Write what is seen in each patch and what is held fixed: all light but that of its spots.

    Parameters
    ----------
    first, last : int
    frame : array (N,)
    corner : array (N, 2)
    spots : array (N, k, 3)
    counts, floor : array (B, Y, X)
        Frames, and all light in them.
    splines : Splines
    seen, fixed : array (N, P * P)
        Written to.
    """
    _, rows, columns = counts.shape
    side = int(np.sqrt(seen.shape[1]))
    profiles = np.empty((4, splines.down.shape[1], side), np.float32)
    own = np.empty(side * side, np.float32)
    for n in range(first, last):
        top, left = corner[n]
        own[:] = zero
        for m in range(spots.shape[1]):
            profiles_of(spots[n, m], top, left, (rows, columns), splines, profiles)
            add_light(profiles, spots[n, m, 2], own)
        for i in range(side):
            for j in range(side):
                p, row, column = i * side + j, top + i, left + j
                inside = 0 <= row < rows and 0 <= column < columns
                seen[n, p] = counts[frame[n], row, column] if inside else zero
                fixed[n, p] = floor[frame[n], row, column] - own[p] if inside else zero


@jit
def light_up(
    spots: Floats, n: int, patches: PatchArrays, splines: Splines, profiles: Floats, light: Floats
) -> None:
    """Write profiles ``(k, 4, K, P)`` and the light ``(P * P,)`` of the spots of patch `n`."""
    light[:] = zero
    for m in range(spots.shape[0]):
        top, left = patches.corner[n]
        profiles_of(spots[m], top, left, patches.size, splines, profiles[m])
        add_light(profiles[m], spots[m, 2], light)


@jit
def loss_of(
    spots: Floats, n: int, patches: PatchArrays, prior: PriorNumbers, light: Floats
) -> float:
    """Return minus the log-probability of patch `n` and its spots."""
    pixels = np.float64(0.0)
    for p in range(light.shape[0]):
        pixels += loss_of_pixel(light[p], patches.fixed[n, p], patches.counts[n, p])
    loss = pixels / patches.excess_noise
    for m in range(spots.shape[0]):
        loss += prior_at(prior, spots[m, 2])[0]
        if patches.origin.shape[0] > 0:
            y = spots[m, 0] - patches.origin[n, m, 0]
            x = spots[m, 1] - patches.origin[n, m, 1]
            g, h = patches.pull[n, m], patches.stiffness[n, m]
            loss += y * (half * (h[0, 0] * y + h[0, 1] * x) - g[0])
            loss += x * (half * (h[1, 0] * y + h[1, 1] * x) - g[1])
    return loss


@jit
def differentiate(
    spots: Floats,
    n: int,
    patches: PatchArrays,
    prior: PriorNumbers,
    safe: bool,
    profiles: Floats,
    light: Floats,
    jacobian: Floats,
    scratch: Floats,
    gradient: Doubles,
    matrix: Doubles,
) -> None:
    """Write minus the derivative of the loss, and the upper triangle of the Fisher information.

    Parameters
    ----------
    spots : array (k, 3)
    n : int
    patches : PatchArrays
    prior : PriorNumbers
    safe : bool
        Take the curvature of the prior that is safe for a step, not its information.
    profiles, light
        As of `light_up`.
    jacobian : array (3 k, P * P)
    scratch : array (3, P * P)
        Both are overwritten.
    gradient : array (3 k,)
    matrix : array (3 k, 3 k)
    """
    residual, weight, weighted = scratch[0], scratch[1], scratch[2]
    for p in range(light.shape[0]):
        mean = mean_of(light[p], patches.fixed[n, p])
        weight[p] = one / (patches.excess_noise * mean)
        residual[p] = (patches.counts[n, p] - mean) * weight[p]
    for m in range(spots.shape[0]):
        derivatives(profiles[m], spots[m, 2], jacobian[3 * m : 3 * m + 3])
    for i in range(jacobian.shape[0]):
        column, slope = jacobian[i], zero
        for p in range(column.shape[0]):
            slope += column[p] * residual[p]
            weighted[p] = column[p] * weight[p]
        gradient[i] = slope
        for j in range(i, jacobian.shape[0]):
            other, information = jacobian[j], zero
            for p in range(column.shape[0]):
                information += weighted[p] * other[p]
            matrix[i, j] = information
    for m in range(spots.shape[0]):
        i = 3 * m
        _, slope_of_prior, curvature, known = prior_at(prior, spots[m, 2])
        gradient[i + 2] -= slope_of_prior
        matrix[i + 2, i + 2] += curvature if safe else known
        if patches.origin.shape[0] > 0:
            y = spots[m, 0] - patches.origin[n, m, 0]
            x = spots[m, 1] - patches.origin[n, m, 1]
            g, h = patches.pull[n, m], patches.stiffness[n, m]
            gradient[i] += g[0] - h[0, 0] * y - h[0, 1] * x
            gradient[i + 1] += g[1] - h[1, 0] * y - h[1, 1] * x
            matrix[i, i] += h[0, 0]
            matrix[i, i + 1] += h[0, 1]
            matrix[i + 1, i + 1] += h[1, 1]


@jit
def room_for_light(patches: PatchArrays, splines: Splines, k: int) -> tuple[Floats, Floats]:
    """Return the arrays `light_up` writes to, for `k` spots: profiles and light."""
    pixels = patches.counts.shape[1]
    profiles = np.empty((k, 4, splines.down.shape[1], int(np.sqrt(pixels))), np.float32)
    return profiles, np.empty(pixels, np.float32)


@jit
def room_for_derivatives(patches: PatchArrays, k: int) -> tuple[Floats, Floats]:
    """Return the arrays that `differentiate` overwrites, for `k` spots: Jacobian and scratch."""
    pixels = patches.counts.shape[1]
    return np.empty((3 * k, pixels), np.float32), np.empty((3, pixels), np.float32)


@jit
def losses(
    first: int,
    last: int,
    patches: PatchArrays,
    splines: Splines,
    prior: PriorNumbers,
    spots: Floats,
    out: Floats,
) -> None:
    """Write minus the log-probability ``(N,)`` of patches and their spots ``(N, k, 3)``."""
    profiles, light = room_for_light(patches, splines, spots.shape[1])
    for n in range(first, last):
        light_up(spots[n], n, patches, splines, profiles, light)
        out[n] = loss_of(spots[n], n, patches, prior, light)


@jit
def informations(
    first: int,
    last: int,
    patches: PatchArrays,
    splines: Splines,
    prior: PriorNumbers,
    spots: Floats,
    gradients: Doubles,
    matrices: Doubles,
) -> None:
    """Write minus the derivatives ``(N, 3 k)`` of the losses, and the Fisher information."""
    k = spots.shape[1]
    profiles, light = room_for_light(patches, splines, k)
    jacobian, scratch = room_for_derivatives(patches, k)
    for n in range(first, last):
        light_up(spots[n], n, patches, splines, profiles, light)
        matrix = matrices[n]
        differentiate(
            spots[n], n, patches, prior, False,
            profiles, light, jacobian, scratch, gradients[n], matrix,
        )  # fmt: skip
        for i in range(3 * k):
            for j in range(i):
                matrix[i, j] = matrix[j, i]


@jit
def fit(
    first: int,
    last: int,
    patches: PatchArrays,
    splines: Splines,
    prior: PriorNumbers,
    iterations: int,
    max_step: np.float32,
    worth: float,
    spots: Floats,
    out: Floats,
) -> None:
    """Move the spots ``(N, k, 3)`` to where the losses are least, and write those (N,)."""
    k = spots.shape[1]
    profiles, light = room_for_light(patches, splines, k)
    trial_profiles, trial_light = room_for_light(patches, splines, k)
    jacobian, scratch = room_for_derivatives(patches, k)
    gradient, matrix = np.empty(3 * k), np.empty((3 * k, 3 * k))
    damped, step = np.empty_like(matrix), np.empty((3 * k, 1))
    trial = np.empty((k, 3), np.float32)
    for n in range(first, last):
        now = spots[n]
        light_up(now, n, patches, splines, profiles, light)
        loss, damping, moved = loss_of(now, n, patches, prior, light), 1e-2, True
        for _ in range(iterations):
            if moved:
                differentiate(
                    now, n, patches, prior, True,
                    profiles, light, jacobian, scratch, gradient, matrix,
                )  # fmt: skip
            copy(matrix, damped)
            for i in range(3 * k):
                damped[i, i] += damping * matrix[i, i] + 1e-9
                step[i, 0] = gradient[i]
            solve(damped, step)
            gain = 0.0
            for i in range(3 * k):
                gain += 0.5 * gradient[i] * step[i, 0]
            if gain <= worth:
                break
            for m in range(k):
                for i in range(2):
                    move = np.float32(step[3 * m + i, 0])
                    trial[m, i] = now[m, i] + min(max(move, -max_step), max_step)
                photons = now[m, 2]
                change = np.float32(step[3 * m + 2, 0])
                trial[m, 2] = max(photons + change, np.float32(0.2) * photons)
            light_up(trial, n, patches, splines, trial_profiles, trial_light)
            trial_loss = loss_of(trial, n, patches, prior, trial_light)
            moved = trial_loss < loss
            if moved:
                loss, damping = trial_loss, max(damping / 3.0, 1e-6)
                copy(trial, now)
                profiles, trial_profiles = trial_profiles, profiles
                light, trial_light = trial_light, light
            else:
                damping = min(damping * 4.0, 1e3)
        out[n] = loss
