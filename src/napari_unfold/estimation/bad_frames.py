"""Frames in which something other than the sample was recorded.

A closed shutter, a flash of room light, a saturated or half-written frame hold no molecules that
could be trusted, and would spoil what is estimated from the others. They are found by a few order
statistics of every frame, each compared with those of the frames before and after: a frame is dark
if its *median* pixel is darker than the 2 % darkest pixels used to be, and a flash if its 2 %
darkest pixels are brighter than the median pixel used to be. No molecules, however many or few,
do either to a background that stays; a lamp that flickers does it only together with the second
condition, on how much light there is above the camera offset.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_unfold.errors import InputError
from napari_unfold.files.stacks import Stack
from napari_unfold.jobs import Job, Progress, Stage

CHUNK_PIXELS = 2**18
"""Read at a time."""

LOOKED_AT_PIXELS = 2**16
"""Of larger frames some rows are looked at."""

NEIGHBOURS = 101
"""Frames, the one in the middle included, among which a frame is unusual or not."""

FEWEST_FRAMES = 5
"""With fewer there is no telling what is usual."""

LEAST_LIGHT, MOST_LIGHT = 0.25, 3.0
"""A lamp that gives this share of its usual light is left to the background; beyond, the frame is
dark or a flash."""

QUIET, LOUD = 0.35, 10.0
"""The same where the offset is not known, in units of the scatter of dark pixels: it falls to that
of read noise in a dark frame, and a flash is far above it."""

SATURATED_SHARE = 0.2
"""Clipped pixels that make a frame useless; fewer are those of bright molecules."""

LOST_SHARE = 0.01
"""Pixels that are not finite numbers: fewer are left out one by one, more with their frame."""

NEAR_CEILING = 0.02
"""Where grey values end by themselves, there are about as many this little below the largest."""

LEAST_SHARPNESS = 0.6
"""Of a frame in focus, relative to the usual one; spots half as wide again have less."""

BLUR_DEVIATIONS = 6.0
"""Scatters of the logarithm by which the sharpness of a blurred frame is lower, at least."""

SEEN_DEVIATIONS = 8.0
"""Standard deviations of the covariance of mere noise above which a frame shows something."""

MOST_SEEN = 0.5
"""With fewer frames that do, molecules are too rare to tell what is sharp."""

LARGEST_LOOKED_AT_PX = 256
"""Sharpness is read from the middle of larger frames."""

MOST_RUNS_TOLD = 8


@dataclass(frozen=True)
class FrameCheck:
    """Which frames of a stack can be used.

    Attributes
    ----------
    span : tuple of int
        First frame that was looked at, and the one after the last.
    left_out : dict
        Reason of every frame that is left out, by its number from 0.
    lost_pixels : dict
        Flat indices of the pixels that are no finite numbers, in frames that are kept.
    ceiling_adu : float
        Grey value at which pixels are clipped; infinite if none are.
    """

    span: tuple[int, int]
    left_out: dict[int, str] = field(default_factory=dict)
    lost_pixels: dict[int, NDArray[np.intp]] = field(default_factory=dict)
    ceiling_adu: float = math.inf

    @cached_property
    def kept(self) -> NDArray[np.intp]:
        """Numbers of the frames that are used, in order."""
        return np.setdiff1d(np.arange(*self.span), list(self.left_out)).astype(np.intp)

    @cached_property
    def follows(self) -> NDArray[np.bool_]:
        """Which of the frames that are used came directly after the one used before them."""
        return np.asarray(np.diff(self.kept, prepend=self.span[0] - 2) == 1)

    @property
    def notes(self) -> list[str]:
        """What the user should be told."""
        told = []
        if n := len(self.left_out):
            runs = list(_runs(self.left_out))
            more = f", and {len(runs) - MOST_RUNS_TOLD} more runs" if len(runs) > 8 else ""
            listed = ", ".join(runs[:MOST_RUNS_TOLD])
            told.append(f"{n} frame{'s' if n > 1 else ''} left out: {listed}{more} (from 0)")
        if n := len(self.lost_pixels):
            told.append(
                f"Pixels that are no finite numbers are left out in {n} frame{'s' if n > 1 else ''}"
            )
        if math.isfinite(self.ceiling_adu):
            told.append(
                f"Grey values end at {self.ceiling_adu:g} ADU: clipped pixels are left out. "
                "Use less light or gain"
            )
        return told

    def usable(self, stack: Stack) -> Stack:
        """Return the stack as if the frames that are left out were not there.

        Lost pixels are filled from around; `unusable` tells where they are.
        """
        kept = self.kept

        def read(start: int, stop: int) -> NDArray[np.float32]:
            return np.concatenate(
                [
                    self._filled(stack.read(first, last, finite=False), first)
                    for first, last in _stretches(kept[start:stop])
                ]
            )

        shape = (len(kept), *stack.shape[1:])
        return Stack(stack.name, shape, stack.dtype, read, stack.pixel_size_nm)

    def unusable(self, frames_adu: NDArray[np.float32], start: int) -> NDArray[np.bool_] | None:
        """Mask ``(T, Y, X)`` of pixels that tell nothing, in frames of the usable stack.

        Parameters
        ----------
        frames_adu : array (T, Y, X)
        start : int
            Number of the first of them in the usable stack.

        Returns
        -------
        array or None
            None if all of them can be used.
        """
        mask = frames_adu >= self.ceiling_adu
        numbers = self.kept[start : start + len(frames_adu)] if self.lost_pixels else ()
        for pixels, number in zip(mask, numbers, strict=False):
            pixels.flat[self.lost_pixels.get(int(number), [])] = True
        return mask if mask.any() else None

    def _filled(self, frames: NDArray[np.float32], start: int) -> NDArray[np.float32]:
        for t, frame in enumerate(frames):
            lost = self.lost_pixels.get(start + t)
            if lost is not None:
                frame.flat[lost] = np.median(frame[np.isfinite(frame)])
                frame.flat[lost] = ndimage.median_filter(frame, 5).flat[lost]
        return frames


@dataclass(frozen=True)
class _Statistics:
    """Of single frames ``(T,)``, in ADU."""

    darkest: NDArray[np.float64]
    """2 % quantile of the pixels."""
    lower: NDArray[np.float64]
    """Quartile."""
    median: NDArray[np.float64]
    largest: NDArray[np.float64]
    at_largest: NDArray[np.float64]
    """Share of the pixels that have the largest value."""
    near_largest: NDArray[np.float64]
    """Share that is hardly below."""
    sharpness: NDArray[np.float64]


def check_frames(
    stack: Stack, span: tuple[int, int], offset_adu: float | None = None
) -> Job[FrameCheck]:
    """Look at every frame once.

    Parameters
    ----------
    stack : Stack
    span : tuple of int
        First frame, and the one after the last.
    offset_adu : float, optional
        Camera offset, where it is known.

    Raises
    ------
    InputError
        If no frame can be used.
    """
    yield Stage("Looking for bad frames")
    rows = np.zeros((span[1] - span[0], 7))
    lost: dict[int, NDArray[np.intp]] = {}
    left_out: dict[int, str] = {}
    chunk = max(1, CHUNK_PIXELS // (stack.shape[1] * stack.shape[2]))
    for start in range(*span, chunk):
        yield Progress(start - span[0], span[1] - span[0])
        for t, frame in enumerate(stack.read(start, min(start + chunk, span[1]), finite=False)):
            bad = np.flatnonzero(~np.isfinite(frame)) if stack.dtype.kind == "f" else ()
            if len(bad) > LOST_SHARE * frame.size:
                left_out[start + t] = "not finite"
            elif len(bad):
                lost[start + t] = np.asarray(bad)
            rows[start + t - span[0]] = _statistics(frame)
    seen = _Statistics(*rows.T)
    ceiling = _ceiling(seen)
    for t in range(span[1] - span[0]):
        if seen.at_largest[t] > SATURATED_SHARE and seen.largest[t] >= ceiling:
            left_out.setdefault(span[0] + t, "saturated")
    usable = np.array([t not in left_out for t in range(*span)])
    for t, reason in _unusual(seen, usable, offset_adu).items():
        left_out.setdefault(span[0] + t, reason)
    if len(left_out) == span[1] - span[0]:
        reasons = " or ".join(sorted(set(left_out.values())))
        raise InputError(
            f"none of the frames of '{stack.name}' can be used: they are {reasons}",
            "Check the recording, and the camera offset if one is stated",
            field="stack",
        )
    kept_lost = {t: pixels for t, pixels in lost.items() if t not in left_out}
    return FrameCheck(span, left_out, kept_lost, ceiling)


def _statistics(frame: NDArray[np.float32]) -> tuple[float, ...]:
    pixels = frame[:: math.ceil(frame.size / LOOKED_AT_PIXELS)].ravel()
    pixels = pixels[np.isfinite(pixels)]
    if not len(pixels):
        return (0.0,) * 7
    darkest, lower, median, largest = np.quantile(pixels, (0.02, 0.25, 0.5, 1.0))
    near = largest - NEAR_CEILING * (largest - median)
    at_largest = np.mean(pixels == largest)
    near_largest = np.mean(pixels > near) - at_largest
    return darkest, lower, median, largest, at_largest, near_largest, _sharpness(frame)


def _sharpness(frame: NDArray[np.float32]) -> float:
    """Return how fast the light changes over one or two pixels, relative to two to four.

    Of the covariance with the pixels beside, to which noise does not contribute: with a Gaussian
    PSF it falls with the distance d as ``exp(-d^2 / (4 sigma^2))``. Zero if nothing can be seen.
    """
    rows, columns = (
        slice(max(0, (n - LARGEST_LOOKED_AT_PX) // 2), (n + LARGEST_LOOKED_AT_PX) // 2)
        for n in frame.shape
    )
    light = np.nan_to_num(frame[rows, columns].astype(np.float64), posinf=0.0, neginf=0.0)
    # what rows and columns have in common is the camera's
    light -= light.mean(axis=0)
    light -= light.mean(axis=1, keepdims=True)
    one, two, four = (
        (light[d:] * light[:-d]).mean() + (light[:, d:] * light[:, :-d]).mean() for d in (1, 2, 4)
    )
    noise = light.var() / math.sqrt(light.size)
    if one <= two or two - four <= SEEN_DEVIATIONS * noise:
        return 0.0
    return float((one - two) / (two - four))


def _ceiling(seen: _Statistics) -> float:
    """Return the grey value at which pixels are clipped."""
    ceiling = float(seen.largest.max())
    there = seen.largest == ceiling
    # a constant frame is its own largest value and proves nothing
    there &= seen.darkest < ceiling
    at, near = seen.at_largest[there].sum(), seen.near_largest[there].sum()
    several = there.sum() >= 2 and seen.at_largest[there].max() > 1e-3
    return ceiling if several and at > 2.0 * near else math.inf


def _unusual(
    seen: _Statistics, usable: NDArray[np.bool_], offset_adu: float | None
) -> dict[int, str]:
    """Return the frames that are dark, or a flash, by their index."""
    scatter = seen.lower - seen.darkest
    constant = usable & (seen.darkest == seen.largest)
    found = {int(t): "dark" for t in np.flatnonzero(constant)}
    rest = np.flatnonzero(usable & ~constant)
    if len(rest) < FEWEST_FRAMES:
        return found if len(rest) else {}
    size = min(NEIGHBOURS, len(rest))
    darkest, median, usual_scatter = (
        ndimage.median_filter(values[rest], size, mode="nearest")
        for values in (seen.darkest, seen.median, scatter)
    )
    dark = seen.median[rest] < darkest
    flash = seen.darkest[rest] > median
    if offset_adu is None:
        dark &= scatter[rest] < QUIET * usual_scatter
        flash &= seen.darkest[rest] - median > LOUD * usual_scatter
    else:
        light = np.maximum(median - offset_adu, usual_scatter)
        dark &= seen.median[rest] - offset_adu < LEAST_LIGHT * light
        flash &= seen.darkest[rest] - offset_adu > MOST_LIGHT * light
    found |= {int(t): "dark" for t in rest[dark]} | {int(t): "flash" for t in rest[flash]}
    return {int(t): "out of focus" for t in rest[_blurred(seen.sharpness[rest])]} | found


def _blurred(sharpness: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mask of the frames that are less sharp than the others, beyond what molecules make of it."""
    seen = sharpness > 0
    if seen.mean() < MOST_SEEN:
        return np.zeros(len(seen), dtype=bool)
    change = np.log(np.where(seen, sharpness, 1.0)) - np.log(np.median(sharpness[seen]))
    scatter = 1.4826 * float(np.median(np.abs(change[seen])))
    lowest = min(math.log(LEAST_SHARPNESS), -BLUR_DEVIATIONS * scatter)
    return np.asarray(seen & (change < lowest))


def _stretches(numbers: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Yield runs of neighbouring numbers as ``(first, one after the last)``."""
    for run in np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1):
        yield int(run[0]), int(run[-1]) + 1


def _runs(left_out: dict[int, str]) -> Iterator[str]:
    """Yield neighbouring frames with the same reason as text: ``40-41 (saturated)``."""
    numbers = sorted(left_out)
    # frames in a row have the same distance to their place in the list
    for (_, reason), run in groupby(
        enumerate(numbers), key=lambda item: (item[1] - item[0], left_out[item[1]])
    ):
        first, *rest = [number for _, number in run]
        yield f"{first}-{rest[-1]} ({reason})" if rest else f"{first} ({reason})"
