"""The main job: a stack of frames becomes a super-resolved image and a localization table."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from napari_unfold.errors import OutOfMemoryError
from napari_unfold.files.images import FrameWriter, write_image
from napari_unfold.files.localizations import write_localizations
from napari_unfold.files.presets import Preset
from napari_unfold.files.results import save_set, write_json
from napari_unfold.files.stacks import Stack
from napari_unfold.imaging.camera import to_photons
from napari_unfold.jobs import (
    Device,
    Event,
    Job,
    Note,
    Preview,
    Progress,
    Result,
    Stage,
    choose_device,
)
from napari_unfold.reconstruction.prepare import Setup, prepare
from napari_unfold.settings.recipe import Recipe
from napari_unfold.unfolding.inference import iterates_in_place

SECONDS_BETWEEN_EVENTS = 0.15
MEMORY_BUDGET_BYTES = {"cpu": 2**24, "cuda": 2**31}
"""For the fine images of a batch; on a CPU small batches stay in its cache and are faster."""
FINE_IMAGES_PER_FRAME = 12

LOCALIZATION_SHARE = 0.3
"""Rough share of the time spent on localizing a batch, for an even progress bar."""


@dataclass(frozen=True)
class Reconstruction:
    """What comes out of a stack.

    Attributes
    ----------
    image : array (qY, qX), float32
        Mean over the frames, photons per fine pixel and frame.
    localizations : DataFrame
        One row per molecule and frame; columns as in `analysis.table`.
    background : array (Y, X)
        Photons per camera pixel.
    molecule_photons : float
        Photons of a typical molecule that were used.
    pixel_size_nm : float
        Of the camera.
    upsampling : int
        Fine pixels per camera pixel.
    recipe : Recipe
    record : dict
        How the result came about, ready for JSON.
    """

    image: NDArray[np.float32]
    localizations: pd.DataFrame
    background: NDArray[np.float32]
    molecule_photons: float
    pixel_size_nm: float
    upsampling: int
    recipe: Recipe
    record: dict[str, Any] = field(repr=False)

    def save(self, folder: Path) -> list[Path]:
        """Write ``reconstruction.tif``, ``localizations.csv`` and ``run.json``, all or none.

        Raises
        ------
        InputError
            If the folder cannot be written; earlier files are then as they were.
        """
        fine_nm = self.pixel_size_nm / self.upsampling
        return save_set(
            folder,
            {
                "reconstruction.tif": lambda path: write_image(self.image, path, fine_nm),
                "localizations.csv": lambda path: write_localizations(self.localizations, path),
                "run.json": lambda path: write_json(self.record, path),
            },
        )


def reconstruct(
    stack: Stack,
    recipe: Recipe,
    preset: Preset | None = None,
    *,
    frames: slice = slice(None),
    device: Device = "auto",
    save_frames: Path | None = None,
) -> Job:
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

    Yields
    ------
    Event
        The last is a `Result` that holds a `Reconstruction`.

    Raises
    ------
    InputError
        If the stack or a setting cannot be used.
    OutOfMemoryError
        If not even a single frame fits into memory.
    """
    started = time.monotonic()
    setup = yield from prepare(stack, recipe, preset, frames, choose_device(device))
    first, last = setup.frames
    total = last - first
    yield Stage(f"Reconstructing {total} frame{'s' if total > 1 else ''}")
    light = np.zeros(setup.grid.fine_shape, dtype=np.float64)
    tables = []
    batch = _batch_size(setup)
    start = first
    fine_nm = setup.grid.fine_pixel_nm
    with FrameWriter(save_frames, fine_nm) if save_frames else nullcontext() as out:
        while start < last:
            stop = min(start + batch, last)
            try:
                x, table = yield from _unfold(stack, setup, start, stop)
            except (torch.OutOfMemoryError, MemoryError) as error:
                batch = yield from _smaller_batch(batch, setup, error)
                continue
            light += x.sum(axis=0, dtype=np.float64)
            tables.append(table)
            if out:
                out.write(x)
            start = stop
            yield Progress(start - first, total)
            yield Preview((light / (start - first)).astype(np.float32))
    localizations = pd.concat(tables, ignore_index=True)
    seconds = time.monotonic() - started
    yield Result(
        Reconstruction(
            image=(light / total).astype(np.float32),
            localizations=localizations,
            background=setup.background,
            molecule_photons=setup.molecule_photons,
            pixel_size_nm=recipe.optics.pixel_size_nm,
            upsampling=setup.grid.upsampling,
            recipe=recipe,
            record=setup.record(stack, preset, len(localizations), seconds),
        )
    )


def _unfold(
    stack: Stack, setup: Setup, start: int, stop: int
) -> Generator[Event, None, tuple[NDArray[np.float32], pd.DataFrame]]:
    """Reconstruct and localize the frames from `start` up to, not including, `stop`."""
    done, total = start - setup.frames[0], setup.frames[1] - setup.frames[0]
    frames = to_photons(stack.read(start, stop), setup.camera)
    y = torch.as_tensor(frames, device=setup.device)
    b = torch.as_tensor(setup.background, device=setup.device)
    reported = time.monotonic()

    def tick(share: float) -> Generator[Event, None, None]:
        nonlocal reported
        if time.monotonic() - reported > SECONDS_BETWEEN_EVENTS:
            reported = time.monotonic()
            yield Progress(done + share * (stop - start), total)

    pedestal = setup.pedestal_photons
    iterates = iterates_in_place(setup.network, y + pedestal, b + pedestal)
    for k in range(setup.parameters.iterations):
        x = next(iterates)
        yield from tick((1 - LOCALIZATION_SHARE) * (k + 1) / setup.parameters.iterations)
    localizing = setup.localizer(x, y, b)
    while True:
        try:
            share = next(localizing)
        except StopIteration as end:
            found = end.value
            break
        yield from tick(1 - LOCALIZATION_SHARE * (1 - share))
    table = setup.localizer.table(found, start, setup.background)
    return x.cpu().numpy(), table


def _batch_size(setup: Setup) -> int:
    """As many frames as fit into the memory budget."""
    rows, columns = setup.grid.fine_shape
    per_frame = FINE_IMAGES_PER_FRAME * rows * columns * 4
    return int(np.clip(MEMORY_BUDGET_BYTES[setup.device.type] // per_frame, 1, 64))


def _smaller_batch(batch: int, setup: Setup, error: BaseException) -> Generator[Event, None, int]:
    """Halve the batch after running out of memory."""
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
