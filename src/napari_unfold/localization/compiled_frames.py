"""The joint fit of all molecules of a frame, compiled.

The arithmetic is that of `refine.fit`. Derivatives of whole frames are never written down: the
image of a molecule is a sum of products of profiles, and so are its derivatives. Maps have a margin
on which the patches of molecules at the border may lie; pixels that no patch covers are not
touched.
"""

from __future__ import annotations

import numpy as np

from napari_unfold.localization.brightness import PriorNumbers
from napari_unfold.localization.compiled_spots import (
    Doubles,
    Floats,
    Integers,
    derivatives,
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

EMPTY_CURVATURE = 1e-9
"""As in `refine`."""


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
def profile_all(
    spots: Floats, corner: Integers, size: tuple[int, int], splines: Splines, profiles: Floats
) -> None:
    """Write the profiles ``(N, 4, K, P)`` of molecules."""
    reach = profiles.shape[3] // 2
    for n in range(spots.shape[0]):
        top, left = corner[n, 0] - reach, corner[n, 1] - reach
        profiles_of(spots[n], top, left, size, splines, profiles[n])


@jit
def empty(pixels: Floats, lit: Integers) -> None:
    """Set the pixels under patches to zero."""
    flat = pixels.reshape(-1)
    for p in range(lit.shape[0]):
        flat[lit[p, 0]] = zero


@jit
def spread(
    profiles: Floats,
    corner: Integers,
    y: np.float32,
    x: np.float32,
    photons: np.float32,
    pixels: Floats,
) -> None:
    """Add to a map what changes when a molecule moves by `y` and `x`, or gets brighter.

    Parameters
    ----------
    profiles : array (4, K, P)
    corner : array (2,)
    y, x : float32
        Times the molecule's photons.
    photons : float32
    pixels : array (Y + P - 1, X + P - 1)
    """
    side, left = profiles.shape[2], corner[1]
    for k in range(profiles.shape[1]):
        across, slope = profiles[2, k], profiles[3, k]
        for i in range(side):
            down = profiles[0, k, i]
            a, b = photons * down + y * profiles[1, k, i], x * down
            row = pixels[corner[0] + i, left : left + side]
            for j in range(side):
                row[j] += a * across[j] + b * slope[j]


@jit
def collect(
    profiles: Floats, corner: Integers, pixels: Floats
) -> tuple[np.float32, np.float32, np.float32]:
    """Return the transpose of `spread`: sums over a map, to be multiplied by the photons."""
    side, left = profiles.shape[2], corner[1]
    y = x = photons = zero
    for k in range(profiles.shape[1]):
        across, slope = profiles[2, k], profiles[3, k]
        for i in range(side):
            row = pixels[corner[0] + i, left : left + side]
            along, aside = zero, zero
            for j in range(side):
                along += row[j] * across[j]
                aside += row[j] * slope[j]
            y += profiles[1, k, i] * along
            x += profiles[0, k, i] * aside
            photons += profiles[0, k, i] * along
    return y, x, photons


@jit
def draw(
    spots: Floats, corner: Integers, profiles: Floats, lit: Integers, light: Floats
) -> None:
    """Write the light of all molecules into a map."""
    empty(light, lit)
    for n in range(spots.shape[0]):
        spread(profiles[n], corner[n], zero, zero, spots[n, 2], light)


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
def information_of(
    profiles: Floats, corner: Integers, photons: np.float32, weight: Floats, jacobian: Floats
) -> tuple[float, float, float, float, float, float]:
    """Return the Fisher information of a molecule by itself: yy, yx, yp, xx, xp, pp.

    `jacobian` ``(3, P * P)`` is overwritten.
    """
    side = profiles.shape[2]
    derivatives(profiles, photons, jacobian)
    yy = yx = yp = xx = xp = pp = zero
    for i in range(side):
        row = weight[corner[0] + i, corner[1] : corner[1] + side]
        dy, dx, dp = jacobian[0, i * side :], jacobian[1, i * side :], jacobian[2, i * side :]
        for j in range(side):
            wy, wx, wp = row[j] * dy[j], row[j] * dx[j], row[j] * dp[j]
            yy += wy * dy[j]
            yx += wy * dx[j]
            yp += wy * dp[j]
            xx += wx * dx[j]
            xp += wx * dp[j]
            pp += wp * dp[j]
    return yy, yx, yp, xx, xp, pp


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
    spots: Floats,
    corner: Integers,
    profiles: Floats,
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
    spots, corner, profiles, lit
        As above.
    weight : array (Y + P - 1, X + P - 1)
    gradient : array (N, 3)
    extra : array (N, 3)
        Prior and damping, on the diagonal.
    inverse : array (N, 3, 3)
        Solves the equations of every molecule by itself.
    change : array (Y + P - 1, X + P - 1)
        Overwritten.
    iterations : int
    """
    flat_change, flat_weight = change.reshape(-1), weight.reshape(-1)
    step, r = np.zeros_like(gradient), gradient.copy()
    z, product = np.empty_like(r), np.empty_like(r)
    rz = precondition(inverse, r, z)
    along = z.copy()
    for _ in range(iterations):
        empty(change, lit)
        for n in range(spots.shape[0]):
            q, v = spots[n, 2], along[n]
            y, x, photons = np.float32(v[0]) * q, np.float32(v[1]) * q, np.float32(v[2])
            spread(profiles[n], corner[n], y, x, photons, change)
        for p in range(lit.shape[0]):
            flat_change[lit[p, 0]] *= flat_weight[lit[p, 0]]
        curvature = 0.0
        for n in range(spots.shape[0]):
            y, x, photons = collect(profiles[n], corner[n], change)
            product[n, 0] = spots[n, 2] * y + extra[n, 0] * along[n, 0]
            product[n, 1] = spots[n, 2] * x + extra[n, 1] * along[n, 1]
            product[n, 2] = photons + extra[n, 2] * along[n, 2]
            for i in range(3):
                curvature += along[n, i] * product[n, i]
        a = rz / max(curvature, 1e-30)
        step += a * along
        r -= a * product
        before = rz
        rz = precondition(inverse, r, z)
        b = rz / max(before, 1e-30)
        along *= b
        along += z
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
    profiles: Floats,
    residual: Floats,
    weight: Floats,
    prior: PriorNumbers,
    damping: float,
    gradient: Doubles,
    extra: Doubles,
    inverse: Doubles,
) -> None:
    """Write what `step_of` needs to know of every molecule."""
    side = profiles.shape[3]
    jacobian, matrix = np.empty((3, side * side), np.float32), np.empty((3, 3))
    for n in range(spots.shape[0]):
        q = spots[n, 2]
        y, x, photons = collect(profiles[n], corner[n], residual)
        _, slope, curvature, _ = prior_at(prior, q)
        gradient[n, 0], gradient[n, 1], gradient[n, 2] = q * y, q * x, photons - slope
        yy, yx, yp, xx, xp, pp = information_of(profiles[n], corner[n], q, weight, jacobian)
        extra[n, 0] = damping * yy + EMPTY_CURVATURE
        extra[n, 1] = damping * xx + EMPTY_CURVATURE
        extra[n, 2] = damping * pp + EMPTY_CURVATURE + curvature
        matrix[0, 0], matrix[0, 1], matrix[0, 2] = yy + extra[n, 0], yx, yp
        matrix[1, 1], matrix[1, 2], matrix[2, 2] = xx + extra[n, 1], xp, pp + extra[n, 2]
        inverse[n] = np.eye(3)
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
        profiles = np.empty((n, 4, splines.down.shape[1], side), np.float32)
        trial_profiles, trial = np.empty_like(profiles), np.empty_like(spots)
        gradient, extra, inverse = np.empty((n, 3)), np.empty((n, 3)), np.empty((n, 3, 3))
        profile_all(spots, corner, size, splines, profiles)
        draw(spots, corner, profiles, lit, light)
        loss = loss_of(counts[t], floor[t], excess_noise, light, lit, spots, prior)
        damping = 1e-2
        for _ in range(iterations):
            weigh(counts[t], floor[t], excess_noise, light, lit, residual, weight)
            equations(
                spots, corner, profiles, residual, weight, prior, damping,
                gradient, extra, inverse,
            )  # fmt: skip
            step = step_of(
                spots, corner, profiles, lit, weight, gradient, extra, inverse, change, steps
            )
            for m in range(n):
                for axis in range(2):
                    move = min(max(np.float32(step[m, axis]), -max_step), max_step)
                    farthest = np.float32(size[axis]) + max_outside
                    trial[m, axis] = min(max(spots[m, axis] + move, -max_outside), farthest)
                faintest = np.float32(0.2) * spots[m, 2]
                trial[m, 2] = max(spots[m, 2] + np.float32(step[m, 2]), faintest)
            profile_all(trial, corner, size, splines, trial_profiles)
            draw(trial, corner, trial_profiles, lit, trial_light)
            trial_loss = loss_of(counts[t], floor[t], excess_noise, trial_light, lit, trial, prior)
            if trial_loss < loss:
                loss, damping = trial_loss, max(damping / 3.0, 1e-6)
                spots[:] = trial
                profiles, trial_profiles = trial_profiles, profiles
                light, trial_light = trial_light, light
            else:
                damping = min(damping * 4.0, 1e3)
