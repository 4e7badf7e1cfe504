"""What a stack tells of the microscope that took it: PSF, camera offset and gain."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_unfold.errors import InputError
from napari_unfold.estimation.background import window_starts
from napari_unfold.estimation.measured import Measured
from napari_unfold.estimation.photon_transfer import NoiseWindows, PhotonTransfer
from napari_unfold.estimation.psf_width import SIGMA_RANGE_PX, TILE_PX, FluctuationSpectrum
from napari_unfold.estimation.sample import SAMPLE_PIXELS, frame_range, sample_runs
from napari_unfold.files.stacks import Stack
from napari_unfold.imaging.neighbours import Prediction
from napari_unfold.jobs import Job, Progress, Stage
from napari_unfold.settings.microscope import Camera

USUAL_EXCESS_NOISE = 2.0
"""Where the excess noise is not known; it only tells how much of the noise windows share."""

BLOCKS = 20
"""Parts of the sample whose scatter gives the standard errors."""

LOOKED_AT_PIXELS = 2**22
"""Of large samples every few rows of tiles are looked at, about so many pixels together."""

MIN_FRAMES = 16
"""Frames that are read however large they are."""

MOST_DEAD = 0.1
"""A larger share of pixels that never change are dim, not dead."""

MIN_SIZE_PX = 16

SPIKE_DEVIATIONS = 10.0
SPIKE_SHARPNESS = 0.15
"""A spike is so many standard deviations bright, and its neighbours less than this share of it."""

LARGEST_ERROR_PSF, LARGEST_ERROR_GAIN = 0.1, 0.2
"""Estimates with larger relative standard errors are not offered."""

LARGEST_COLOUR = 0.3
"""Nor is the gain if noise at the highest frequencies differs by this, as a natural logarithm."""


_SPIKE_SAMPLE = 2**16
NOISY_SAMPLE_PIXELS, NOISY_DEVIATIONS = 2**23, 8.0
"""Noisy pixels are looked for in so many pixels of the stack; the relative standard error of a
median deviation over n frames is 1.2 / sqrt(n)."""
_AROUND = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)


@dataclass(frozen=True)
class Estimate:
    """What could be told from a stack.

    Attributes
    ----------
    psf_sigma_px : Measured or None
        Sigma of the Gaussian, pixel-integrated PSF, in camera pixels.
    transfer : PhotonTransfer or None
        How the noise of the camera grows with the light, hence gain and offset.
    notes : tuple of str
        What could not be told, and what to do about it.
    """

    psf_sigma_px: Measured | None
    transfer: PhotonTransfer | None
    notes: tuple[str, ...] = ()


def estimate(
    stack: Stack,
    camera: Camera | None = None,
    frames: slice = slice(None),
    pixels: int = LOOKED_AT_PIXELS,
) -> Job[Estimate]:
    """Estimate the PSF, and offset and gain of the camera.

    The molecules have to blink, at any density. Drift, bleaching and structures that stay on do
    no harm, since only neighbouring frames are compared.

    Parameters
    ----------
    stack : Stack
    camera : Camera, optional
        Its excess noise and read noise serve if they are known; offset and gain are not looked at.
    frames : slice
        Frames to use.
    pixels : int
        How many are looked at, about; a quarter of them doubles the errors.

    Yields
    ------
    Event

    Returns
    -------
    Estimate

    Raises
    ------
    InputError
        If there are fewer than two frames, or they are too small.
    """
    span = frame_range(frames, len(stack))
    shape = stack.shape[1], stack.shape[2]
    _check(stack, span)
    runs = sample_runs(stack, span, SAMPLE_PIXELS, MIN_FRAMES)
    n_differences = sum(stop - start - 1 for start, stop in runs)
    tile = _tile_size(shape, n_differences)
    units = _units(shape, tile, n_differences, pixels)
    n_blocks = min(BLOCKS, len(units))
    per_block = n_differences / n_blocks
    spectrum, windows = FluctuationSpectrum(shape, tile, n_blocks), NoiseWindows(n_blocks)

    yield Stage("Comparing neighbouring frames")
    done = 0
    for pair, (first, second) in enumerate(_neighbours(stack, runs)):
        yield Progress(done, len(units))
        while done < len(units) and units[done][0] == pair:
            rows = units[done][1]
            block = done * n_blocks // len(units)
            spectrum.add(second[rows] - first[rows], block)
            windows.add(first[rows], second[rows], block)
            done += 1
            yield Progress(done, len(units))

    yield Stage("Fitting the PSF")
    psf = spectrum.fit(per_block)
    yield Stage("Fitting the noise of the camera")
    excess_noise = (camera and camera.known_excess_noise) or USUAL_EXCESS_NOISE
    read_noise = (camera and camera.read_noise_photons) or 0.0
    transfer = windows.fit(psf.value, excess_noise, read_noise, per_block)
    return _judged(psf, transfer, windows.whiteness(psf.value))


def _check(stack: Stack, span: tuple[int, int]) -> None:
    if span[1] - span[0] < 2:
        raise InputError(
            "one frame does not show what changes from frame to frame",
            "Choose at least two frames, better twenty or more",
            field="frames",
        )
    if min(stack.shape[1:]) < MIN_SIZE_PX:
        raise InputError(
            f"frames of {stack.shape[1]} x {stack.shape[2]} pixels are too small for an estimate",
            f"Use frames of at least {MIN_SIZE_PX} x {MIN_SIZE_PX} pixels",
            field="stack",
        )


def _tile_size(shape: tuple[int, int], n_differences: int) -> int:
    """Return the side of the tiles: smaller ones where more are needed to compare."""
    tile = TILE_PX
    while n_differences * len(window_starts(shape[0], tile)) < BLOCKS and tile > 24:
        tile //= 2
    return tile


def _units(
    shape: tuple[int, int], tile: int, n_differences: int, pixels: int
) -> list[tuple[int, slice]]:
    """Return which rows of tiles of which difference are looked at, evenly over both."""
    rows = window_starts(shape[0], tile)
    stride = max(1, n_differences * shape[0] * shape[1] // pixels)
    pairs = range(n_differences)
    return [(p, row) for p in pairs for i, row in enumerate(rows) if (p + i) % stride == 0]


def _neighbours(
    stack: Stack, runs: list[tuple[int, int]]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield neighbouring frames in ADU, reading them one by one, bad pixels replaced."""
    start, stop = max(runs, key=lambda run: run[1] - run[0])
    most = max(2, NOISY_SAMPLE_PIXELS // (stack.shape[1] * stack.shape[2]))
    some = stack.read(start, min(stop, start + most))
    dead = _dead_pixels(some)
    from_others = Prediction(dead, ~dead)

    def without_dead(frames: NDArray[np.float32]) -> NDArray[np.float32]:
        if dead.any():
            frames[:, dead] = from_others(frames)
        return frames

    noisy = _noisy_pixels(without_dead(some))

    def read(t: int) -> NDArray[np.float32]:
        frame = without_dead(stack.read(t, t + 1))[0]
        frame.flat[noisy] = ndimage.median_filter(frame, 3, mode="mirror").flat[noisy]
        return _without_spikes(frame)

    for start, stop in runs:
        before = read(start)
        for t in range(start + 1, stop):
            frame = read(t)
            yield before, frame
            before = frame


def _dead_pixels(frames: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Mask of pixels that never change, where hardly any does so; dim frames have many."""
    still = np.asarray(np.ptp(frames, axis=0) == 0)
    return still if still.mean() < MOST_DEAD else np.zeros_like(still)


def _noisy_pixels(frames: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return flat indices of pixels with more noise of their own than those around them.

    The median over time of what a pixel's change from frame to frame has more than that of its
    neighbours: noise is there always, a molecule now and then.
    """
    change = np.diff(frames, axis=0)
    around = np.zeros((1, 3, 3), dtype=np.float32)
    around[0, (0, 1, 1, 2), (1, 0, 2, 1)] = 0.25
    own = np.median(np.abs(change - ndimage.correlate(change, around, mode="mirror")), axis=0)
    # filaments are lines of noise; of two noisy neighbours each is still found
    usual = ndimage.rank_filter(own, -2, footprint=_AROUND, mode="mirror")
    return np.flatnonzero(own > (1.0 + NOISY_DEVIATIONS / math.sqrt(len(change))) * usual)


def _without_spikes(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """Replace hot pixels and cosmic rays, which are sharper than any PSF, by their neighbours."""
    step = math.ceil(math.sqrt(frame.size / _SPIKE_SAMPLE))
    some = frame[::step, ::step]
    usual = some[some <= np.percentile(some, 99.9)]
    light = frame - usual.mean()
    suspects = np.flatnonzero(light > SPIKE_DEVIATIONS * usual.std())
    if not len(suspects):
        return frame
    around = ndimage.maximum_filter(light, footprint=_AROUND, mode="mirror").flat[suspects]
    spikes = suspects[around < SPIKE_SHARPNESS * light.flat[suspects]]
    cleaned = frame.copy()
    cleaned.flat[spikes] = ndimage.median_filter(frame, 3, mode="mirror").flat[spikes]
    return cleaned


def _judged(psf: Measured, transfer: PhotonTransfer | None, whiteness: float) -> Estimate:
    """Keep what is certain enough, and say what is not."""
    notes = []
    low, high = SIGMA_RANGE_PX
    certain = psf.standard_error < LARGEST_ERROR_PSF * psf.value
    certain = certain and 1.05 * low < psf.value < 0.95 * high
    if not certain:
        notes.append(
            "The PSF cannot be told: too little changes from frame to frame beside the noise. "
            "Use more frames, or measure a bead"
        )
    gain = transfer.slope if transfer else None
    if abs(np.log(whiteness)) > LARGEST_COLOUR:
        notes.append(
            "Offset and gain cannot be told: the noise of neighbouring pixels is not independent, "
            "as after smoothing, interpolation or compression. Use the raw frames"
        )
        transfer = None
    elif gain is None or not gain.standard_error < LARGEST_ERROR_GAIN * gain.value:
        notes.append(
            "Offset and gain cannot be told: the frames are too evenly lit, or too few, to show "
            "how the noise grows with the light. Take them from the camera's data sheet and a "
            "dark frame"
        )
        transfer = None
    return Estimate(psf if certain else None, transfer, tuple(notes))
