"""What the dock widgets of all jobs share: a stack, a form, Run, Cancel, and errors in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QResizeEvent, QShowEvent
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from napari_unfold.errors import InputError, UnfoldError
from napari_unfold.jobs import Event, Job, Stage
from napari_unfold.plugin import layers
from napari_unfold.plugin.forms.pixel_hint import stated_pixel_size
from napari_unfold.plugin.forms.rows import sentence
from napari_unfold.plugin.forms.settings_form import SettingsForm
from napari_unfold.plugin.forms.stack_picker import StackPicker
from napari_unfold.plugin.running.panel import JobPanel
from napari_unfold.plugin.running.runner import JobRunner, Outcome
from napari_unfold.settings.recipe import Recipe

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image


class JobWidget(QWidget):
    """A stack, its settings and a job; what the job is, and what comes of it, is the subclass's.

    Parameters
    ----------
    napari_viewer : napari.components.ViewerModel
        The viewer whose layers are offered and to which the results are added.
    form : SettingsForm
    run_tooltip : str
        What Run does.
    """

    def __init__(self, napari_viewer: ViewerModel, form: SettingsForm, run_tooltip: str) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._job_error: UnfoldError | None = None
        self._followed: Image | None = None
        self.runner = JobRunner(self)
        self.stack = StackPicker(napari_viewer)
        self.settings: SettingsForm = form
        self.panel = JobPanel(run_tooltip)
        self.runner.event.connect(self._on_event)
        self.runner.ended.connect(self._on_ended)
        self.stack.layer_changed.connect(self._on_layer)
        self.stack.changed.connect(self._on_edited)
        self.settings.changed.connect(self._on_edited)
        self.panel.run_clicked.connect(self.run)
        self.panel.cancel_clicked.connect(self.cancel)
        self.settings.pixel_hint.applied.connect(self._viewer.reset_view)
        self.settings.estimates.requested.connect(self.estimate)

    # ---- what other code may ask and tell

    def value(self) -> Recipe:
        """Return the settings; raises `InputError` if one is missing or cannot be used."""
        return self.settings.value()

    def set_value(self, recipe: Recipe) -> None:
        """Show `recipe`."""
        self.settings.set_value(recipe)

    def reset_choices(self, *_: object) -> None:
        """List the layers anew; napari calls this whenever its layer list changes."""
        self.stack.reset_choices()
        self._refresh()

    def run(self) -> None:
        """Start the job."""
        self.panel.clear()
        self._job_error = None
        try:
            self.runner.start(self._prepare())
        except UnfoldError as error:
            self._fail(error)
            return
        self._remember()
        self._refresh()

    def cancel(self) -> None:
        """Ask the running job to stop."""
        self.runner.cancel()
        self._refresh()

    def estimate(self) -> None:
        """Estimate optics and camera from the stack, in the background; offer the values."""
        panel = self.settings.estimates
        try:
            stack = layers.stack_of_layer(self._need_layer())
            panel.start(_estimation(stack, panel.camera(), self.stack.frames()))
        except UnfoldError as error:
            panel.show_error(sentence(error))

    # ---- what a subclass provides

    def _prepare(self) -> Job[Any]:
        """Return the job the form describes."""
        raise NotImplementedError

    def _on_event(self, event: Event) -> None:
        self.panel.show_event(event)

    def _show_result(self, result: Any) -> None:
        """Show what came of the job."""
        raise NotImplementedError

    def _show_cancelled(self) -> None:
        """Say what is left of a cancelled job."""
        self.panel.show_summary("Cancelled. Nothing was changed.")

    def _before_end(self) -> None:
        """Take away what was shown only while the job ran."""

    def _remember(self) -> None:
        """Keep the settings for the next session."""

    def _input_errors(self) -> list[InputError]:
        """Return what stands in the way of a run, besides the form."""
        try:
            layers.stack_of_layer(self._need_layer())
        except InputError as error:
            return [error]
        return []

    # ---- a run, to its end

    def _on_ended(self, outcome: Outcome) -> None:
        self._before_end()
        if outcome.kind == "done":
            self._show_result(outcome.value)
        elif outcome.kind == "cancelled":
            self._show_cancelled()
        elif outcome.error is not None:
            self._fail(outcome.error)
        self._refresh()

    def _fail(self, error: UnfoldError) -> None:
        self._job_error = error
        show_error(sentence(error))
        self._refresh()

    # ---- the state of the form, derived in one place

    def _refresh(self, *_: object) -> None:
        blocking = [*self._input_errors(), *self.settings.errors()]
        shown = [*([self._job_error] if self._job_error else []), *blocking]
        self._show_errors_of_input(self.settings.show_errors(shown))
        # what went wrong in a run is said beside the buttons too: the setting may be out of sight
        self.panel.show_error(sentence(self._job_error) if self._job_error else "")
        reason = " ".join(sentence(error) for error in blocking)
        self.panel.show_state(self.runner.state, reason)
        self.settings.estimates.set_available(self.stack.layer() is not None)
        typed = self.settings.pixel_row.editor.value()
        self.settings.pixel_hint.show_for(self.stack.layer(), typed)

    def _show_errors_of_input(self, errors: list[UnfoldError]) -> None:
        for row in self.stack.rows:
            of_row = [error for error in errors if error.field == row.key]
            row.show_error(sentence(of_row[0]) if of_row else "")

    def _need_layer(self) -> Image:
        layer = self.stack.layer()
        if layer is None:
            raise InputError(
                "there is no frame stack yet",
                "Open a file, or choose File > Open Sample > napari-unfold",
                field="stack",
            )
        return layer

    def _on_edited(self) -> None:
        self._job_error = None
        self._refresh()

    def _on_layer(self) -> None:
        if self._followed is not None:
            self._followed.events.scale.disconnect(self._adopt_pixel_size)
            self._followed.events.units.disconnect(self._adopt_pixel_size)
        self._followed = self.stack.layer()
        self.settings.estimates.clear()
        if self._followed is not None:
            self._followed.events.scale.connect(self._adopt_pixel_size)
            self._followed.events.units.connect(self._adopt_pixel_size)
            known = layers.acquisition_of(self._followed)
            if known is not None:
                self.settings.set_acquisition(known)
        self._adopt_pixel_size()

    def _adopt_pixel_size(self, *_: object) -> None:
        known = stated_pixel_size(self.stack.layer())
        if known is not None:
            self.settings.pixel_row.editor.set_value(known)
        self._on_edited()

    # ---- Qt

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        """Catch up with what happened to the layers while the widget was hidden."""
        self.reset_choices()
        super().showEvent(event)

    def _lay_out(self, *inputs: QWidget) -> QVBoxLayout:
        """Put `inputs` into a scroll area, Run and Cancel below, and return the column."""
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(4, 4, 4, 4)
        column.setSpacing(2)
        for widget in inputs:
            column.addWidget(widget)
        column.addStretch(1)
        area = VerticalScrollArea()
        area.setWidget(inner)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(2)
        outer.addWidget(area, 1)
        outer.addWidget(self.panel)
        return outer


def _estimation(*args: Any) -> Job[Any]:
    """Estimate, with the slow import of scientific packages in the background thread too."""
    yield Stage("Loading")
    from napari_unfold.estimation.estimate import estimate

    return (yield from estimate(*args))


class VerticalScrollArea(QScrollArea):
    """A scroll area as wide as its content needs, so that nothing is cut off at the right."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Return the width of the content and its scroll bar."""
        bar = self.verticalScrollBar().sizeHint().width()
        return QSize(self.widget().minimumSizeHint().width() + bar, 120)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Ask anew for the width that is needed."""
        super().resizeEvent(event)
        # a style sheet that came later may have made the content wider
        self.updateGeometry()
