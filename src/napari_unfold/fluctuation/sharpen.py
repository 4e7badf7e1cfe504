"""The job of fluctuation imaging: a stack of fluctuating emitters becomes one sharp image."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unfold.errors import InputError, OutOfMemoryError
from napari_unfold.estimation.observe import (
    check_frame_size,
    load_psf,
)
from napari_unfold.estimation.sample import frame_range
from napari_unfold.files.results import provenance
from napari_unfold.files.stacks import Stack
from napari_unfold.fluctuation.learn_on_patterns import learn_on_patterns
from napari_unfold.fluctuation.learn_psf import LearnedPSF, image_parameters
from napari_unfold.fluctuation.patterns import (
    SEED,
    emitter_image,
)
from napari_unfold.fluctuation.sharpened import FluctuationResult
from napari_unfold.fluctuation.watch import first_psf, watch
from napari_unfold.imaging.forward import ForwardOperator, forward_operator
from napari_unfold.imaging.grid import Grid
from napari_unfold.imaging.psf import GaussianPSF, psf_image
from napari_unfold.jobs import (
    Device,
    Event,
    Job,
    Note,
    Preview,
    Progress,
    Stage,
    Throttle,
    choose_device,
    translated,
)
from napari_unfold.settings.fluctuation import Fluctuation
from napari_unfold.settings.recipe import Recipe
from napari_unfold.unfolding.inference import iterates_in_place
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.parameters import NetworkParameters

MIN_FRAMES = 10


def unfold_fluctuations(
    stack: Stack,
    recipe: Recipe,
    settings: Fluctuation,
    *,
    frames: slice = slice(None),
    device: Device = "auto",
) -> Job[FluctuationResult]:
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
        `Metric` at every learning step.

    Returns
    -------
    FluctuationResult

    Raises
    ------
    InputError
        If the stack or a setting cannot be used.
    OutOfMemoryError
        If the sharpened image does not fit into memory.
    """
    notes: list[str] = []

    def noted(event: Event) -> Event:
        if isinstance(event, Note):
            notes.append(event.text)
        return event

    job = _unfold(stack, recipe, settings, frames, choose_device(device))
    result = yield from translated(job, noted)
    result.record["notes"] = notes
    return result


def _unfold(
    stack: Stack, recipe: Recipe, settings: Fluctuation, frames: slice, device: torch.device
) -> Job[FluctuationResult]:
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
    watched = yield from watch(stack, recipe, settings, frames)
    seen, recipe = watched.seen, watched.seen.recipe
    nm, q = recipe.optics.pixel_size_nm, recipe.solver.upsampling
    grid = Grid((stack.shape[1], stack.shape[2]), nm, q)
    psf = yield from first_psf(recipe, settings, watched.width)
    check_frame_size(grid.shape, psf)
    learned: LearnedPSF | None = None
    if settings.learning_steps > 0 and isinstance(psf, GaussianPSF):
        learned = yield from learn_on_patterns(recipe, settings, watched, psf, grid, device)
        if settings.psf_from == "learned":
            psf = GaussianPSF(learned.sigma_px)
    squared = settings.image != "mean"
    operator = forward_operator(grid.shape, q, psf, device=device, squared=squared)
    image = emitter_image(settings.image, watched.images, watched.noise, seen.background)
    y = torch.tensor(image, dtype=torch.float32, device=device)
    parameters = _parameters(operator, y, recipe, settings, learned)
    reconstruction = yield from _sharpen(operator, parameters, y)
    result = FluctuationResult(
        mean=watched.images.mean.astype(np.float32),
        variance=(watched.images.covariance[0] - watched.noise).astype(np.float32),
        reconstruction=reconstruction,
        psf=psf_image(psf, q),
        sigma_nm=psf.sigma_px * nm,
        data_sigma_nm=watched.width.value * nm if watched.width else None,
        data_sigma_error_nm=watched.width.standard_error * nm if watched.width else None,
        learned_sigma_nm=learned.sigma_px * nm if learned else None,
        history=learned.history if learned else [],
        settings=settings,
        pixel_size_nm=nm,
        upsampling=q,
        record=provenance(stack, span, device, time.monotonic() - started),
    )
    result.record.update(
        time_blocks=watched.images.n_blocks,
        psf={
            "sigma_nm": result.sigma_nm,
            "fwhm_nm": result.fwhm_nm,
            "from_data_sigma_nm": result.data_sigma_nm,
            "from_data_standard_error_nm": result.data_sigma_error_nm,
            "learned_sigma_nm": result.learned_sigma_nm,
        },
        recipe=recipe.model_dump(mode="json"),
        fluctuation=settings.model_dump(mode="json"),
        seed=SEED if learned else None,
        network=parameters.model_dump(mode="json"),
        history=[asdict(step) for step in result.history],
    )
    return result


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
    throttle = Throttle()
    try:
        network = UnfoldedNetwork(operator, parameters, device=y.device)
        for k, x in enumerate(iterates_in_place(network, y, torch.zeros_like(y))):
            if throttle.is_due():
                yield Progress(k + 1, parameters.iterations)
                yield Preview(x.cpu().numpy().copy())
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemoryError(
            "the sharpened image does not fit into memory",
            "Crop the stack, lower the upsampling, or choose another device",
            field="solver.upsampling",
        ) from error
    return x.cpu().numpy().copy()
