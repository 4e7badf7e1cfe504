"""The files of a finished job: all of them appear, or none."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import napari_unfold
from napari_unfold.files.atomic import output_folder, replacing
from napari_unfold.files.stacks import Stack


def save_set(folder: Path, files: Mapping[str, Callable[[Path], None]]) -> list[Path]:
    """Write the files of one result: all of them appear, or none.

    Parameters
    ----------
    folder : Path
        Created if need be; files of an earlier run are replaced.
    files : mapping
        From the name of each file to what writes it.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        If the folder cannot be written; earlier files are then as they were.
    """
    output_folder(folder)
    paths = [folder / name for name in files]
    with ExitStack() as stack:
        temporary = [stack.enter_context(replacing(path)) for path in paths]
        for write, path in zip(files.values(), temporary, strict=True):
            write(path)
    return paths


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a record for people and programs to read."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def provenance(
    stack: Stack, frames: tuple[int, int], device: torch.device, seconds: float
) -> dict[str, Any]:
    """Return what was used to compute a result, and on what, ready for JSON."""
    return {
        "software": f"napari-unfold {napari_unfold.__version__}",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "device": str(device),
        "stack": {"name": stack.name, "shape": list(stack.shape), "frames": list(frames)},
    }
