"""Choice of the stack layer and of its frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal

from napari_unfold.plugin.forms.editors import FramesEdit, layer_chooser
from napari_unfold.plugin.forms.rows import Row, SectionForm

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image


class StackPicker(SectionForm):
    """The stack to work on: an Image layer of the viewer, and which of its frames.

    Signals
    -------
    layer_changed
        When another layer, or none, is chosen.
    """

    layer_changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        from napari.layers import Image

        self._viewer = viewer
        self._frames_of: Image | None = None
        self.layer_row = Row(
            "stack",
            "Layer",
            layer_chooser(viewer, Image),
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
        self._take_the_likeliest(None)
        self._on_layer()

    def layer(self) -> Image | None:
        """Return the chosen layer."""
        layer: Image | None = self.layer_row.editor.value
        return layer

    def set_layer(self, layer: Image) -> None:
        """Choose a layer."""
        self.layer_row.editor.set_value(layer)

    def frames(self) -> slice:
        """Return the chosen frames."""
        frames: slice = self.frames_row.editor.value
        return frames

    def reset_choices(self) -> None:
        """List the Image layers anew; if none of them is a chosen stack, take the likeliest."""
        chosen = self.layer()
        self.layer_row.editor.reset_choices()
        self._take_the_likeliest(chosen)

    def _take_the_likeliest(self, chosen: Image | None) -> None:
        images = self.layer_row.editor.choices
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
