"""The main job: a stack of frames becomes a super-resolved image and a localization table."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unfold.errors import InputError, OutOfMemoryError, is_out_of_memory
from napari_unfold.estimation.bad_frames import FrameCheck
from napari_unfold.files.presets import Preset
from napari_unfold.files.result_folder import keep_apart
from napari_unfold.files.stacks import Stack
from napari_unfold.files.unfinished import Unfinished
from napari_unfold.jobs import (
    Checkpoint,
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
from napari_unfold.localization.follow import Chunk
from napari_unfold.reconstruction.batch import WHOLE, Batch, Region
from napari_unfold.reconstruction.go_on import Keeper
from napari_unfold.reconstruction.look import Look, look
from napari_unfold.reconstruction.prepare import Setup, check_preset, prepare
from napari_unfold.reconstruction.result import Reconstruction
from napari_unfold.reconstruction.so_far import SoFar
from napari_unfold.settings.recipe import Recipe
from napari_unfold.unfolding.inference import unfold
from napari_unfold.unfolding.tiles import missing

MEMORY_BUDGET_BYTES = {"cpu": 2**26, "cuda": 2**31}
"""For the fine images of a batch: enough for tiles of many frames to be computed together."""
FINE_IMAGES_PER_FRAME = 12

LOCALIZATION_SHARE = 0.3
"""Rough share of the time spent on localizing a batch, for an even progress bar."""


def reconstruct(
    stack: Stack,
    recipe: Recipe,
    preset: Preset | None = None,
    *,
    frames: slice = slice(None),
    device: Device = "auto",
    save_frames: Path | None = None,
    unfinished: Unfinished | None = None,
) -> Job[Reconstruction]:
    """Reconstruct and localize a stack of any length, batch by batch.

    Parameters
    ----------
    stack : Stack
    recipe : Recipe
    preset : Preset, optional
        Learned parameters; without one the network runs with classical parameters.
    frames : slice
        Which frames to use, counted from 0.
    device : {"auto", "cpu", "cuda"}
    save_frames : Path, optional
        TIFF file for every reconstructed frame.
    unfinished : Unfinished, optional
        Where to keep what is done after every batch or so, and to go on from if there is something.

    Yields
    ------
    Event
        Among them `Checkpoint`, whose value gives the job that makes a result of the frames that
        are done, for a run that is stopped.

    Returns
    -------
    Reconstruction

    Raises
    ------
    InputError
        If the stack or a setting cannot be used.
    OutOfMemoryError
        If not even a single frame fits into memory.
    """
    started = time.monotonic()
    chosen = choose_device(device)
    check_preset(preset, recipe)  # refused before the stack is read
    keep_apart(stack.files, [save_frames])
    known = yield from look(stack, recipe, frames)
    check, usable, seen = known.check, known.usable, known.seen
    follow = known.recipe.localization.follow
    setup = prepare(seen, preset, chosen, coupled=follow != "off")
    lack = missing(setup.network)
    if lack and chosen.type == "cpu":
        seen.notes.append(f"The network runs in its slower form: the fast one needs {lack}")
        yield Note(seen.notes[-1])
    total = len(usable)
    yield Stage(f"Reconstructing {total} frame{'s' if total > 1 else ''}")
    so_far = SoFar(stack, recipe, preset, setup, check, seen.notes, started)
    keeper = Keeper(unfinished, so_far)
    yield from keeper.go_on(known)
    batch = min(_batch_size(setup), so_far.batch or total)  # smaller where memory was short
    with keeper.frame_writer(save_frames) if save_frames else nullcontext() as out:
        if out:
            keeper.repeat_frames(out)
        while so_far.done < total:
            start, stop = so_far.done, min(so_far.done + batch, total)
            try:
                x, chunk = yield from unfold_batch(known, setup, start, stop)
            except (MemoryError, RuntimeError) as error:
                batch = yield from _smaller_batch(batch, setup, error)
                continue
            yield from so_far.add(x, chunk)
            if out:
                for image in _with_gaps(x, check, start, stop):
                    out.write(image)
            yield from keeper.keep(out)
            yield Progress(stop, total)
            yield Preview(so_far.image)
            yield Checkpoint(so_far.finish)
    return (yield from so_far.finish())


def unfold_batch(
    known: Look, setup: Setup, start: int, stop: int, region: Region = WHOLE
) -> Generator[Event, None, tuple[NDArray[np.float32], Chunk]]:
    """Reconstruct and localize the frames from `start` up to, not including, `stop`.

    Parameters
    ----------
    known : Look
    setup : Setup
        For the region.
    start, stop : int
        Numbers of frames among those that can be used.
    region : tuple of slice
        Rows and columns.

    Returns
    -------
    array (T, qY, qX)
        Reconstructed frames.
    Chunk
        What was found in them.
    """
    total = len(known.usable)
    batch = Batch.read(known, setup, start, stop, region)
    y, b, inner = batch.y, batch.b, batch.inner
    throttle = Throttle()

    def progress(share: float) -> Progress | None:
        return Progress(start + share * (stop - start), total) if throttle.is_due() else None

    pedestal = setup.pedestal_photons
    x = yield from translated(
        unfold(setup.network, y + pedestal, b + pedestal, batch.follows, inner),
        lambda share: progress((1 - LOCALIZATION_SHARE) * share),
    )
    found = yield from translated(
        setup.localizer(_finite(x), y[inner], b[inner], batch.ignored, batch.lit),
        lambda share: progress(1 - LOCALIZATION_SHARE * (1 - share)),
    )
    return x.cpu().numpy(), batch.chunk(setup, found)


def _finite(x: torch.Tensor) -> torch.Tensor:
    if torch.isfinite(x).all():
        return x
    raise InputError(
        "with the parameters of this preset the reconstruction is not finite",
        "Choose another preset",
        field="preset",
    )


def _with_gaps(
    images: NDArray[np.float32], check: FrameCheck, start: int, stop: int
) -> Iterator[NDArray[np.float32]]:
    """Yield reconstructed frames with empty ones where frames were left out before them."""
    kept = check.kept
    before = kept[start - 1] if start else check.span[0] - 1
    for image, number in zip(images, kept[start:stop], strict=True):
        for _ in range(before + 1, number):
            yield np.zeros((1, *image.shape), dtype=np.float32)
        yield image[None]
        before = number
    for _ in range(before + 1, check.span[1] if stop == len(kept) else 0):
        yield np.zeros((1, *images.shape[1:]), dtype=np.float32)


def _batch_size(setup: Setup) -> int:
    """As many frames as fit into the memory budget."""
    rows, columns = setup.grid.fine_shape
    per_frame = FINE_IMAGES_PER_FRAME * rows * columns * 4
    return int(np.clip(MEMORY_BUDGET_BYTES[setup.device.type] // per_frame, 1, 64))


def _smaller_batch(batch: int, setup: Setup, error: BaseException) -> Generator[Event, None, int]:
    """Halve the batch after running out of memory; any other error is raised again."""
    if not is_out_of_memory(error):
        raise error
    if setup.device.type == "cuda":
        torch.cuda.empty_cache()
    if batch == 1:
        rows, columns = setup.grid.fine_shape
        raise OutOfMemoryError(
            f"a single reconstructed frame of {rows} x {columns} fine pixels does not fit into "
            f"the memory of the {'GPU' if setup.device.type == 'cuda' else 'computer'}",
            "Crop the stack, lower the upsampling, or choose another device",
            field="solver.upsampling",
        ) from error
    yield Note(f"Out of memory: going on with {batch // 2} frames at a time")
    return batch // 2
