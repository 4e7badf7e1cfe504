"""What all dock widgets share: a form, Run and Cancel, the end of a job, and errors in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QResizeEvent, QShowEvent
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from napari_unfold.errors import InputError, UnfoldError
from napari_unfold.jobs import Event, Job
from napari_unfold.plugin.associate import associate_tables
from napari_unfold.plugin.forms.rows import sentence
from napari_unfold.plugin.running.panel import JobPanel
from napari_unfold.plugin.running.runner import JobRunner, Outcome

if TYPE_CHECKING:
    from napari.components import ViewerModel


class JobDock(QWidget):
    """A form and a job; what they are, and what comes of the job, is the subclass's.

    Parameters
    ----------
    napari_viewer : napari.components.ViewerModel
        The viewer whose layers are offered and to which the results are added.
    run_tooltip : str
        What Run does.
    """

    title = "Unfold"
    """What napari calls the job."""

    def __init__(self, napari_viewer: ViewerModel, run_tooltip: str = "") -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._job_error: UnfoldError | None = None
        self.runner = JobRunner(self, self.title)
        self.panel = JobPanel(run_tooltip)
        self.runner.event.connect(self._on_event)
        self.runner.ended.connect(self._on_ended)
        self.panel.run_clicked.connect(self.run)
        self.panel.cancel_clicked.connect(self.cancel)

    # ---- what other code may ask and tell

    def reset_choices(self, *_: object) -> None:
        """List the layers anew; napari calls this whenever its layer list changes."""
        self._list_layers()
        self._refresh()

    def run(self) -> None:
        """Start the job."""
        self._start(self._prepare)

    def _start(self, prepare: Callable[[], Job[Any]]) -> None:
        self.panel.clear()
        self._job_error = None
        try:
            self.runner.start(prepare())
        except UnfoldError as error:
            self._fail(error)
            return
        self._remember()
        self._refresh()

    def cancel(self) -> None:
        """Ask the running job to stop."""
        self.runner.cancel()
        self._refresh()

    # ---- what a subclass provides

    def _list_layers(self) -> None:
        """List the layers of the viewer anew."""
        raise NotImplementedError

    def _errors(self) -> list[InputError]:
        """Return what stands in the way of a run."""
        raise NotImplementedError

    def _show_errors(self, errors: list[UnfoldError]) -> None:
        """Show each error beside its setting, and nothing beside the others."""
        raise NotImplementedError

    def _prepare(self) -> Job[Any]:
        """Return the job the form describes; raises `UnfoldError` if there is none."""
        raise NotImplementedError

    def _show_result(self, value: Any) -> None:
        """Show what came of the job."""
        raise NotImplementedError

    def _on_event(self, event: Event) -> None:
        self.panel.show_event(event)

    def _show_cancelled(self) -> None:
        """Say what is left of a cancelled job."""
        self.panel.show_summary("Cancelled. Nothing was changed.")

    def _show_failed(self, error: UnfoldError) -> None:
        """Say why a job failed, and what is left of it."""
        self._fail(error)

    def _before_end(self) -> None:
        """Take away what was shown only while the job ran."""

    def _remember(self) -> None:
        """Keep the settings for the next session."""

    # ---- a run, to its end

    def _on_ended(self, outcome: Outcome) -> None:
        self._before_end()
        if outcome.kind == "done":
            self._show_result(outcome.value)
        elif outcome.kind == "cancelled":
            self._show_cancelled()
        elif outcome.error is not None:
            self._show_failed(outcome.error)
        self._refresh()

    def _fail(self, error: UnfoldError) -> None:
        self._job_error = error
        show_error(sentence(error))
        self._refresh()

    def _do(self, action: Callable[[], str]) -> None:
        """Do something short, and show the sentence that it returns, if any."""
        try:
            text = action()
        except UnfoldError as error:
            self._fail(error)
            return
        if text:
            self.panel.show_summary(text)

    # ---- the state of the form, derived in one place

    def _refresh(self, *_: object) -> None:
        blocking = self._errors()
        failed = [] if self._job_error is None else [self._job_error]
        self._show_errors([*failed, *blocking])
        # what went wrong in a run is said beside the buttons too: the setting may be out of sight
        self.panel.show_error(" ".join(sentence(error) for error in failed))
        self.panel.show_state(self.runner.state, " ".join(sentence(error) for error in blocking))

    def _on_edited(self) -> None:
        self._job_error = None
        self._refresh()

    # ---- Qt

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        """Catch up with what happened to the layers while the widget was hidden."""
        self.reset_choices()
        if associate_tables():
            show_info(
                "Localization tables (CSV) now open when they are dropped. "
                "Preferences > Plugins > File extension readers takes that back."
            )
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
