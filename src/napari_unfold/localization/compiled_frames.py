"""The joint fit of all molecules of a frame, compiled; the arithmetic is that of `refine.fit`."""

from __future__ import annotations

import numpy as np

from napari_unfold.localization.brightness import PriorNumbers
from napari_unfold.localization.compiled_maps import (
    collect,
    corners_of,
    covered,
    empty,
    information_of,
    product,
    put,
    take,
    weigh,
)
from napari_unfold.localization.compiled_spots import (
    Doubles,
    Floats,
    Integers,
    add_light,
    copy,
    derivatives,
    jit,
    loss_of_pixel,
    prior_at,
    profiles_of,
    solve,
    zero,
)
from napari_unfold.localization.profiles import Splines
from napari_unfold.localization.refine import EMPTY_CURVATURE


@jit
def look(
    spots: Floats,
    corner: Integers,
    size: tuple[int, int],
    splines: Splines,
    lit: Integers,
    light: Floats,
    jacobian: Floats,
) -> None:
    """Write the light of all molecules into a map, and their derivatives ``(N, 3, P * P)``."""
    side = int(np.sqrt(jacobian.shape[2]))
    profiles, reach = np.empty((4, splines.down.shape[1], side), np.float32), side // 2
    own = np.empty(side * side, np.float32)
    empty(light, lit)
    for n in range(spots.shape[0]):
        top, left, q = corner[n, 0] - reach, corner[n, 1] - reach, spots[n, 2]
        profiles_of(spots[n], top, left, size, splines, profiles)
        derivatives(profiles, q, jacobian[n])
        one_photon = jacobian[n, 2]
        for p in range(own.shape[0]):
            own[p] = q * one_photon[p]
        put(own, corner[n], light)


@jit
def light_of(
    first: int,
    last: int,
    starts: Integers,
    molecules: Floats,
    side: int,
    splines: Splines,
    light: Floats,
) -> None:
    """Write the frames ``(B, Y, X)`` that molecules make; arguments as of `fit`."""
    size, reach = (light.shape[1], light.shape[2]), side // 2
    profiles = np.empty((4, splines.down.shape[1], side), np.float32)
    own = np.empty(side * side, np.float32)
    pixels = np.zeros((size[0] + side - 1, size[1] + side - 1), np.float32)
    for t in range(first, last):
        pixels[:] = zero
        spots = molecules[starts[t] : starts[t + 1]]
        corner = corners_of(spots, size)
        for n in range(spots.shape[0]):
            top, left = corner[n, 0] - reach, corner[n, 1] - reach
            profiles_of(spots[n], top, left, size, splines, profiles)
            own[:] = zero
            add_light(profiles, spots[n, 2], own)
            put(own, corner[n], pixels)
        copy(pixels[reach : reach + size[0], reach : reach + size[1]], light[t])


@jit
def loss_of(
    counts: Floats,
    floor: Floats,
    excess_noise: np.float32,
    light: Floats,
    lit: Integers,
    spots: Floats,
    prior: PriorNumbers,
) -> float:
    """Return minus the log-probability of the pixels under patches and the molecules."""
    seen, known, flat = counts.reshape(-1), floor.reshape(-1), light.reshape(-1)
    pixels = np.float64(0.0)
    for p in range(lit.shape[0]):
        place, pixel = lit[p, 0], lit[p, 1]
        pixels += loss_of_pixel(flat[place], known[pixel], seen[pixel])
    loss = pixels / excess_noise
    for n in range(spots.shape[0]):
        loss += prior_at(prior, spots[n, 2])[0]
    return loss


@jit
def step_of(
    corner: Integers,
    jacobian: Floats,
    lit: Integers,
    weight: Floats,
    gradient: Doubles,
    extra: Doubles,
    inverse: Doubles,
    change: Floats,
    iterations: int,
) -> Doubles:
    """Return the step ``(N, 3)`` of the linear equations, by preconditioned conjugate gradients.

    Parameters
    ----------
    corner, jacobian, lit, weight, change
        As above.
    gradient : array (N, 3)
    extra : array (N, 3)
        Prior and damping, on the diagonal.
    inverse : array (N, 3, 3)
        Solves the equations of every molecule by itself.
    iterations : int
    """
    n_molecules = gradient.shape[0]
    step, r = np.zeros_like(gradient), gradient.copy()
    z, seen = np.empty_like(r), np.empty_like(r)
    patch, everyone = np.empty(jacobian.shape[2], np.float32), np.arange(n_molecules)
    rz = precondition(inverse, r, z)
    along = z.copy()
    for _ in range(iterations):
        product(along, everyone, corner, jacobian, lit, weight, change, patch, seen)
        curvature = 0.0
        for n in range(n_molecules):
            for i in range(3):
                seen[n, i] += extra[n, i] * along[n, i]
                curvature += seen[n, i] * along[n, i]
        length = rz / max(curvature, 1e-30)
        for n in range(n_molecules):
            for i in range(3):
                step[n, i] += length * along[n, i]
                r[n, i] -= length * seen[n, i]
        before = rz
        rz = precondition(inverse, r, z)
        for n in range(n_molecules):
            for i in range(3):
                along[n, i] = z[n, i] + rz / max(before, 1e-30) * along[n, i]
    return step


@jit
def precondition(inverse: Doubles, r: Doubles, z: Doubles) -> float:
    """Write ``z = inverse r`` for every molecule by itself, and return ``r z``."""
    total = 0.0
    for n in range(r.shape[0]):
        for i in range(3):
            value = inverse[n, i, 0] * r[n, 0] + inverse[n, i, 1] * r[n, 1]
            z[n, i] = value + inverse[n, i, 2] * r[n, 2]
            total += r[n, i] * z[n, i]
    return total


@jit
def equations(
    spots: Floats,
    corner: Integers,
    jacobian: Floats,
    residual: Floats,
    weight: Floats,
    prior: PriorNumbers,
    damping: float,
    gradient: Doubles,
    extra: Doubles,
    inverse: Doubles,
) -> None:
    """Write what `step_of` needs to know of every molecule."""
    patch, matrix = np.empty(jacobian.shape[2], np.float32), np.empty((3, 3))
    for n in range(spots.shape[0]):
        take(residual, corner[n], patch)
        y, x, q = collect(jacobian[n], patch)
        _, slope, curvature, _ = prior_at(prior, spots[n, 2])
        gradient[n, 0], gradient[n, 1], gradient[n, 2] = y, x, q - slope
        take(weight, corner[n], patch)
        yy, yx, yq, xx, xq, qq = information_of(jacobian[n], patch)
        extra[n, 0] = damping * yy + EMPTY_CURVATURE
        extra[n, 1] = damping * xx + EMPTY_CURVATURE
        extra[n, 2] = damping * qq + EMPTY_CURVATURE + curvature
        matrix[0, 0], matrix[0, 1], matrix[0, 2] = yy + extra[n, 0], yx, yq
        matrix[1, 1], matrix[1, 2], matrix[2, 2] = xx + extra[n, 1], xq, qq + extra[n, 2]
        for i in range(3):
            for j in range(3):
                inverse[n, i, j] = 1.0 if i == j else 0.0
        solve(matrix, inverse[n])


@jit
def fit(
    first: int,
    last: int,
    starts: Integers,
    molecules: Floats,
    counts: Floats,
    floor: Floats,
    excess_noise: np.float32,
    side: int,
    splines: Splines,
    prior: PriorNumbers,
    iterations: int,
    steps: int,
    max_step: np.float32,
    max_outside: np.float32,
) -> None:
    """Fit the molecules of the frames from `first` up to, not including, `last`.

    Parameters
    ----------
    first, last : int
    starts : array (B + 1,)
        Where the molecules of each frame begin.
    molecules : array (N, 3)
        y, x and photons; moved.
    counts, floor : array (B, Y, X)
        As the likelihood counts them.
    excess_noise : float32
    side : int
        P, pixels along a patch.
    splines : Splines
    prior : PriorNumbers
    iterations, steps : int
        Damped Fisher scoring steps, and conjugate gradients in each.
    max_step, max_outside : float32
        As in `refine`.
    """
    size = (counts.shape[1], counts.shape[2])
    maps = np.zeros((5, size[0] + side - 1, size[1] + side - 1), np.float32)
    for t in range(first, last):
        spots = molecules[starts[t] : starts[t + 1]]
        n = spots.shape[0]
        if n == 0:
            continue
        maps[:] = zero
        light, trial_light, residual, weight, change = maps[0], maps[1], maps[2], maps[3], maps[4]
        corner = corners_of(spots, size)
        lit = covered(corner, side, size)
        jacobian = np.empty((n, 3, side * side), np.float32)
        trial_jacobian, trial = np.empty_like(jacobian), np.empty_like(spots)
        gradient, extra, inverse = np.empty((n, 3)), np.empty((n, 3)), np.empty((n, 3, 3))
        look(spots, corner, size, splines, lit, light, jacobian)
        loss = loss_of(counts[t], floor[t], excess_noise, light, lit, spots, prior)
        damping = 1e-2
        for _ in range(iterations):
            weigh(counts[t], floor[t], excess_noise, light, lit, residual, weight)
            equations(
                spots, corner, jacobian, residual, weight, prior, damping,
                gradient, extra, inverse,
            )  # fmt: skip
            step = step_of(corner, jacobian, lit, weight, gradient, extra, inverse, change, steps)
            for m in range(n):
                for axis in range(2):
                    move = min(max(np.float32(step[m, axis]), -max_step), max_step)
                    farthest = np.float32(size[axis]) + max_outside
                    trial[m, axis] = min(max(spots[m, axis] + move, -max_outside), farthest)
                faintest = np.float32(0.2) * spots[m, 2]
                trial[m, 2] = max(spots[m, 2] + np.float32(step[m, 2]), faintest)
            look(trial, corner, size, splines, lit, trial_light, trial_jacobian)
            trial_loss = loss_of(counts[t], floor[t], excess_noise, trial_light, lit, trial, prior)
            if trial_loss < loss:
                loss, damping = trial_loss, max(damping / 3.0, 1e-6)
                copy(trial, spots)
                jacobian, trial_jacobian = trial_jacobian, jacobian
                light, trial_light = trial_light, light
            else:
                damping = min(damping * 4.0, 1e3)
