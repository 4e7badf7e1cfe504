"""Looking at a stack of fluctuating emitters: its temporal statistics, and what tells its PSF."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.estimation.estimate import MIN_SIZE_PX, estimate
from napari_unfold.estimation.measured import Measured
from napari_unfold.estimation.observe import Observation, load_psf, observe
from napari_unfold.files.stacks import Stack
from napari_unfold.fluctuation.statistics import FluctuationImages, TemporalStatistics, time_blocks
from napari_unfold.imaging.camera import noise_variance, to_photons
from napari_unfold.imaging.psf import PSF, GaussianPSF
from napari_unfold.jobs import Job, Note, Progress, Stage
from napari_unfold.settings.fluctuation import Fluctuation
from napari_unfold.settings.microscope import FWHM_PER_SIGMA
from napari_unfold.settings.recipe import Recipe

BATCH_FRAMES = 50
BATCH_VALUES = 2**21
"""At most so many frames, or values, are read at a time."""

DISAGREEMENT = 0.05
"""Relative difference of two widths of the PSF that is worth mentioning."""


@dataclass(frozen=True)
class Fluctuations:
    """What a stack of fluctuating emitters tells.

    Attributes
    ----------
    seen : Observation
    images : FluctuationImages
    noise : array (Y, X)
        Variance that is due to noise, in photons squared.
    width : Measured or None
        PSF sigma in camera pixels, if the stack tells it.
    """

    seen: Observation
    images: FluctuationImages
    noise: NDArray[np.float64]
    width: Measured | None


def watch(stack: Stack, recipe: Recipe, settings: Fluctuation, frames: slice) -> Job[Fluctuations]:
    """Look at a sample of the stack, then read it once for its statistics."""
    seen = yield from observe(stack, recipe, frames)
    camera, span = seen.camera, seen.frames
    width = yield from _estimated_sigma(stack, seen)
    statistics = TemporalStatistics()
    total = span[1] - span[0]
    blocks = time_blocks(total, settings.block_frames, statistics.smallest_block)
    batch = min(BATCH_FRAMES, max(1, BATCH_VALUES // math.prod(stack.shape[1:])))
    yield Stage(f"Temporal statistics of {total:,} frames")
    for first, last in blocks:
        for start in range(first, last, batch):
            stop = min(start + batch, last)
            statistics.add(to_photons(stack.read(span[0] + start, span[0] + stop), camera))
            yield Progress(stop, total)
        statistics.end_block()
    noise = noise_variance(statistics.images().mean, camera)
    images = statistics.images(noise)
    if float(images.covariance[0].mean()) < float(noise.mean()):
        yield Note(
            "The pixels fluctuate less than the camera settings say of their noise alone: check "
            "offset, gain and excess noise"
        )
    return Fluctuations(seen, images, noise, width)


def _estimated_sigma(stack: Stack, seen: Observation) -> Job[Measured | None]:
    """Return the PSF sigma in pixels that the stack itself tells, if it does."""
    if min(seen.shape) < MIN_SIZE_PX:
        return None
    return (yield from estimate(stack, seen.recipe.camera, slice(*seen.frames))).psf_sigma_px


def first_psf(recipe: Recipe, settings: Fluctuation, width: Measured | None) -> Job[PSF]:
    """Return the PSF to work with, or to simulate with: as entered, or from the data."""
    nm, entered = recipe.optics.pixel_size_nm, recipe.optics.psf_sigma_nm
    if width is not None:
        yield Note(
            f"PSF of this stack: FWHM {width * (FWHM_PER_SIGMA * nm)} nm "
            f"(sigma {width * nm} nm), from what neighbouring pixels have in common"
        )
        if entered is not None and abs(entered / (width.value * nm) - 1.0) > DISAGREEMENT:
            yield Note(f"The PSF entered has a FWHM of {FWHM_PER_SIGMA * entered:.0f} nm")
    if recipe.optics.psf_image is not None:
        if settings.psf_from != "settings":
            yield Note("The bead image is used as it is; no PSF is estimated or learned")
        return load_psf(recipe.optics)
    if entered is not None and settings.psf_from in ("settings", "learned"):
        return GaussianPSF(entered / nm)
    if width is not None:
        return GaussianPSF(width.value)
    if entered is None:
        raise InputError(
            "neighbouring pixels fluctuate too little together to tell the PSF",
            "Enter its FWHM or sigma in nm, or use more frames",
            field="optics.psf_sigma_nm",
        )
    yield Note("The fluctuations are too weak to tell the PSF: using the one entered")
    return GaussianPSF(entered / nm)
