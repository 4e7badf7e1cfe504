"""The files of a finished job: all of them appear, or none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unfold.files.atomic import output_folder, replacing
from napari_unfold.files.images import write_image
from napari_unfold.files.localizations import write_localizations

if TYPE_CHECKING:
    from napari_unfold.analysis.reconstruct import Reconstruction
    from napari_unfold.analysis.unfold_fluctuations import FluctuationResult


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
