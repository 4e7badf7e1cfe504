"""Where molecules may be: bright spots of the reconstruction, and what frames have left."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from napari_unfold.localization.kernels import in_pieces, serve
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.profiles import product
from napari_unfold.localization.spots import Molecules

CANDIDATE_EVIDENCE = 8.0
"""Residual light below four standard deviations is not looked at."""


def find_spots(x: torch.Tensor, threshold_photons: float, upsampling: int) -> Molecules:
    """Local maxima of the reconstruction with the photons and centroid of 3 x 3 fine pixels.

    Parameters
    ----------
    x : tensor (B, qY, qX)
        Reconstruction.
    threshold_photons : float
        Photons that the 3 x 3 fine pixels must hold.
    upsampling : int
        Fine pixels per camera pixel.
    """
    if serve(x):
        from napari_unfold.localization import compiled_peaks as compiled

        images = x.contiguous().numpy()
        found = _frame_by_frame(
            lambda t: compiled.spots_of(images[t], np.float32(threshold_photons)), len(x)
        )
        return Molecules(found.frame, found.position / upsampling, found.photons)
    smooth = functional.pad(x, (2, 2, 2, 2))
    for axis in (1, 2):
        left, near, middle, next_, right = _neighbours(smooth, axis, 5)
        smooth = (left + right).mul_(0.05).add_(near + next_, alpha=0.25).add_(middle)
    highest = functional.pad(smooth, (1, 1, 1, 1))
    for axis in (1, 2):
        before, middle, after = _neighbours(highest, axis, 3)
        highest = torch.maximum(torch.maximum(before, middle), after)
    frame, row, column = ((smooth == highest) & (x > 0)).nonzero(as_tuple=True)
    offsets = torch.arange(3, device=x.device)
    rows, columns = row[:, None, None] + offsets[:, None], column[:, None, None] + offsets
    around = functional.pad(x, (1, 1, 1, 1))[frame[:, None, None], rows, columns]
    photons, ramp = around.sum((1, 2)), (offsets - 1).to(x)
    down, right = around.sum(2) @ ramp, around.sum(1) @ ramp
    position = torch.stack([row + 0.5 + down / photons, column + 0.5 + right / photons], 1)
    bright = photons > threshold_photons
    frame, position, photons = frame[bright], position[bright], photons[bright]
    return Molecules(frame, position / upsampling, photons)


def residual_peaks(frames: Frames, light: torch.Tensor) -> Molecules:
    """Peaks of the residual, filtered with the spot in the middle of a pixel.

    Parameters
    ----------
    frames : Frames
    light : tensor (B, Y, X)
        Of the molecules that are known.
    """
    reach, apart = math.ceil(3.0 * frames.sigma_px), math.ceil(frames.sigma_px)
    pixels = torch.arange(-reach, reach + 1, device=light.device)[None].to(light)
    middle = pixels.new_tensor([0.5])
    down, across = (frames.spot.profiles(axis, pixels, middle)[0] for axis in (0, 1))
    kernel = product(down, across)[None]
    if serve(light) and serve(frames.y):
        from napari_unfold.localization import compiled_peaks as compiled

        counts, floor, known = (
            v.contiguous().numpy() for v in (frames.counts, frames.floor, light)
        )
        shape, noise = kernel[0, 0].contiguous().numpy(), np.float32(frames.excess_noise)
        least = np.float32(CANDIDATE_EVIDENCE)
        return _frame_by_frame(
            lambda t: compiled.residual_peaks(
                counts[t], floor[t], noise, known[t], shape, apart, least
            ),
            len(counts),
        )
    residual, weight = frames.likelihood.residual_and_weight(light)
    score = functional.conv2d(residual[:, None], kernel, padding=reach)
    information = functional.conv2d(weight[:, None], kernel * kernel, padding=reach)
    evidence = 0.5 * score.clamp(min=0).square() / information
    peak = evidence == functional.max_pool2d(evidence, 2 * apart + 1, 1, apart)
    frame, row, column = (peak & (evidence > CANDIDATE_EVIDENCE))[:, 0].nonzero(as_tuple=True)
    photons = (score / information)[:, 0][frame, row, column]
    return Molecules(frame, torch.stack([row, column], 1) + 0.5, photons)


def _frame_by_frame(peaks_of: Callable[[int], NDArray[np.float32]], n: int) -> Molecules:
    """Collect the peaks ``(n, 3)`` of frames, looked for on all cores."""
    tables: list[NDArray[np.float32]] = [np.empty((0, 3), np.float32)] * n

    def work(first: int, last: int) -> None:
        for t in range(first, last):
            tables[t] = peaks_of(t)

    in_pieces(work, n)
    frame = torch.from_numpy(np.repeat(np.arange(n), [len(table) for table in tables]))
    table = torch.from_numpy(np.concatenate(tables))
    return Molecules(frame, table[:, :2], table[:, 2])


def _neighbours(padded: torch.Tensor, axis: int, n: int) -> list[torch.Tensor]:
    """Return images shifted by 0 to n - 1 pixels along an axis, their margin of n - 1 cut off."""
    size = padded.shape[axis] - n + 1
    return [padded.narrow(axis, shift, size) for shift in range(n)]
