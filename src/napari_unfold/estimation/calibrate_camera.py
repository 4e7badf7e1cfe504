"""Maps of a camera from dark and evenly lit stacks: photon transfer, pixel by pixel.

Without light the mean of a pixel is its offset, its variance that of the read noise. With light
the variance rises by gain times the mean beyond the offset (Janesick 2007), so that stacks at
several levels give the gain as the slope of a line through zero. The levels are weighted by the
inverse square of their variance, to which its error is proportional.

A lamp that flickers makes all pixels fluctuate together; every frame is scaled to the light of the
first. Of n frames together the gain of a pixel has a relative error of sqrt(2 / n), often more
than pixels differ by; it is drawn towards the median by the share of the scatter that is error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.files.camera_maps import CameraMaps
from napari_unfold.files.stacks import Stack
from napari_unfold.jobs import Job, Note, Progress, Stage

BATCH_PIXELS = 2**22

FEWEST_FRAMES = 10

ENOUGH_FRAMES = 200
"""With fewer the variance of a pixel is uncertain by more than 10 %."""

MOST_SATURATED = 0.01

Image = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Level:
    """Mean and variance ``(Y, X)`` of every pixel over the frames of a stack, in ADU."""

    mean: Image
    variance: Image
    n_frames: int


def calibrate_camera(
    dark: Stack, flats: Sequence[Stack] = (), excess_noise: float = 1.0
) -> Job[CameraMaps]:
    """Measure offset, variance and, with lit stacks, the gain of every pixel.

    Parameters
    ----------
    dark : Stack
        Without any light; hundreds of frames, better thousands.
    flats : sequence of Stack
        Evenly lit, each at another level; far from saturation.
    excess_noise : float
        Variance of the photon noise relative to its mean: 1 for sCMOS and CCD, 2 for EMCCD.

    Yields
    ------
    Event

    Returns
    -------
    CameraMaps
        The gain is missing without lit stacks.

    Raises
    ------
    InputError
        If stacks are too short, differ in size, are saturated, or are not brighter than the dark.
    """
    for stack in (dark, *flats):
        _check(stack, dark)
    known = yield from _level(dark, None)
    if len(dark) < ENOUGH_FRAMES:
        error = math.sqrt(2.0 / (len(dark) - 1))
        yield Note(f"{len(dark)} dark frames: the variance of a pixel is known within {error:.0%}")
    levels = []
    for flat in flats:
        level = yield from _level(flat, known)
        light = np.median(level.mean - known.mean)
        if light <= 3.0 * math.sqrt(float(np.median(known.variance)) / len(dark)):
            raise InputError(
                f"'{flat.name}' is no brighter than the dark stack",
                "Give the dark stack first, and then stacks that are evenly lit",
                field="stack",
            )
        levels.append(level)
    gain: NDArray[np.float32] | None = None
    if levels:
        gain, note = _gain(known, levels, excess_noise)
        yield Note(note)
    maps = (known.mean.astype(np.float32), known.variance.astype(np.float32), gain)
    return CameraMaps(*maps)


def _check(stack: Stack, dark: Stack) -> None:
    if len(stack) < FEWEST_FRAMES:
        raise InputError(
            f"'{stack.name}' has {len(stack)} frames, too few to tell the noise of a pixel",
            f"Record at least {FEWEST_FRAMES} frames, better a thousand",
            field="stack",
        )
    if stack.shape[1:] != dark.shape[1:]:
        sizes = [" x ".join(map(str, s.shape[1:])) for s in (stack, dark)]
        raise InputError(
            f"'{stack.name}' has frames of {sizes[0]} pixels, the dark stack of {sizes[1]}",
            "Record all with the same region of the camera",
            field="stack",
        )


def _level(stack: Stack, dark: _Level | None) -> Job[_Level]:
    """Read a stack once; the frames of a lit one are scaled to the light of its first."""
    yield Stage(f"Reading {stack.name}")
    batch = max(1, BATCH_PIXELS // (stack.shape[1] * stack.shape[2]))
    n, first_light = len(stack), 0.0
    top = np.iinfo(stack.dtype).max if stack.dtype.kind in "iu" else np.inf
    saturated = 0
    reference: Image | None = None
    total = squares = np.zeros(stack.shape[1:])
    for start in range(0, n, batch):
        frames = stack.read(start, start + batch).astype(np.float64)
        saturated += int(np.count_nonzero(frames >= top))
        if dark is not None:
            light = (frames - dark.mean).mean(axis=(1, 2))
            first_light = first_light or float(light[0])
            scale = first_light / np.where(light > 0, light, first_light)
            frames = dark.mean + (frames - dark.mean) * scale[:, None, None]
        if reference is None:
            reference = frames[0].copy()
        frames -= reference
        total = total + frames.sum(axis=0)
        squares = squares + np.square(frames).sum(axis=0)
        yield Progress(min(start + batch, n), n)
    if saturated > MOST_SATURATED * n * total.size:
        raise InputError(
            f"'{stack.name}' is saturated: {saturated / (n * total.size):.0%} of its values are "
            f"{top:g}, the largest there is",
            "Record it with less light",
            field="stack",
        )
    variance = (squares - total**2 / n) / (n - 1)
    mean = total / n if reference is None else reference + total / n
    return _Level(mean, np.maximum(variance, 0.0), n)


def _gain(
    dark: _Level, levels: Sequence[_Level], excess_noise: float
) -> tuple[NDArray[np.float32], str]:
    """Return the gain of every pixel, and how well it is known."""
    products = np.zeros_like(dark.mean)
    squares = np.zeros_like(dark.mean)
    for level in levels:
        light, noise = level.mean - dark.mean, level.variance - dark.variance
        # the same for all pixels: weights from the noise of each would favour those below it
        weight = level.n_frames / float(np.median(level.variance)) ** 2
        products += weight * light * noise
        squares += weight * light**2
    slope = products / np.maximum(squares, 1e-12) / excess_noise
    usable = slope > 0
    if not usable.any():
        raise InputError(
            "the noise of the lit stacks does not grow with the light",
            "Use raw frames, with the lamp on and the gain fixed",
            field="stack",
        )
    middle = float(np.median(slope[usable]))
    error = math.sqrt(2.0 / sum(level.n_frames - 1 for level in levels))
    scatter = 1.4826 * float(np.median(np.abs(slope[usable] / middle - 1.0)))
    real = max(1.0 - (error / max(scatter, 1e-12)) ** 2, 0.0)
    gain = np.where(usable, middle + real * (slope - middle), middle)
    note = (
        f"Gain {middle:.3g} ADU/photon; it differs between pixels by "
        f"{math.sqrt(real) * scatter:.1%}, and was measured to {error:.1%} in each"
    )
    return gain.astype(np.float32), note
