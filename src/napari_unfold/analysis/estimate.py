"""What a stack tells of the microscope that took it: PSF, camera offset and gain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_unfold.analysis.photon_transfer import NoiseWindows, PhotonTransfer
from napari_unfold.analysis.psf_width import (
    SIGMA_RANGE_PX,
    TILE_PX,
    FluctuationSpectrum,
    PSFWidth,
)
from napari_unfold.analysis.sample import SAMPLE_PIXELS, frame_range, sample_runs
from napari_unfold.files.stacks import Stack
from napari_unfold.imaging.background import window_starts
from napari_unfold.jobs import InputError, Job, Progress, Result, Stage
from napari_unfold.recipe import Camera

BLOCKS = 20
"""Parts of the sample whose scatter gives the standard errors."""

LOOKED_AT_PIXELS = 2**23
"""Of large samples every few rows of tiles are looked at, about so many pixels together."""

MIN_FRAMES = 16
"""Frames that are read however large they are."""

MIN_SIZE_PX = 16

SPIKE_DEVIATIONS = 10.0
SPIKE_SHARPNESS = 0.15
"""A spike is so many standard deviations bright, and its neighbours are less than this share."""

CANNOT_TELL = {"psf": 0.1, "gain": 0.2}
"""An estimate with a larger relative standard error is not offered."""


_AROUND = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)


@dataclass(frozen=True)
class Measured:
    """A value with its standard error."""

    value: float
    standard_error: float

    def contradicts(self, value: float) -> bool:
        """Whether another value lies beyond three standard errors."""
        return abs(value - self.value) > 3.0 * self.standard_error

    def __mul__(self, factor: float) -> Measured:
        return Measured(self.value * factor, self.standard_error * abs(factor))


@dataclass(frozen=True)
class Estimate:
    """What could be told from a stack.

    Attributes
    ----------
    psf_sigma_px : Measured or None
        Sigma of the Gaussian, pixel-integrated PSF, in camera pixels.
    transfer_adu : Measured or None
        Gain times excess noise, in ADU per photon. Noise tells this product only.
    dark_adu : Measured or None
        Grey value at which the noise would vanish: the offset, less what read noise takes off.
    notes : tuple of str
        What could not be told or is doubtful, and what to do about it.
    """

    psf_sigma_px: Measured | None
    transfer_adu: Measured | None
    dark_adu: Measured | None
    notes: tuple[str, ...] = ()

    def adu_per_photon(self, excess_noise: float) -> Measured | None:
        """Return the gain of a camera whose excess noise is known from its type."""
        return None if self.transfer_adu is None else self.transfer_adu * (1.0 / excess_noise)

    def offset_adu(self, excess_noise: float, read_noise_photons: float) -> Measured | None:
        """Return the offset of a camera whose excess noise and read noise are known."""
        if self.dark_adu is None or self.transfer_adu is None:
            return None
        read_variance = (read_noise_photons * self.transfer_adu.value / excess_noise) ** 2
        raised = read_variance / self.transfer_adu.value
        return Measured(self.dark_adu.value + raised, self.dark_adu.standard_error)


def estimate(stack: Stack, camera: Camera | None = None, frames: slice = slice(None)) -> Job:
    """Estimate the PSF, and offset and gain of the camera.

    The molecules have to blink, at any density. Drift, bleaching and structures that stay on do
    no harm, since only neighbouring frames are compared.

    Parameters
    ----------
    stack : Stack
    camera : Camera, optional
        Its excess noise and read noise are taken as known; offset and gain are not looked at.
    frames : slice
        Frames to use.

    Yields
    ------
    Event
        The value of the `Result` is an `Estimate`.

    Raises
    ------
    InputError
        If there are fewer than two frames, or they are too small.
    """
    camera = camera or Camera()
    span = frame_range(frames, len(stack))
    shape = stack.shape[1], stack.shape[2]
    _check(stack, span)
    runs = sample_runs(stack, span, SAMPLE_PIXELS, MIN_FRAMES)
    n_differences = sum(stop - start - 1 for start, stop in runs)
    tile = _tile_size(shape, n_differences)
    units = _units(shape, tile, n_differences)
    n_blocks = min(BLOCKS, len(units))
    per_block = n_differences / n_blocks
    spectrum, windows = FluctuationSpectrum(shape, tile, n_blocks), NoiseWindows(n_blocks)

    yield Stage("Comparing neighbouring frames")
    pairs = _neighbours(stack, runs)
    first, second = next(pairs)
    at = 0
    for done, (pair, rows) in enumerate(units):
        while at < pair:
            first, second = next(pairs)
            at += 1
        block = done * n_blocks // len(units)
        spectrum.add(second[rows] - first[rows], block)
        windows.add(first[rows], second[rows], block)
        yield Progress(done + 1, len(units))

    yield Stage("Fitting the PSF")
    width = spectrum.fit(per_block)
    yield Stage("Fitting the noise of the camera")
    known = camera.excess_noise, camera.read_noise_photons
    transfer = windows.fit(width.sigma_px, *known, per_block)
    yield Result(_judged(width, transfer))


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


def _units(shape: tuple[int, int], tile: int, n_differences: int) -> list[tuple[int, slice]]:
    """Return which rows of tiles of which difference are looked at, evenly over both."""
    rows = window_starts(shape[0], tile)
    stride = max(1, n_differences * shape[0] * shape[1] // LOOKED_AT_PIXELS)
    pairs = range(n_differences)
    return [(p, row) for p in pairs for i, row in enumerate(rows) if (p + i) % stride == 0]


def _neighbours(
    stack: Stack, runs: list[tuple[int, int]]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield neighbouring frames in ADU, reading them one by one."""
    for start, stop in runs:
        before = _without_spikes(stack.read(start, start + 1)[0])
        for t in range(start + 1, stop):
            frame = _without_spikes(stack.read(t, t + 1)[0])
            yield before, frame
            before = frame


def _without_spikes(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """Replace hot pixels and cosmic rays, which are sharper than any PSF, by their neighbours."""
    light = frame - frame.mean()
    suspects = np.flatnonzero(light > SPIKE_DEVIATIONS * frame.std())
    if not len(suspects):
        return frame
    around = ndimage.maximum_filter(light, footprint=_AROUND, mode="mirror").flat[suspects]
    spikes = suspects[around < SPIKE_SHARPNESS * light.flat[suspects]]
    cleaned = frame.copy()
    cleaned.flat[spikes] = ndimage.median_filter(frame, 3, mode="mirror").flat[spikes]
    return cleaned


def _judged(width: PSFWidth, transfer: PhotonTransfer | None) -> Estimate:
    """Keep what is certain enough, and say what is not."""
    notes = []
    psf = Measured(width.sigma_px, width.standard_error_px)
    low, high = SIGMA_RANGE_PX
    at_bound = not 1.05 * low < psf.value < 0.95 * high
    uncertain = not psf.standard_error < CANNOT_TELL["psf"] * psf.value
    if at_bound or uncertain:
        notes.append(
            "The PSF cannot be told: too little changes from frame to frame beside the noise. "
            "Use more frames, or measure a bead"
        )
    gain = dark = None
    if transfer is not None and transfer.slope_error < CANNOT_TELL["gain"] * transfer.slope:
        gain = Measured(transfer.slope, transfer.slope_error)
        dark = Measured(transfer.dark, transfer.dark_error)
    if gain is None:
        notes.append(
            "Offset and gain cannot be told: the frames are too evenly lit, or too few, to show "
            "how the noise grows with the light. Take them from the camera's data sheet and a "
            "dark frame"
        )
    return Estimate(None if at_bound or uncertain else psf, gain, dark, tuple(notes))
