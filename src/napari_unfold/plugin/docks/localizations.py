"""The dock widget *Unfold: localizations*."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_unfold.errors import InputError, UnfoldError
from napari_unfold.jobs import Job
from napari_unfold.plugin.export import export_localizations
from napari_unfold.plugin.forms.editors import ChoiceEdit
from napari_unfold.plugin.forms.points_picker import PointsPicker
from napari_unfold.plugin.forms.rows import Row, sentence
from napari_unfold.plugin.forms.table_tasks import Run, Task, TaskResult, all_tasks
from napari_unfold.plugin.running.job_dock import VerticalScrollArea
from napari_unfold.plugin.running.panel import JobPanel
from napari_unfold.plugin.running.runner import JobRunner, Outcome
from napari_unfold.plugin.table_layers import Source
from napari_unfold.plugin.views.chart_view import ChartView

if TYPE_CHECKING:
    import pandas as pd
    from napari.components import ViewerModel
    from napari.layers import Points


class LocalizationsWidget(QWidget):
    """Filter, link, correct, render and measure a table of localizations.

    Every result is a new layer; the layer it was made from stays as it was.

    Parameters
    ----------
    napari_viewer : napari.components.ViewerModel
        The viewer whose Points layers are offered and to which the results are added.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._job_error: UnfoldError | None = None
        self._run: Run
        self._source: Points
        self._curve: pd.DataFrame | None = None
        self.runner = JobRunner(self)
        self.points = PointsPicker(napari_viewer)
        self.tasks = all_tasks()
        self.task_row = Row(
            "task",
            "Task",
            ChoiceEdit({task.title: task for task in self.tasks}),
            "<qt>What to do with the localizations. Every result is a new layer.</qt>",
        )
        self.points.add_row(self.task_row)
        self.chart = ChartView()
        self.panel = JobPanel()
        self.export_button = QPushButton("Export CSV…")
        self.export_button.setToolTip("<qt>Write the chosen localizations as a table.</qt>")
        self.curve_button = QPushButton("Save curve…")
        self.curve_button.setToolTip("<qt>Write what the chart shows as a table.</qt>")
        self._lay_out()
        self._connect()
        self._adopt_theme()
        self._on_table()

    # ---- what other code may ask and tell

    def task(self) -> Task:
        """Return the chosen task."""
        task: Task = self.task_row.editor.value()
        return task

    def set_task(self, title: str) -> None:
        """Choose a task by its title."""
        self.task_row.editor.setCurrentText(title)

    def reset_choices(self, *_: object) -> None:
        """List the layers anew; napari calls this whenever its layer list changes."""
        self.points.reset_choices()
        self._refresh()

    def run(self) -> None:
        """Start the chosen task."""
        self.panel.clear()
        self._job_error = None
        try:
            self.runner.start(self._prepare())
        except UnfoldError as error:
            self._fail(error)
            return
        self._refresh()

    def cancel(self) -> None:
        """Ask the running task to stop."""
        self.runner.cancel()
        self._refresh()

    # ---- a run, to its end

    def _prepare(self) -> Job:
        table = self.points.table()
        self._source = self.points.need_layer()
        self._run = self.task().prepare(table, Source.of(self._source))
        return self._run.job

    def _on_ended(self, outcome: Outcome) -> None:
        if outcome.kind == "done":
            self._show_result(self._run.result(outcome.value))
        elif outcome.kind == "cancelled":
            self.panel.show_summary("Cancelled. Nothing was changed.")
        elif outcome.error is not None:
            self._fail(outcome.error)
        self._refresh()

    def _show_result(self, result: TaskResult) -> None:
        from napari.layers import Layer, Points

        for data in result.layers:
            layer = self._viewer.add_layer(Layer.create(*data))
            if isinstance(layer, Points):
                # the same rings twice over each other could not be told apart
                self._source.visible = False
                self.points.reset_choices()
                self.points.set_layer(layer)
        if result.chart is not None:
            self._curve = result.curve
            self.chart.show_chart(result.chart)
        self.panel.show_summary(result.summary)

    def _fail(self, error: UnfoldError) -> None:
        self._job_error = error
        show_error(sentence(error))
        self._refresh()

    # ---- files

    def _export(self) -> None:
        layer = self.points.layer()
        if layer is not None:
            self._viewer.layers.selection.active = layer
        self._write(lambda: export_localizations(self._viewer, parent=self))

    def _save_curve(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save curve", "curve.csv", "Table (*.csv)")
        if not name or self._curve is None:
            return
        path = Path(name) if Path(name).suffix else Path(name).with_suffix(".csv")
        from napari_unfold.files.curves import write_curve

        curve = self._curve

        def write() -> str:
            write_curve(curve, path)
            return f"Curve written to {path.name}"

        self._write(write)

    def _write(self, write: Callable[[], str]) -> None:
        try:
            text = write()
        except UnfoldError as error:
            self._fail(error)
            return
        if text:
            self.panel.show_summary(text)

    # ---- the state of the form, derived in one place

    def _refresh(self, *_: object) -> None:
        blocking = [*self._input_errors(), *self.task().errors()]
        shown = [*([self._job_error] if self._job_error else []), *blocking]
        for row in [*self.points.rows, *(row for task in self.tasks for row in task.form.rows)]:
            of_row = [error for error in shown if _belongs(error, row)]
            row.show_error(sentence(of_row[0]) if of_row else "")
        # what went wrong in a run is said beside the buttons too: the setting may be out of sight
        self.panel.show_error(sentence(self._job_error) if self._job_error else "")
        self.panel.show_state(self.runner.state, " ".join(sentence(error) for error in blocking))
        self.curve_button.setVisible(self._curve is not None)
        self.export_button.setEnabled(self.points.layer() is not None)

    def _input_errors(self) -> list[InputError]:
        try:
            self.points.table()
        except InputError as error:
            return [error]
        return []

    def _on_table(self) -> None:
        try:
            table = self.points.table()
        except InputError:
            table = None
        for task in self.tasks:
            task.set_table(table)
        self._on_edited()

    def _on_edited(self) -> None:
        self._job_error = None
        self._refresh()

    def _on_task(self) -> None:
        for task in self.tasks:
            task.form.setVisible(task is self.task())
        self._on_edited()

    def _adopt_theme(self, *_: object) -> None:
        from napari.utils.theme import get_theme

        theme = get_theme(self._viewer.theme)
        self.chart.set_colors(theme.background.as_hex(), theme.text.as_hex())

    # ---- Qt

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        """Catch up with what happened to the layers while the widget was hidden."""
        self.reset_choices()
        super().showEvent(event)

    def _connect(self) -> None:
        self.runner.event.connect(self.panel.show_event)
        self.runner.ended.connect(self._on_ended)
        self.points.table_changed.connect(self._on_table)
        self.task_row.changed.connect(self._on_task)
        for task in self.tasks:
            task.form.changed.connect(self._on_edited)
        self.panel.run_clicked.connect(self.run)
        self.panel.cancel_clicked.connect(self.cancel)
        self.export_button.clicked.connect(self._export)
        self.curve_button.clicked.connect(self._save_curve)
        self._viewer.events.theme.connect(self._adopt_theme)
        self._on_task()

    def _lay_out(self) -> None:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(4, 4, 4, 4)
        column.setSpacing(2)
        column.addWidget(self.points)
        for task in self.tasks:
            column.addWidget(task.form)
        column.addStretch(1)
        area = VerticalScrollArea()
        area.setWidget(inner)
        buttons = QHBoxLayout()
        buttons.setContentsMargins(6, 0, 6, 4)
        buttons.addStretch(1)
        buttons.addWidget(self.curve_button)
        buttons.addWidget(self.export_button)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(2)
        outer.addWidget(area, 1)
        outer.addWidget(self.panel)
        outer.addWidget(self.chart)
        outer.addLayout(buttons)


def _belongs(error: UnfoldError, row: Row) -> bool:
    field = error.field or ""
    return field == row.key or field.startswith(f"{row.key}.")
