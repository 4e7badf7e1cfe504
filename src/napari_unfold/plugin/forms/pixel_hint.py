"""What the layer says about its pixel size, where that is not what the form says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_unfold.errors import InputError
from napari_unfold.plugin import layers
from napari_unfold.plugin.forms.rows import HINT_STYLE, message_label

if TYPE_CHECKING:
    from napari.layers import Layer


class PixelHint(QWidget):
    """A sentence, and a button that gives the layer the pixel size of the form.

    Signals
    -------
    applied
        After the layer was changed.
    """

    applied = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layer: Layer | None = None
        self._typed = 0.0
        self._text = message_label(HINT_STYLE)
        self._text.show()
        self.button = QPushButton("Apply to layer")
        self.button.setToolTip(
            "<qt>Give the layer this pixel size, so that scale bar and results are in nm.</qt>"
        )
        self.button.clicked.connect(self._apply)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._text, 1)
        row.addWidget(self.button)

    def show_for(self, layer: Layer | None, typed: object) -> None:
        """Compare the pixel size of `layer` with what was typed, in nm."""
        known = stated_pixel_size(layer)
        usable = layer is not None and isinstance(typed, float) and typed > 0
        self.setVisible(usable and typed != known)
        if isinstance(typed, float):
            self._layer, self._typed = layer, typed
        if known is not None:
            self._text.setText(f"The layer says {known:g} nm.")
        elif usable:
            self._text.setText(f"The layer has no pixel size; {typed:g} nm is what you entered.")

    def _apply(self) -> None:
        layers.apply_pixel_size(self._layer, self._typed)
        self.applied.emit()


def stated_pixel_size(layer: Layer | None) -> float | None:
    """Pixel size of a layer in nm; None if it has none, or is not square."""
    try:
        return None if layer is None else layers.pixel_size_nm(layer)
    except InputError:
        return None
