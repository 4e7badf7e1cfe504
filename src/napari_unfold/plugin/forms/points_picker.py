"""Choice of the localizations to work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal

from napari_unfold.errors import InputError
from napari_unfold.plugin.forms.layer_picker import LayerPicker
from napari_unfold.plugin.forms.rows import HINT_STYLE, message_label
from napari_unfold.plugin.table_layers import table_of_layer

if TYPE_CHECKING:
    import pandas as pd
    from napari.components import ViewerModel
    from napari.layers import Points


class PointsPicker(LayerPicker["Points"]):
    """The Points layer whose localizations are worked on.

    Signals
    -------
    table_changed
        When another layer, or none, is chosen, or the points of the layer have changed.
    """

    table_changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        from napari.layers import Points

        super().__init__(
            viewer,
            Points,
            "layer",
            "Localizations",
            "<qt>A Points layer of localizations: of a reconstruction, or opened from a "
            "table.</qt>",
        )
        self._followed: Points | None = None
        self._table: pd.DataFrame | None = None
        self.count = message_label(HINT_STYLE)
        self.add_full_width(self.count)
        self.layer_row.changed.connect(self._follow)
        self._follow()

    def need_layer(self) -> Points:
        """Return the chosen layer; raises `InputError` if there is none."""
        layer = self.layer()
        if layer is None:
            raise InputError(
                "there are no localizations yet",
                "Reconstruct a stack, or open a localization table",
                field="layer",
            )
        return layer

    def table(self) -> pd.DataFrame:
        """Return the localizations of the chosen layer.

        Raises
        ------
        InputError
            If no layer is chosen, or it holds no localizations.
        """
        layer = self.need_layer()
        if self._table is None:
            try:
                self._table = table_of_layer(layer)
            except InputError as error:
                raise InputError(error.problem, error.remedy, field="layer") from error
        return self._table

    def _follow(self) -> None:
        layer = self.layer()
        if layer is self._followed:
            return
        if self._followed is not None:
            self._followed.events.data.disconnect(self._forget)
            self._followed.events.features.disconnect(self._forget)
        self._followed = layer
        if layer is not None:
            layer.events.data.connect(self._forget)
            layer.events.features.connect(self._forget)
        self._forget()

    def _forget(self, *_: object) -> None:
        self._table = None
        self.count.setText(self._size())
        self.count.setVisible(bool(self.count.text()))
        self.table_changed.emit()

    def _size(self) -> str:
        try:
            table = self.table()
        except InputError:
            return ""
        frames = table["frame"].nunique()
        return f"{len(table):,} localizations in {frames:,} frames"
