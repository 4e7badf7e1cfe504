"""The job of fluctuation imaging: a stack of fluctuating emitters becomes one sharp image."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unfold.errors import InputError, OutOfMemoryError
from napari_unfold.estimation.estimate import MIN_SIZE_PX, estimate
from napari_unfold.estimation.measured import Measured
from napari_unfold.estimation.observe import (
    background_map,
    check_frame_size,
    load_psf,
)
from napari_unfold.estimation.resolve_camera import resolve_camera
from napari_unfold.estimation.sample import frame_range, read_sample
from napari_unfold.files.images import write_image
from napari_unfold.files.results import provenance, save_set, write_json
from napari_unfold.files.stacks import Stack
from napari_unfold.fluctuation.learn_psf import LearnedPSF, image_parameters, learn_psf
from napari_unfold.fluctuation.patterns import (
    PATTERN_SHAPE,
    emitter_image,
    estimate_emitters,
    simulate_patterns,
)
from napari_unfold.fluctuation.semiblind import SemiBlindOperator
from napari_unfold.fluctuation.statistics import FluctuationImages, TemporalStatistics, time_blocks
from napari_unfold.imaging.camera import CameraModel, noise_variance, to_photons
from napari_unfold.imaging.forward import ForwardOperator, forward_operator
from napari_unfold.imaging.grid import Grid
from napari_unfold.imaging.psf import PSF, GaussianPSF, gaussian_matrix
from napari_unfold.jobs import (
    Device,
    Event,
    Job,
    Metric,
    Note,
    Preview,
    Progress,
    Result,
    Stage,
    choose_device,
)
from napari_unfold.learning.losses import make_loss
from napari_unfold.settings.fluctuation import Fluctuation
from napari_unfold.settings.microscope import FWHM_PER_SIGMA, Camera
from napari_unfold.settings.recipe import Recipe
from napari_unfold.settings.training import Training
from napari_unfold.unfolding.inference import iterates_in_place
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.parameters import NetworkParameters

MIN_FRAMES = 10
BATCH_FRAMES = 50
BATCH_VALUES = 2**21
"""At most so many frames, or values, are read at a time."""

START_OFF = 1.3
"""Learning starts from a PSF that is wrong by this factor, so that it cannot just stay."""

DISAGREEMENT = 0.05
SECONDS_BETWEEN_EVENTS = 0.15


@dataclass(frozen=True)
class FluctuationResult:
    """What comes out of a stack of fluctuating emitters.

    Attributes
    ----------
    mean, variance : array (Y, X), float32
        Wide-field image in photons, and temporal variance without that of the noise, in photons
        squared.
    reconstruction : array (qY, qX), float32
        The chosen image, sharpened: light (photons) or its variance (photons squared) of the
        emitters per fine pixel.
    psf : array (n, n), float32
        PSF that was used, on the fine grid, of sum 1.
    sigma_nm : float
        Its sigma; for a bead image that of a Gaussian as wide.
    data_sigma_nm, data_sigma_error_nm : float or None
        Sigma estimated from the stack alone and its standard error.
    learned_sigma_nm : float or None
        Sigma learned on simulated patterns.
    history : list of dict
        Metrics of every learning step.
    settings : Fluctuation
    pixel_size_nm : float
        Of the camera.
    upsampling : int
        Fine pixels per camera pixel.
    record : dict
        How the result came about, ready for JSON.
    """

    mean: NDArray[np.float32]
    variance: NDArray[np.float32]
    reconstruction: NDArray[np.float32]
    psf: NDArray[np.float32]
    sigma_nm: float
    data_sigma_nm: float | None
    data_sigma_error_nm: float | None
    learned_sigma_nm: float | None
    history: list[dict[str, float]]
    settings: Fluctuation
    pixel_size_nm: float
    upsampling: int
    record: dict[str, Any] = field(repr=False)

    @property
    def fwhm_nm(self) -> float:
        """Full width at half maximum of the PSF that was used."""
        return FWHM_PER_SIGMA * self.sigma_nm

    def save(self, folder: Path) -> list[Path]:
        """Write ``mean``, ``variance``, ``reconstruction`` and ``psf`` as TIFF, and ``run.json``.

        Raises
        ------
        InputError
            If the folder cannot be written; earlier files are then as they were.
        """
        fine_nm = self.pixel_size_nm / self.upsampling
        return save_set(
            folder,
            {
                "mean.tif": lambda path: write_image(self.mean, path, self.pixel_size_nm),
                "variance.tif": lambda path: write_image(self.variance, path, self.pixel_size_nm),
                "reconstruction.tif": lambda path: write_image(self.reconstruction, path, fine_nm),
                "psf.tif": lambda path: write_image(self.psf, path, fine_nm),
                "run.json": lambda path: write_json(self.record, path),
            },
        )


@dataclass(frozen=True)
class _Seen:
    """What a stack tells: its statistics, background and PSF."""

    images: FluctuationImages
    noise: NDArray[np.float64]
    background: NDArray[np.float32]
    camera: CameraModel
    width: Measured | None


def unfold_fluctuations(
    stack: Stack,
    recipe: Recipe,
    settings: Fluctuation,
    *,
    frames: slice = slice(None),
    device: Device = "auto",
) -> Job:
    """Sharpen the variance, lag-1 covariance or mean of a stack, with a PSF that may be unknown.

    Parameters
    ----------
    stack : Stack
    recipe : Recipe
        Optics, camera, background, upsampling and iterations. The PSF may be missing.
    settings : Fluctuation
    frames : slice
        Which frames to use, counted from 0.
    device : {"auto", "cpu", "cuda"}

    Yields
    ------
    Event
        `Metric` at every learning step; the last is a `Result` that holds a `FluctuationResult`.

    Raises
    ------
    InputError
        If the stack or a setting cannot be used.
    OutOfMemoryError
        If the sharpened image does not fit into memory.
    """
    notes: list[str] = []
    for event in _unfold(stack, recipe, settings, frames, choose_device(device)):
        if isinstance(event, Note):
            notes.append(event.text)
        elif isinstance(event, Result):
            event.value.record["notes"] = notes
        yield event


def _unfold(
    stack: Stack, recipe: Recipe, settings: Fluctuation, frames: slice, device: torch.device
) -> Job:
    started = time.monotonic()
    span = frame_range(frames, stack.shape[0])
    if span[1] - span[0] < MIN_FRAMES:
        raise InputError(
            f"{span[1] - span[0]} frames are too few to see fluctuations",
            f"Use at least {MIN_FRAMES}, better hundreds",
            field="frames",
        )
    if settings.psf_from == "settings":
        load_psf(recipe.optics)  # refused before the stack is read
    seen = yield from _watch(stack, recipe, settings, span)
    recipe = recipe.model_copy(update={"camera": seen.camera.settings(recipe.camera)})
    nm, q = recipe.optics.pixel_size_nm, recipe.solver.upsampling
    grid = Grid((stack.shape[1], stack.shape[2]), nm, q)
    psf = yield from _first_psf(recipe, settings, seen)
    check_frame_size(grid.shape, psf)
    learned: LearnedPSF | None = None
    if settings.learning_steps > 0 and isinstance(psf, GaussianPSF):
        learned = yield from _learn(recipe, settings, seen, psf, grid, device)
        if settings.psf_from == "learned":
            psf = GaussianPSF(learned.sigma_px)
    squared = settings.image != "mean"
    operator = forward_operator(grid.shape, q, psf, device=device, squared=squared)
    image = emitter_image(settings.image, seen.images, seen.noise, seen.background)
    y = torch.tensor(image, dtype=torch.float32, device=device)
    parameters = _parameters(operator, y, recipe, settings, learned)
    reconstruction = yield from _sharpen(operator, parameters, y)
    result = FluctuationResult(
        mean=seen.images.mean.astype(np.float32),
        variance=(seen.images.covariance[0] - seen.noise).astype(np.float32),
        reconstruction=reconstruction,
        psf=psf_image(psf, q),
        sigma_nm=psf.sigma_px * nm,
        data_sigma_nm=seen.width.value * nm if seen.width else None,
        data_sigma_error_nm=seen.width.standard_error * nm if seen.width else None,
        learned_sigma_nm=learned.sigma_px * nm if learned else None,
        history=learned.history if learned else [],
        settings=settings,
        pixel_size_nm=nm,
        upsampling=q,
        record=provenance(stack, span, device, time.monotonic() - started),
    )
    result.record.update(
        time_blocks=seen.images.n_blocks,
        psf={
            "sigma_nm": result.sigma_nm,
            "fwhm_nm": result.fwhm_nm,
            "from_data_sigma_nm": result.data_sigma_nm,
            "from_data_standard_error_nm": result.data_sigma_error_nm,
            "learned_sigma_nm": result.learned_sigma_nm,
        },
        recipe=recipe.model_dump(mode="json"),
        fluctuation=settings.model_dump(mode="json"),
        network=parameters.model_dump(mode="json"),
        history=result.history,
    )
    yield Result(result)


def psf_image(psf: PSF, upsampling: int) -> NDArray[np.float32]:
    """Return the PSF ``(n, n)`` integrated over fine pixels, centred, of odd size and sum 1."""
    if isinstance(psf, GaussianPSF):
        sigma = psf.sigma_px * upsampling
        half = int(np.ceil(4.0 * sigma))
        profile = gaussian_matrix(2 * half + 1, 1, sigma)[:, half].numpy()
        image = np.outer(profile, profile)
    else:
        image = psf.on_fine_grid(upsampling)
    return np.asarray(image / image.sum(), dtype=np.float32)


def _watch(
    stack: Stack, recipe: Recipe, settings: Fluctuation, span: tuple[int, int]
) -> Generator[Event, None, _Seen]:
    """Read the stack once."""
    yield Stage("Reading the stack")
    grey = read_sample(stack, span)
    camera, _ = yield from resolve_camera(stack, recipe.camera, span, grey)
    shape = stack.shape[1], stack.shape[2]
    background = background_map(to_photons(grey, camera), camera, recipe.background, shape)
    width = yield from _estimated_sigma(stack, camera.settings(recipe.camera), span)
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
    return _Seen(images, noise, background, camera, width)


def _estimated_sigma(
    stack: Stack, camera: Camera, span: tuple[int, int]
) -> Generator[Event, None, Measured | None]:
    """Return the PSF sigma in pixels that the stack itself tells, if it does."""
    if min(stack.shape[1:]) < MIN_SIZE_PX:
        return None
    found: Measured | None = None
    for event in estimate(stack, camera, slice(*span)):
        if isinstance(event, Result):
            found = event.value.psf_sigma_px
        else:
            yield event
    return found


def _first_psf(recipe: Recipe, settings: Fluctuation, seen: _Seen) -> Generator[Event, None, PSF]:
    """Return the PSF to work with, or to simulate with: as entered, or from the data."""
    nm, entered = recipe.optics.pixel_size_nm, recipe.optics.psf_sigma_nm
    width = seen.width
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


def _learn(
    recipe: Recipe,
    settings: Fluctuation,
    seen: _Seen,
    psf: GaussianPSF,
    grid: Grid,
    device: torch.device,
) -> Generator[Event, None, LearnedPSF]:
    """Learn on patterns simulated to resemble the stack, from a wrong PSF."""
    squared, nm = settings.image != "mean", grid.pixel_size_nm
    plain = forward_operator(PATTERN_SHAPE, 1, psf)
    emitters = estimate_emitters(seen.images, seen.noise, seen.background, plain.point_energy)
    patterns = yield from simulate_patterns(
        settings.image, emitters, grid, psf.sigma_px * nm, seen.camera, seen.images.n_frames,
        settings.block_frames,
    )  # fmt: skip
    unit = float(patterns.truth[patterns.truth > 0].mean())
    patterns = replace(
        patterns,
        y=(patterns.y / unit).to(device),
        b=patterns.b.to(device),
        truth=(patterns.truth / unit).to(device),
    )
    learning, checking = patterns.split()
    operator = SemiBlindOperator(
        PATTERN_SHAPE, grid.upsampling, START_OFF * psf.sigma_px, device=device, squared=squared
    )
    start = image_parameters(
        operator.frozen(), learning.y, settings.weight, recipe.solver.iterations
    ).model_copy(update={"threshold_photons": 0.3, "projection_width_photons": 1e-3})
    job = learn_psf(
        operator, start, learning, checking, make_loss(Training(loss=settings.loss), 1.0),
        outer_iterations=settings.learning_steps,
    )  # fmt: skip
    for event in job:
        if isinstance(event, Metric):
            yield Metric(event.iteration, _in_nm(event.values, nm))
        elif isinstance(event, Result):
            found: LearnedPSF = event.value
        else:
            yield event
    fwhm = [FWHM_PER_SIGMA * s * nm for s in (psf.sigma_px, found.sigma_px)]
    yield Note(
        f"Learned on patterns simulated with a PSF of FWHM {fwhm[0]:.0f} nm, from a start "
        f"{100 * (START_OFF - 1):.0f} % too wide: {fwhm[1]:.0f} nm"
    )
    if abs(found.sigma_px / psf.sigma_px - 1.0) > DISAGREEMENT:
        yield Note(
            "What was learned is not the PSF of the simulation: at this noise the patterns do not "
            "tell it. Rely on the PSF of the data, or use more frames"
        )
    history = [_in_nm(values, nm) for values in found.history]
    return replace(found, history=history)


def _in_nm(values: dict[str, float], pixel_size_nm: float) -> dict[str, float]:
    return {**values, "PSF sigma": values["PSF sigma"] * pixel_size_nm}


def _parameters(
    operator: ForwardOperator,
    y: torch.Tensor,
    recipe: Recipe,
    settings: Fluctuation,
    learned: LearnedPSF | None,
) -> NetworkParameters:
    """Return those learned, carried over to this image, or those of theory."""
    if not bool((operator.adjoint(y) > 0).any()):
        raise InputError(
            f"there is nothing but noise in the {settings.image} image of this stack",
            "Check offset, gain and excess noise of the camera, or choose another image",
            field="fluctuation.image",
        )
    untrained = image_parameters(operator, y, settings.weight, recipe.solver.iterations)
    return learned.parameters.for_data(untrained.reference) if learned else untrained


def _sharpen(
    operator: ForwardOperator, parameters: NetworkParameters, y: torch.Tensor
) -> Generator[Event, None, NDArray[np.float32]]:
    """Run the network over one image."""
    yield Stage("Sharpening the image")
    reported = time.monotonic()
    try:
        network = UnfoldedNetwork(operator, parameters, device=y.device)
        for k, x in enumerate(iterates_in_place(network, y, torch.zeros_like(y))):
            if time.monotonic() - reported > SECONDS_BETWEEN_EVENTS:
                reported = time.monotonic()
                yield Progress(k + 1, parameters.iterations)
                yield Preview(x.cpu().numpy().copy())
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemoryError(
            "the sharpened image does not fit into memory",
            "Crop the stack, lower the upsampling, or choose another device",
            field="solver.upsampling",
        ) from error
    return x.cpu().numpy().copy()
