"""Save a Points layer as a localization table."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_points(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Points layer as a table; napari calls this when a layer is saved.

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
    from napari_unfold.files.table_formats import Movie, paths_of, write_localizations
    from napari_unfold.plugin.layers import METADATA_KEY, table_of_points

    movie = Movie.of(meta.get("metadata", {}).get(METADATA_KEY, {}))
    write_localizations(table_of_points(data, meta), Path(path), movie)
    return [str(written) for written in paths_of(Path(path))]
