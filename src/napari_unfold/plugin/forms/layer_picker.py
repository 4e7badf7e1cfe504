"""Choice of the layer to work on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from magicgui.widgets import Widget, create_widget

from napari_unfold.plugin.forms.editors import ChoiceEdit
from napari_unfold.plugin.forms.rows import Row, SectionForm

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

_Layer = TypeVar("_Layer")


class LayerPicker(SectionForm, Generic[_Layer]):
    """A layer of the viewer; if the chosen one is gone, the likeliest of the others.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    kind : type of Layer
    key, title, tooltip : str
        Of the row, of the section, and of the row.
    """

    def __init__(
        self, viewer: ViewerModel, kind: type[Layer], key: str, title: str, tooltip: str
    ) -> None:
        self._viewer, self.kind = viewer, kind
        chooser = layer_chooser(viewer, kind, can_be_meant=self._can_be_meant)
        self.layer_row = Row(key, "Layer", chooser, tooltip)
        super().__init__(title, [self.layer_row])
        self._take_the_likeliest(None)

    def layer(self) -> _Layer | None:
        """Return the chosen layer."""
        layer: _Layer | None = self.layer_row.editor.value
        return layer

    def set_layer(self, layer: _Layer) -> None:
        """Choose a layer."""
        self.layer_row.editor.set_value(layer)

    def reset_choices(self) -> None:
        """List the layers anew; if none of them is a chosen one, take the likeliest."""
        chooser, chosen = self.layer_row.editor, self.layer()
        # nobody is to take notice of a layer that is chosen on the way only
        with chooser.changed.blocked():
            chooser.reset_choices()
            self._take_the_likeliest(chosen)
        if self.layer() is not chosen:
            chooser.changed.emit(self.layer())

    def _can_be_meant(self, _: _Layer) -> bool:
        """Whether a layer is offered."""
        return True

    def _take_the_likeliest(self, chosen: _Layer | None) -> None:
        offered = self.layer_row.editor.choices
        if offered and chosen not in offered:
            active = self._viewer.layers.selection.active
            self.set_layer(active if active in offered else offered[-1])


def layer_chooser(
    viewer: ViewerModel,
    kind: type[Layer],
    *others: tuple[str, object],
    can_be_meant: Callable[[Any], bool] = lambda _: True,
) -> ChoiceEdit:
    """Return the choice of a layer of `viewer`.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        napari's own choosers look for the window that they stand in, and offer nothing before
        there is one.
    kind : type of Layer
    *others : tuple of str and object
        What is offered besides: text and value of each.
    can_be_meant : callable
        Which of the layers are offered.
    """

    def offered(_: Widget) -> list[tuple[str, object]]:
        meant = [
            layer for layer in viewer.layers if isinstance(layer, kind) and can_be_meant(layer)
        ]
        return [*((layer.name, layer) for layer in meant), *others]

    options = {"widget_type": ChoiceEdit, "choices": offered}
    chooser: Any = create_widget(annotation=kind, options=options)
    return chooser
