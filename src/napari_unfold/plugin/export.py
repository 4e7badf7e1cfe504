"""The *Export* button: which localizations, to which file, for which program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QWidget

from napari_unfold.errors import InputError
from napari_unfold.plugin.layers import METADATA_KEY, table_of_points

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Points


def layer_to_export(viewer: ViewerModel) -> Points:
    """Return the selected Points layer, or else the latest localizations of this plugin.

    Raises
    ------
    InputError
        If the viewer holds no localizations.
    """
    from napari.layers import Points

    points = [layer for layer in viewer.layers if isinstance(layer, Points)]
    ours = [layer for layer in points if METADATA_KEY in layer.metadata]
    active = viewer.layers.selection.active
    if active in points:
        return active
    if ours:
        return ours[-1]
    raise InputError(
        "there are no localizations to export", "Run a reconstruction, or select a Points layer"
    )


def export_localizations(viewer: ViewerModel, parent: QWidget) -> str:
    """Ask for a file and write the localizations of `layer_to_export` to it.

    Returns
    -------
    str
        What was written, for a status line; empty if the user changed their mind.
    """
    layer = layer_to_export(viewer)
    proposal = Path(_file_name(layer.name)).with_suffix(".csv")
    from napari_unfold.files.table_formats import FORMATS, Movie, write_localizations

    filters = {f"{form.title} (*{form.suffix})": form.suffix for form in FORMATS}
    name, chosen = QFileDialog.getSaveFileName(
        parent, "Export localizations", str(proposal), ";;".join(filters)
    )
    if not name:
        return ""
    path = Path(name)
    if not path.suffix:
        path = path.with_name(path.name + filters.get(chosen, FORMATS[0].suffix))
    data, meta, _ = layer.as_layer_data_tuple()
    movie = Movie.of(layer.metadata.get(METADATA_KEY, {}))
    write_localizations(table_of_points(data, meta), path, movie)
    return f"{len(data):,} localizations written to {path.name}"


def _file_name(title: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in title).strip("_") or "table"
