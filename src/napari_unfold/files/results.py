"""The files of a finished job: all of them appear, or none."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import napari_unfold
from napari_unfold.files.atomic import output_folder, replacing
from napari_unfold.files.images import write_image
from napari_unfold.files.localizations import write_localizations
from napari_unfold.files.stacks import Stack

if TYPE_CHECKING:
    from napari_unfold.fluctuation.sharpen import FluctuationResult
    from napari_unfold.reconstruction.reconstruct import Reconstruction


def save_reconstruction(result: Reconstruction, folder: Path) -> list[Path]:
    """Write ``reconstruction.tif``, ``localizations.csv`` and ``run.json``.

    Parameters
    ----------
    result : Reconstruction
    folder : Path
        Created if need be; files of an earlier run are replaced.

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
    names = ("reconstruction.tif", "localizations.csv", "run.json")
    paths = [folder / name for name in names]
    with ExitStack() as files:
        image, table, record = (files.enter_context(replacing(path)) for path in paths)
        write_image(result.image, image, result.pixel_size_nm / result.upsampling)
        write_localizations(result.localizations, table)
        write_json(result.record, record)
    return paths


def save_fluctuations(result: FluctuationResult, folder: Path) -> list[Path]:
    """Write ``mean``, ``variance``, ``reconstruction`` and ``psf`` as TIFF, and ``run.json``.

    Parameters
    ----------
    result : FluctuationResult
    folder : Path
        Created if need be; files of an earlier run are replaced.

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
    fine_nm = result.pixel_size_nm / result.upsampling
    images = {
        "mean.tif": (result.mean, result.pixel_size_nm),
        "variance.tif": (result.variance, result.pixel_size_nm),
        "reconstruction.tif": (result.reconstruction, fine_nm),
        "psf.tif": (result.psf, fine_nm),
    }
    paths = [folder / name for name in (*images, "run.json")]
    with ExitStack() as files:
        temporary = [files.enter_context(replacing(path)) for path in paths]
        for (image, pixel_nm), path in zip(images.values(), temporary[:-1], strict=True):
            write_image(image, path, pixel_nm)
        write_json(result.record, temporary[-1])
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
