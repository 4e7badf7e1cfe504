"""The main job: a stack of frames becomes a super-resolved image and a localization table."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from napari_unfold.errors import InputError, OutOfMemoryError
from napari_unfold.estimation.bad_frames import FrameCheck, check_frames
from napari_unfold.estimation.check_settings import check_settings
from napari_unfold.estimation.observe import observe_molecules
from napari_unfold.estimation.sample import frame_range
from napari_unfold.files.images import FrameWriter, write_image
from napari_unfold.files.localizations import write_localizations
from napari_unfold.files.presets import Preset
from napari_unfold.files.result_folder import RECORD, ResultFolder, keep_apart
from napari_unfold.files.results import save_set
from napari_unfold.files.stacks import Stack
from napari_unfold.imaging.camera import to_photons
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
from napari_unfold.localization.fit_quality import FitQuality
from napari_unfold.localization.follow import Chunk
from napari_unfold.reconstruction.prepare import Setup, check_preset, prepare
from napari_unfold.reconstruction.through_time import ThroughTime
from napari_unfold.reconstruction.verdict import verdict
from napari_unfold.settings.recipe import Recipe
from napari_unfold.tables.molecules import molecules_of
from napari_unfold.unfolding.inference import unfold
from napari_unfold.unfolding.tiles import missing

T = TypeVar("T")

MEMORY_BUDGET_BYTES = {"cpu": 2**26, "cuda": 2**31}
"""For the fine images of a batch: enough for tiles of many frames to be computed together."""
FINE_IMAGES_PER_FRAME = 12

_OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory", re.IGNORECASE)
"""In what PyTorch says of a GPU and of the processor, where that is a mere RuntimeError."""

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
        One row per molecule and frame; columns as in `tables.columns`.
    background : array (Y, X)
        Photons per camera pixel.
    molecule_photons : float
        Photons of a typical molecule that were used.
    pixel_size_nm : float
        Of the camera.
    upsampling : int
        Fine pixels per camera pixel.
    recipe : Recipe
        As it was used.
    record : dict
        How the result came about, ready for JSON.
    """

    FILES: ClassVar = (
        "reconstruction.tif", "localizations.csv", "molecules.csv", "frames.tif", RECORD,
    )  # fmt: skip

    image: NDArray[np.float32]
    localizations: pd.DataFrame
    background: NDArray[np.float32]
    molecule_photons: float
    pixel_size_nm: float
    upsampling: int
    recipe: Recipe
    record: dict[str, Any] = field(repr=False)

    def save(self, folder: Path | ResultFolder) -> list[Path]:
        """Write ``reconstruction.tif``, ``localizations.csv`` and ``run.json``, all or none.

        Where molecules were followed in time, ``molecules.csv`` has one row for each.

        Raises
        ------
        InputError
            If the folder cannot be written; earlier files are then as they were.
        """
        fine_nm = self.pixel_size_nm / self.upsampling
        parts: dict[str, Callable[[Path], None]] = {
            "reconstruction.tif": lambda path: write_image(self.image, path, fine_nm),
            "localizations.csv": lambda path: write_localizations(self.localizations, path),
        }
        molecules = self.molecules
        if molecules is not None:
            parts["molecules.csv"] = lambda path: write_localizations(molecules, path)
        return save_set(folder, parts, self.record)

    @property
    def molecules(self) -> pd.DataFrame | None:
        """One row per molecule, if molecules were followed in time; see `molecules_of`."""
        return molecules_of(self.localizations) if "track" in self.localizations else None


def reconstruct(
    stack: Stack,
    recipe: Recipe,
    preset: Preset | None = None,
    *,
    frames: slice = slice(None),
    device: Device = "auto",
    save_frames: Path | None = None,
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

    Yields
    ------
    Event

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
    span = frame_range(frames, len(stack))
    told: list[str] = []
    check = yield from check_frames(stack, span, recipe.camera.offset_adu)
    for note in check.notes:
        told.append(note)
        yield Note(note)
    usable = check.usable(stack)
    clipped = math.isfinite(check.ceiling_adu)
    job = check_settings(usable, recipe, (0, len(usable)), clipped)
    recipe = yield from _heard(job, told)
    seen = yield from observe_molecules(usable, recipe, slice(None))
    seen.notes[:0] = told
    follow = recipe.localization.follow
    setup = prepare(seen, preset, chosen, coupled=follow != "off")
    lack = missing(setup.network)
    if lack and chosen.type == "cpu":
        seen.notes.append(f"The network runs in its slower form: the fast one needs {lack}")
        yield Note(seen.notes[-1])
    total = len(usable)
    yield Stage(f"Reconstructing {total} frame{'s' if total > 1 else ''}")
    light = np.zeros(setup.grid.fine_shape, dtype=np.float64)
    collected = ThroughTime(setup.localizer, setup.recipe.localization.follow)
    quality = FitQuality()
    batch = _batch_size(setup)
    start = 0
    fine_nm = setup.grid.fine_pixel_nm
    with FrameWriter(save_frames, fine_nm) if save_frames else nullcontext() as out:
        while start < total:
            stop = min(start + batch, total)
            try:
                x, chunk = yield from _unfold(usable, setup, check, start, stop)
            except (MemoryError, RuntimeError) as error:
                batch = yield from _smaller_batch(batch, setup, error)
                continue
            light += x.sum(axis=0, dtype=np.float64)
            quality += chunk.found.quality
            yield from translated(collected.push(chunk), _silent)
            if out:
                for image in _with_gaps(x, check, start, stop):
                    out.write(image)
            start = stop
            yield Progress(start, total)
            yield Preview((light / start).astype(np.float32))
    if collected.is_following:
        yield Stage("Following molecules through the last frames")
    localizations = yield from translated(collected.finish(), _silent)
    localizations["frame"] = check.kept[localizations["frame"]]
    if collected.note:
        seen.notes.append(collected.note)
        yield Note(collected.note)
    seconds = time.monotonic() - started
    judged = verdict(quality, total, len(check.left_out), recipe.optics.psf_image is None)
    seen.notes.append(judged.summary)
    yield Note(judged.summary)
    record = setup.record(stack, preset, len(localizations), seconds)
    return Reconstruction(
        image=(light / total).astype(np.float32),
        localizations=localizations,
        background=seen.background,
        molecule_photons=seen.molecule_photons,
        pixel_size_nm=recipe.optics.pixel_size_nm,
        upsampling=setup.grid.upsampling,
        recipe=setup.recipe,
        record={
            **record,
            "stack": {**record["stack"], "frames": list(span)},
            "frames_left_out": {str(t): reason for t, reason in check.left_out.items()},
            "verdict": judged.record(),
        },
    )


def _unfold(
    usable: Stack, setup: Setup, check: FrameCheck, start: int, stop: int
) -> Generator[Event, None, tuple[NDArray[np.float32], Chunk]]:
    """Reconstruct and localize the frames from `start` up to, not including, `stop`."""
    seen, total = setup.seen, len(usable)
    first, last = setup.with_neighbours(start, stop, total)
    inner = slice(start - first, stop - first)
    grey = usable.read(first, last)
    frames = to_photons(grey, seen.camera)
    factors = seen.lamp.factors(frames, seen.background, seen.camera)
    background = seen.background * factors[:, None, None]
    lit = float(factors[inner].mean()) if seen.lamp.lights_molecules else 1.0
    unusable = check.unusable(grey[inner], start)
    y = torch.as_tensor(frames, device=setup.device)
    b = torch.as_tensor(background, device=setup.device)
    follows = torch.as_tensor(check.follows[first:last], device=setup.device)
    ignored = None if unusable is None else torch.as_tensor(unusable, device=setup.device)
    throttle = Throttle()

    def progress(share: float) -> Progress | None:
        return Progress(start + share * (stop - start), total) if throttle.is_due() else None

    pedestal = setup.pedestal_photons
    x = yield from translated(
        unfold(setup.network, y + pedestal, b + pedestal, follows, inner),
        lambda share: progress((1 - LOCALIZATION_SHARE) * share),
    )
    found = yield from translated(
        setup.localizer(_finite(x), y[inner], b[inner], ignored, lit),
        lambda share: progress(1 - LOCALIZATION_SHARE * (1 - share)),
    )
    fitted = setup.localizer.frames(y[inner], b[inner], ignored, lit)
    return x.cpu().numpy(), Chunk(fitted, lit, found, background[inner])


def _finite(x: torch.Tensor) -> torch.Tensor:
    if torch.isfinite(x).all():
        return x
    raise InputError(
        "with the parameters of this preset the reconstruction is not finite",
        "Choose another preset",
        field="preset",
    )


def _silent(share: float) -> None:
    """Say nothing of the share of the work that is done; the caller may stop here."""


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


def _heard(job: Job[T], told: list[str]) -> Job[T]:
    """Run a job and keep its notes."""

    def keep(event: Event) -> Event:
        if isinstance(event, Note):
            told.append(event.text)
        return event

    return (yield from translated(job, keep))


def _batch_size(setup: Setup) -> int:
    """As many frames as fit into the memory budget."""
    rows, columns = setup.grid.fine_shape
    per_frame = FINE_IMAGES_PER_FRAME * rows * columns * 4
    return int(np.clip(MEMORY_BUDGET_BYTES[setup.device.type] // per_frame, 1, 64))


def _smaller_batch(batch: int, setup: Setup, error: BaseException) -> Generator[Event, None, int]:
    """Halve the batch after running out of memory; any other error is raised again."""
    if not isinstance(error, MemoryError) and not _OUT_OF_MEMORY.search(str(error)):
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
