"""Tiles are cut out of frames, laid beside each other and put back, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_unfold.unfolding.compiled_lines import Floats, Integers, jit, one


@jit
def boxes_of(tiles: NDArray[np.int32]) -> Integers:
    """Return the boxes ``(N, 6)`` around the numbers from 1 in ``(T, Y, X)``.

    Columns: number, frame, first row, row after the last, first column, column after the last.
    """
    n = max(0, tiles.max())
    boxes = np.zeros((n, 6), np.int64)
    for t in range(tiles.shape[0]):
        for r in range(tiles.shape[1]):
            for c in range(tiles.shape[2]):
                number = tiles[t, r, c]
                if number > 0:
                    box = boxes[number - 1]
                    if box[0] == 0:
                        box[0], box[1], box[2], box[4] = number, t, r, c
                    box[3] = r + 1
                    box[4], box[5] = min(box[4], c), max(box[5], c + 1)
    return boxes


@jit
def cut(
    y: Floats, b: Floats, tiles: NDArray[np.int32], boxes: Integers, reach: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """Lay the tiles of a group beside each other.

    Returns
    -------
    y, b, inside : array (Y + 2 reach, (X + 2 reach) * lanes)
        Frames, background, and one within the frame.
    lit : array (Y, X * lanes)
        One where a tile may receive light.
    """
    lanes = boxes.shape[0]
    height, width = (boxes[:, 3] - boxes[:, 2]).max(), (boxes[:, 5] - boxes[:, 4]).max()
    lit = np.zeros((height, width * lanes), np.float32)
    frames = np.zeros((height + 2 * reach, (width + 2 * reach) * lanes), np.float32)
    background, inside = np.ones_like(frames), np.zeros_like(frames)
    for lane in range(lanes):
        number, t, top, _, left, _ = boxes[lane]
        for r in range(max(0, top - reach), min(y.shape[1], top + height + reach)):
            for c in range(max(0, left - reach), min(y.shape[2], left + width + reach)):
                m = (c - left + reach) * lanes + lane
                frames[r - top + reach, m] = y[t, r, c]
                background[r - top + reach, m] = b[t, r, c]
                inside[r - top + reach, m] = one
                within = top <= r < top + height and left <= c < left + width
                if within and tiles[t, r, c] == number:
                    lit[r - top, (c - left) * lanes + lane] = one
    return frames, background, inside, lit


@jit
def paste(x: Floats, tiles: NDArray[np.int32], boxes: Integers, out: Floats) -> None:
    """Write the tiles of a group into the fine images ``(T, qY, qX)``."""
    q, lanes = x.shape[1], boxes.shape[0]
    for lane in range(lanes):
        number, t, top, bottom, left, right = boxes[lane]
        for r in range(top, bottom):
            for c in range(left, right):
                if tiles[t, r, c] == number:
                    m = (c - left) * lanes + lane
                    for i in range(q):
                        for p in range(q):
                            out[t, r * q + i, c * q + p] = x[r - top, i, p, m]
