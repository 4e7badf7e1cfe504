"""A reconstruction whose files appear in a folder, and that goes on where it was interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

import napari_unfold
from napari_unfold.files.presets import Preset
from napari_unfold.files.records import read_record
from napari_unfold.files.result_folder import RECORD, ResultFolder, keep_apart, recorded_files
from napari_unfold.files.stacks import Stack
from napari_unfold.files.unfinished import Unfinished, identity
from napari_unfold.jobs import Device, Job, Note
from napari_unfold.reconstruction.reconstruct import reconstruct
from napari_unfold.reconstruction.result import Reconstruction
from napari_unfold.settings.recipe import Recipe


@dataclass(frozen=True)
class Request:
    """What is asked of a stack.

    Attributes
    ----------
    recipe : Recipe
    preset : Preset, optional
        None for the classical network.
    frames : slice
        From 0.
    channel, plane : int, optional
        Which ones the stack was opened with.
    save_frames : bool
        Whether every reconstructed frame is written too, to ``frames.tif``.
    """

    recipe: Recipe
    preset: Preset | None = None
    frames: slice = field(default_factory=lambda: slice(None))
    channel: int | None = None
    plane: int | None = None
    save_frames: bool = False

    @property
    def files(self) -> Iterator[Path]:
        """The files that settings name."""
        for _, section in self.recipe:
            yield from (value for _, value in section if isinstance(value, Path))

    def asked(self, stack: Stack) -> dict[str, Any]:
        """Return all that the result for a stack depends on, ready for JSON."""
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "preset": self.preset.model_dump(mode="json") if self.preset else None,
            "frames": [self.frames.start, self.frames.stop],
            "selection": [self.channel, self.plane],
            "save_frames": self.save_frames,
            "stack": [stack.name, stack.shape, str(stack.dtype)],
            "files": identity([*stack.files, *self.files]),
            "software": [napari_unfold.__version__, torch.__version__],
        }


class FolderRun:
    """One request for one stack, answered in one folder.

    Parameters
    ----------
    out : Path
        Created if need be.
    stack : Stack
    request : Request

    Raises
    ------
    InputError
        If results would overwrite what is read.
    """

    def __init__(self, out: Path, stack: Stack, request: Request) -> None:
        outputs = [out / name for name in Reconstruction.FILES]
        keep_apart([*stack.files, *request.files], outputs)
        self._out, self._stack, self._request = out, stack, request
        self._unfinished = Unfinished(ResultFolder(out).unfinished, request.asked(stack))

    @property
    def frames_kept(self) -> int:
        """How many frames an interrupted run has finished, with which the next one goes on."""
        return self._unfinished.done

    @property
    def answer(self) -> dict[str, Any] | None:
        """The record of the result in the folder, if that is just what is asked for."""
        files = recorded_files(self._out)
        if not files or not all((self._out / name).is_file() for name in files):
            return None
        record = read_record(self._out / RECORD)
        return record if record.get("request") == self._unfinished.key else None

    def job(self, device: Device = "auto", anew: bool = False) -> Job[Reconstruction]:
        """Reconstruct and write; go on with an interrupted run, unless it is to begin `anew`.

        Raises
        ------
        InputError
            If the stack or a setting cannot be used, or the folder cannot be written.
        """
        kept, request = self._unfinished, self._request
        with ResultFolder(self._out) as folder:
            folder.obsolete.append(folder.unfinished)
            if anew:
                kept.remove()
            if kept.others:
                yield Note(
                    "An interrupted run with other settings, or of another stack, is kept in this "
                    "folder until a run succeeds; its own command goes on with it."
                )
            frames_path = folder.file("frames.tif") if request.save_frames else None
            try:
                result = yield from reconstruct(
                    self._stack, request.recipe, request.preset, frames=request.frames,
                    device=device, save_frames=frames_path, unfinished=kept,
                )  # fmt: skip
            except BaseException:
                kept.tidy()
                raise
            result = replace(result, record={**result.record, "request": kept.key})
            result.save(folder)
        return result
