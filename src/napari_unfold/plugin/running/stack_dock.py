"""The dock widgets that work on a stack: its layer, the microscope, and the estimate of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unfold.errors import InputError, UnfoldError
from napari_unfold.jobs import Job, Stage
from napari_unfold.plugin import layers
from napari_unfold.plugin.forms.pixel_hint import stated_pixel_size
from napari_unfold.plugin.forms.rows import sentence, show_beside
from napari_unfold.plugin.forms.settings_form import SettingsForm
from napari_unfold.plugin.forms.stack_picker import StackPicker
from napari_unfold.plugin.running.job_dock import JobDock
from napari_unfold.settings.recipe import Recipe

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image


class StackDock(JobDock):
    """A stack and its settings, for a job that is the subclass's.

    Parameters
    ----------
    napari_viewer : napari.components.ViewerModel
        The viewer whose layers are offered and to which the results are added.
    form : SettingsForm
    run_tooltip : str
        What Run does.
    """

    def __init__(self, napari_viewer: ViewerModel, form: SettingsForm, run_tooltip: str) -> None:
        super().__init__(napari_viewer, run_tooltip)
        self._followed: Image | None = None
        self.stack = StackPicker(napari_viewer)
        self.settings: SettingsForm = form
        self.stack.layer_changed.connect(self._on_layer)
        self.stack.changed.connect(self._on_edited)
        self.stack.first_steps.failed.connect(self._fail)
        self.settings.changed.connect(self._on_edited)
        self.settings.pixel_hint.applied.connect(self._viewer.reset_view)
        self.settings.estimates.requested.connect(self.estimate)

    def value(self) -> Recipe:
        """Return the settings; raises `InputError` if one is missing or cannot be used."""
        return self.settings.value()

    def set_value(self, recipe: Recipe) -> None:
        """Show `recipe`."""
        self.settings.set_value(recipe)

    def estimate(self) -> None:
        """Estimate optics and camera from the stack, in the background; offer the values."""
        panel = self.settings.estimates
        try:
            stack = layers.stack_of_layer(self.stack.need_layer())
            panel.start(_estimation(stack, panel.camera(), self.stack.frames()))
        except UnfoldError as error:
            panel.show_error(sentence(error))

    # ---- the state of the form

    def _list_layers(self) -> None:
        self.stack.reset_choices()

    def _input_errors(self) -> list[InputError]:
        """Return what stands in the way of a run, besides the form."""
        try:
            layer = self.stack.need_layer()
            layers.stack_of_layer(layer)
            layers.pixel_size_nm(layer)
        except InputError as error:
            return [error]
        return []

    def _errors(self) -> list[InputError]:
        return [*self._input_errors(), *self.settings.errors()]

    def _show_errors(self, errors: list[UnfoldError]) -> None:
        show_beside(self.stack.rows, self.settings.show_errors(errors))

    def _refresh(self, *_: object) -> None:
        super()._refresh()
        self.settings.estimates.set_available(self.stack.layer() is not None)
        typed = self.settings.pixel_row.editor.value
        self.settings.pixel_hint.show_for(self.stack.layer(), typed)

    # ---- the layer

    def _on_layer(self) -> None:
        if self._followed is not None:
            self._followed.events.scale.disconnect(self._adopt_pixel_size)
            self._followed.events.units.disconnect(self._adopt_pixel_size)
        self._followed = self.stack.layer()
        self.settings.estimates.clear()
        if self._followed is not None:
            self._followed.events.scale.connect(self._adopt_pixel_size)
            self._followed.events.units.connect(self._adopt_pixel_size)
        sample = None if self._followed is None else layers.acquisition_of(self._followed)
        self.settings.show_sample(sample)
        if self.runner.state == "idle":
            self._forget_results()
        self._adopt_pixel_size()

    def _adopt_pixel_size(self, *_: object) -> None:
        self.settings.adopt_pixel_size(stated_pixel_size(self.stack.layer()))
        self._on_edited()

    def _in_nm(self, layer: Image, pixel_size: float) -> layers.Placement:
        """Return the place of a stack; one of unknown size is given that of the form first."""
        if layers.pixel_size_nm(layer) is None:
            layers.apply_pixel_size(layer, pixel_size)
            self._viewer.reset_view()
        return layers.Placement.of(layer)

    def _forget_results(self) -> None:
        """Take away what is said and drawn of another stack."""
        self.panel.clear()


def _estimation(*args: Any) -> Job[Any]:
    """Estimate, with the slow import of scientific packages in the background thread too."""
    yield Stage("Loading")
    from napari_unfold.estimation.estimate import estimate

    return (yield from estimate(*args))
