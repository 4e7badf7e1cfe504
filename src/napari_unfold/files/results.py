"""The files of a finished job: all of them appear, or none."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import napari_unfold
from napari_unfold.files.atomic import replacing
from napari_unfold.files.result_folder import RECORD, ResultFolder
from napari_unfold.files.stacks import Stack

if TYPE_CHECKING:
    import torch

Write: TypeAlias = Callable[[Path], None]
"""Writes one file."""


def save_set(
    folder: Path | ResultFolder, files: Mapping[str, Write], record: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write the files of one result: all of them appear, or none.

    Parameters
    ----------
    folder : Path or ResultFolder
        Created if need be; files of an earlier run are replaced. One that is open already may
        hold further files, and publishes them all when it is closed.
    files : mapping
        From the name of each file to what writes it.
    record : mapping, optional
        How the result came about, for ``run.json``; the names of all files are added.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        If the folder cannot be written; earlier files are then as they were.
    """
    if not isinstance(folder, ResultFolder):
        with ResultFolder(folder) as opened:
            return save_set(opened, files, record)
    for name, write in files.items():
        write(folder.file(name))
    if record is not None:
        names = sorted({*folder.names, RECORD})
        write_json({**record, "files": names}, folder.file(RECORD))
    return [folder.path / name for name in (*files, *([RECORD] if record is not None else []))]


def save_together(files: Mapping[Path | None, Write]) -> None:
    """Write all files that have a name, wherever they are, or none of them."""
    with ExitStack() as temporary:
        for path, write in files.items():
            if path is not None:
                write(temporary.enter_context(replacing(path)))


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a record for people and programs to read."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def provenance(
    stack: Stack, frames: tuple[int, int], device: torch.device, seconds: float
) -> dict[str, Any]:
    """Return what was used to compute a result, and on what, ready for JSON."""
    import torch

    said = {"notes": list(stack.notes)} if stack.notes else {}
    return {
        "software": f"napari-unfold {napari_unfold.__version__}",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "device": str(device),
        "stack": {"name": stack.name, "shape": list(stack.shape), "frames": list(frames), **said},
    }
