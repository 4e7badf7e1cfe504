"""Choice of the stack layer and of its frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QWidget

from napari_unfold.plugin.forms.editors import ChoiceEdit, IntegerEdit
from napari_unfold.plugin.forms.rows import Row, SectionForm

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image


class FramesEdit(QWidget):
    """First and last frame, counted from 0 as on napari's slider."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.first, self.last = IntegerEdit(0, 0), IntegerEdit(0, 0)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.first, 1)
        row.addWidget(QLabel("to"))
        row.addWidget(self.last, 1)
        for editor in (self.first, self.last):
            editor.changed.connect(self.changed)

    def set_count(self, frames: int) -> None:
        """Choose all of `frames` frames."""
        for editor in (self.first, self.last):
            editor.setRange(0, max(frames - 1, 0))
        self.first.setValue(0)
        self.last.setValue(max(frames - 1, 0))

    def value(self) -> slice:
        """Return the chosen frames, in whatever order the ends were given."""
        ends = sorted((self.first.value(), self.last.value()))
        return slice(ends[0], ends[1] + 1)


class StackPicker(SectionForm):
    """The stack to work on: an Image layer of the viewer, and which of its frames.

    Signals
    -------
    layer_changed
        When another layer, or none, is chosen.
    """

    layer_changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._frames_of: Image | None = None
        self.layer_row = Row(
            "stack",
            "Layer",
            ChoiceEdit({}),
            "<qt>The raw camera frames, an Image layer with the axes (frame, Y, X).</qt>",
        )
        self.frames_row = Row(
            "frames",
            "Frames",
            FramesEdit(),
            "<qt>First and last frame to use, counted from 0 as on the slider.</qt>",
        )
        super().__init__("Stack", [self.layer_row, self.frames_row])
        self.layer_row.changed.connect(self._on_layer)
        self.reset_choices()

    def layer(self) -> Image | None:
        """Return the chosen layer."""
        layer: Image | None = self.layer_row.editor.value()
        return layer

    def set_layer(self, layer: Image) -> None:
        """Choose a layer."""
        self.layer_row.editor.set_value(layer)

    def frames(self) -> slice:
        """Return the chosen frames."""
        frames: slice = self.frames_row.editor.value()
        return frames

    def reset_choices(self) -> None:
        """List the Image layers anew; if none of them is a chosen stack, take the likeliest."""
        from napari.layers import Image

        images = [layer for layer in self._viewer.layers if isinstance(layer, Image)]
        names = [layer.name for layer in images]
        chosen = self.layer()
        self.layer_row.editor.set_choices(dict(zip(names, images, strict=True)))
        stacks = [image for image in images if image.ndim >= 3 and not image.rgb]
        # a flat image was only offered for want of a stack: nobody can have meant it
        if stacks and (chosen not in images or self.layer() not in stacks):
            active = self._viewer.layers.selection.active
            self.set_layer(active if active in stacks else stacks[-1])

    def _on_layer(self) -> None:
        layer = self.layer()
        if layer is self._frames_of:
            return
        self._frames_of = layer
        count = 0 if layer is None or layer.ndim < 3 else _finest(layer).shape[-3]
        self.frames_row.editor.set_count(count)
        self.layer_changed.emit()


def _finest(layer: Image) -> Any:
    return layer.data[0] if layer.multiscale else layer.data
