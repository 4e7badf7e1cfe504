"""File > Save for the layers of this plugin: nothing they know is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_points(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Points layer as a table; napari calls this when a layer is saved.

    The record of the run is written beside it. Points of unknown size that are not ours are left
    to napari.

    Parameters
    ----------
    path : str
    data : numpy.ndarray, shape (N, 2) or (N, 3)
        ``([frame,] y, x)`` of the points.
    meta : dict
        Properties of the layer.

    Returns
    -------
    list of str
        The files written.
    """
    from napari_unfold.errors import InputError
    from napari_unfold.files.results import write_json
    from napari_unfold.files.table_formats import Movie, paths_of, write_localizations
    from napari_unfold.plugin.layers import table_of_points

    try:
        table = table_of_points(data, meta)
    except InputError:
        if path.endswith(".thunderstorm.csv"):
            raise
        from napari_builtins.io import napari_write_points  # type: ignore[import-untyped]

        return [napari_write_points(path, data, meta) or path]
    record = _record(meta)
    write_localizations(table, Path(path), Movie.of(record))
    written = [str(one) for one in paths_of(Path(path))]
    if "recipe" not in record:
        return written
    beside = Path(path).with_name(f"{Path(path).name.split('.')[0]}.run.json")
    write_json(record, beside)
    return [*written, str(beside)]


def write_image(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an Image layer as OME-TIFF with its pixel size, and with the record of its run.

    Images in colour, and those of more than three axes, are left to napari.

    Parameters
    ----------
    path : str
    data : array, shape (Y, X) or (T, Y, X)
    meta : dict
        Properties of the layer.

    Returns
    -------
    list of str
        The file written.
    """
    import numpy as np

    from napari_unfold.files.images import write_ome_image
    from napari_unfold.plugin.layers import pixel_size_of

    image = np.asarray(data[0] if meta.get("multiscale") else data)
    if meta.get("rgb") or image.ndim not in (2, 3):
        from napari_builtins.io import napari_write_image

        return [napari_write_image(path, image, meta) or path]
    if image.dtype == bool:
        image = image.astype(np.uint8)
    pixel_size = pixel_size_of(meta["name"], meta["scale"], meta["units"])
    write_ome_image(image, Path(path), pixel_size, json.dumps(_record(meta)))
    return [path]


def _record(meta: dict[str, Any]) -> dict[str, Any]:
    from napari_unfold.plugin.layers import METADATA_KEY

    record = meta.get("metadata", {}).get(METADATA_KEY)
    return record if isinstance(record, dict) else {}
