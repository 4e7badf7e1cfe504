"""Choice of the stack layer and of its frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal

from napari_unfold.errors import InputError
from napari_unfold.plugin.forms.editors import FramesEdit
from napari_unfold.plugin.forms.first_steps import FirstSteps
from napari_unfold.plugin.forms.layer_picker import LayerPicker
from napari_unfold.plugin.forms.rows import Row
from napari_unfold.plugin.layers import is_result, stack_of_layer

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image


class StackPicker(LayerPicker["Image"]):
    """The stack to work on: an Image layer of the viewer, and which of its frames.

    Signals
    -------
    layer_changed
        When another layer, or none, is chosen.
    """

    layer_changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        from napari.layers import Image

        super().__init__(
            viewer,
            Image,
            "stack",
            "Stack",
            "<qt>The raw camera frames, an Image layer with the axes (frame, Y, X).</qt>",
        )
        self._frames_of: Image | None = None
        self.frames_row = Row(
            "frames",
            "Frames",
            FramesEdit(),
            "<qt>First and last frame to use, counted from 0 as on the slider.</qt>",
        )
        self.add_row(self.frames_row)
        self.first_steps = FirstSteps(viewer)
        self.add_full_width(self.first_steps)
        self.layer_row.changed.connect(self._on_layer)
        self._on_layer()

    def need_layer(self) -> Image:
        """Return the chosen layer.

        Raises
        ------
        InputError
            If there is none; it says what is wrong with an image that is no stack.
        """
        layer = self.layer()
        if layer is not None:
            return layer
        for other in reversed(self._viewer.layers):
            if isinstance(other, self.kind) and not is_result(other):
                stack_of_layer(other)
        raise InputError(
            "there is no frame stack yet",
            "Open a recording, or one of the samples",
            field="stack",
        )

    def frames(self) -> slice:
        """Return the chosen frames."""
        frames: slice = self.frames_row.editor.value
        return frames

    def _can_be_meant(self, layer: Image) -> bool:
        # neither flat images nor what this plugin made of a stack
        return layer.ndim >= 3 and not layer.rgb and not is_result(layer)

    def _on_layer(self) -> None:
        layer = self.layer()
        self.first_steps.setVisible(layer is None)
        self.frames_row.show(layer is not None)
        if layer is self._frames_of:
            return
        self._frames_of = layer
        count = 0 if layer is None or layer.ndim < 3 else _finest(layer).shape[-3]
        self.frames_row.editor.set_count(count)
        self.layer_changed.emit()


def _finest(layer: Image) -> Any:
    return layer.data[0] if layer.multiscale else layer.data
