"""Peaks of one frame, compiled; the arithmetic is that of `peaks`."""

from __future__ import annotations

import numpy as np

from napari_unfold.localization.compiled_spots import Floats, jit, mean_of

nothing = np.float32(0)


@jit
def spots_of(x: Floats, threshold_photons: np.float32) -> Floats:
    """Return row, column (fine pixels) and photons ``(n, 3)`` of the spots of an image."""
    height, width = x.shape
    found, n = np.empty((64, 3), np.float32), 0
    smooth = np.empty((3, 3), np.float32)
    for row in range(height):
        for column in range(width):
            if x[row, column] <= nothing:
                continue
            photons, down, right = nothing, nothing, nothing
            for r in range(max(row - 1, 0), min(row + 2, height)):
                for c in range(max(column - 1, 0), min(column + 2, width)):
                    photons += x[r, c]
                    down += np.float32(r - row) * x[r, c]
                    right += np.float32(c - column) * x[r, c]
            if photons <= threshold_photons:
                continue
            for i in range(3):
                for j in range(3):
                    smooth[i, j] = smooth_at(x, row + i - 1, column + j - 1)
            if smooth.max() > smooth[1, 1]:
                continue
            if n == len(found):
                found = np.concatenate((found, np.empty_like(found)))
            found[n, 0] = np.float32(row) + np.float32(0.5) + down / photons
            found[n, 1] = np.float32(column) + np.float32(0.5) + right / photons
            found[n, 2] = photons
            n += 1
    return found[:n]


@jit
def smooth_at(x: Floats, row: int, column: int) -> np.float32:
    """Return a pixel of the smoothed image, zero outside."""
    height, width = x.shape
    if row < 0 or row >= height or column < 0 or column >= width:
        return nothing
    total = nothing
    for r in range(max(row - 2, 0), min(row + 3, height)):
        along = nothing
        for c in range(max(column - 2, 0), min(column + 3, width)):
            along += share_at(c - column) * x[r, c]
        total += share_at(r - row) * along
    return total


@jit
def share_at(distance: int) -> np.float32:
    """Return the weight of a pixel at a distance along one axis."""
    away = abs(distance)
    if away == 0:
        return np.float32(1)
    return np.float32(0.25) if away == 1 else np.float32(0.05)


@jit
def residual_peaks(
    counts: Floats,
    floor: Floats,
    excess_noise: np.float32,
    light: Floats,
    kernel: Floats,
    apart: int,
    least_evidence: np.float32,
) -> Floats:
    """Return row, column and photons ``(n, 3)`` of the peaks of what a frame has left.

    Parameters
    ----------
    counts, floor : array (Y, X)
        As the likelihood counts them.
    excess_noise : float32
    light : array (Y, X)
        Of the molecules that are known.
    kernel : array (P, P)
        A molecule of one photon in the middle of a pixel.
    apart : int
        Pixels on either side among which a peak is the highest.
    least_evidence : float32
    """
    height, width = counts.shape
    reach = kernel.shape[0] // 2
    residual = np.zeros((height + 2 * reach, width + 2 * reach), np.float32)
    weight, score = np.zeros_like(residual), np.zeros((height, width), np.float32)
    least = np.float32(np.inf)
    for y in range(height):
        for x in range(width):
            mean = mean_of(light[y, x], floor[y, x])
            w = np.float32(1) / (excess_noise * mean)
            weight[y + reach, x + reach] = w
            residual[y + reach, x + reach] = (max(counts[y, x], nothing) - mean) * w
            least = min(least, w)
    energy = nothing
    for dy in range(kernel.shape[0]):
        for dx in range(kernel.shape[1]):
            energy += kernel[dy, dx] * kernel[dy, dx]
    for y in range(height):
        for dy in range(kernel.shape[0]):
            for dx in range(kernel.shape[1]):
                share = kernel[dy, dx]
                for x in range(width):
                    score[y, x] += share * residual[y + dy, x + dx]
    information = np.zeros((height, width), np.float32)
    evidence = np.zeros((height, width), np.float32)
    # the information is worth computing only where even the least would do
    inner = np.float32(np.sqrt(2.0 * least_evidence * least * energy))
    for y in range(height):
        for x in range(width):
            inside = reach <= y < height - reach and reach <= x < width - reach
            if score[y, x] <= (inner if inside else nothing):
                continue
            total = nothing
            for dy in range(kernel.shape[0]):
                for dx in range(kernel.shape[1]):
                    share = kernel[dy, dx]
                    total += share * share * weight[y + dy, x + dx]
            information[y, x] = total
            evidence[y, x] = np.float32(0.5) * score[y, x] * score[y, x] / total
    found, n = np.empty((64, 3), np.float32), 0
    for y in range(height):
        for x in range(width):
            if evidence[y, x] <= least_evidence:
                continue
            highest = evidence[
                max(y - apart, 0) : y + apart + 1, max(x - apart, 0) : x + apart + 1
            ].max()
            if highest > evidence[y, x]:
                continue
            if n == len(found):
                found = np.concatenate((found, np.empty_like(found)))
            found[n, 0], found[n, 1] = np.float32(y + 0.5), np.float32(x + 0.5)
            found[n, 2] = score[y, x] / information[y, x]
            n += 1
    return found[:n]
