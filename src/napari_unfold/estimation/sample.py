"""Which frames of a stack are looked at when something is estimated from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.files.stacks import Stack

SAMPLE_FRAMES = 200
SAMPLE_PIXELS = 2**25
"""A sample is at most this large, unless that were fewer frames than are needed."""

_RUNS = 4


def frame_range(frames: slice, n_frames: int) -> tuple[int, int]:
    """Return the first of the chosen frames, and the one after the last.

    Raises
    ------
    InputError
        If there are no such frames.
    """
    first, last, step = frames.indices(n_frames)
    if step != 1 or last <= first:
        wanted = f"{'' if frames.start is None else frames.start}:" + (
            "" if frames.stop is None else str(frames.stop)
        )
        raise InputError(
            f"the frames {wanted} do not exist in a stack of {n_frames} frames",
            f"Choose a range within 0:{n_frames} (frames are counted from 0, the end is excluded)",
            field="frames",
        )
    return first, last


def sample_runs(
    stack: Stack, span: tuple[int, int], pixels: int = SAMPLE_PIXELS, at_least: int = 2
) -> list[tuple[int, int]]:
    """Return runs of neighbouring frames ``(start, stop)``, spread over the stack.

    Parameters
    ----------
    stack : Stack
    span : tuple of int
        First frame to choose from, and the one after the last.
    pixels : int
        Size of the sample.
    at_least : int
        Frames to choose even if that makes more pixels.
    """
    first, last = span
    wanted = max(at_least, min(SAMPLE_FRAMES, pixels // (stack.shape[1] * stack.shape[2])))
    if last - first <= wanted:
        return [span]
    runs = min(_RUNS, wanted // 2)
    length = wanted // runs
    starts = np.linspace(first, last - length, runs).astype(int)
    return [(int(start), int(start) + length) for start in starts]


def read_sample(stack: Stack, span: tuple[int, int]) -> NDArray[np.float32]:
    """Read the runs of `sample_runs`, one after the other, in ADU."""
    return np.concatenate([stack.read(*run) for run in sample_runs(stack, span)])
