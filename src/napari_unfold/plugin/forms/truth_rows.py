"""The two rows that ask for true molecules: a Points layer, or a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unfold.plugin.forms.editors import PathEdit
from napari_unfold.plugin.forms.layer_picker import layer_chooser
from napari_unfold.plugin.forms.rows import Row

if TYPE_CHECKING:
    from napari.components import ViewerModel

FILE = "file"
"""What the first row holds where the second one counts."""


def truth_rows(viewer: ViewerModel, tooltip: str, prefix: str = "") -> tuple[Row, Row]:
    """Return the rows ``truth`` and ``truth_file``, their keys after `prefix`."""
    from napari.layers import Points

    return (
        Row(
            f"{prefix}truth",
            "Truth",
            layer_chooser(viewer, Points, ("CSV file", FILE)),
            tooltip,
        ),
        Row(
            f"{prefix}truth_file",
            "Truth file",
            PathEdit(filter="Localizations (*.csv *.txt *.tsv)"),
            "<qt>Localization table with frame, x and y of every true molecule.</qt>",
        ),
    )
