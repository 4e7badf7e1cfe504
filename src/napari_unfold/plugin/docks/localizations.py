"""The dock widget *Unfold: localizations*."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton

from napari_unfold.errors import InputError, UnfoldError
from napari_unfold.jobs import Job
from napari_unfold.plugin.export import export_localizations
from napari_unfold.plugin.forms.editors import ChoiceEdit
from napari_unfold.plugin.forms.points_picker import PointsPicker
from napari_unfold.plugin.forms.rows import Row, show_beside
from napari_unfold.plugin.forms.table_tasks import Run, Task, all_tasks
from napari_unfold.plugin.running.job_dock import JobDock
from napari_unfold.plugin.table_layers import Source
from napari_unfold.plugin.views.chart_view import ChartView

if TYPE_CHECKING:
    import pandas as pd
    from napari.components import ViewerModel
    from napari.layers import Points


class LocalizationsWidget(JobDock):
    """Filter, link, correct, render and measure a table of localizations.

    Every result is a new layer; the layer it was made from stays as it was.

    Parameters
    ----------
    napari_viewer : napari.components.ViewerModel
        The viewer whose Points layers are offered and to which the results are added.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer)
        self._run: Run
        self._source: Points
        self._curve: pd.DataFrame | None = None
        self.points = PointsPicker(napari_viewer)
        self.tasks = all_tasks()
        self.task_row = Row(
            "task",
            "Task",
            ChoiceEdit(choices=[(task.title, task) for task in self.tasks]),
            "<qt>What to do with the localizations. Every result is a new layer.</qt>",
        )
        self.points.add_row(self.task_row)
        self.chart = ChartView()
        self.chart.follow_theme(napari_viewer)
        self.export_button = QPushButton("Export…")
        self.export_button.setToolTip("<qt>Write the chosen localizations as a table.</qt>")
        self.curve_button = QPushButton("Save curve…")
        self.curve_button.setToolTip("<qt>Write what the chart shows as a table.</qt>")
        self._lay_out_all()
        self._connect()
        self._on_task()
        self._on_table()

    # ---- what other code may ask and tell

    def task(self) -> Task:
        """Return the chosen task."""
        task: Task = self.task_row.editor.value
        return task

    def set_task(self, title: str) -> None:
        """Choose a task by its title."""
        self.task_row.editor.set_value(self.task_row.editor.get_choice(title))

    # ---- a run, to its end

    def _prepare(self) -> Job[Any]:
        table = self.points.table()
        self._source = self.points.need_layer()
        self._run = self.task().prepare(table, Source.of(self._source))
        return self._run.job

    def _show_result(self, value: Any) -> None:
        from napari.layers import Layer, Points

        result = self._run.result(value)
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

    # ---- files

    def _export(self) -> None:
        layer = self.points.layer()
        if layer is not None:
            self._viewer.layers.selection.active = layer
        self._do(lambda: export_localizations(self._viewer, parent=self))

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

        self._do(write)

    # ---- the state of the form, derived in one place

    def _list_layers(self) -> None:
        self.points.reset_choices()

    def _errors(self) -> list[InputError]:
        errors = self.task().errors()
        try:
            self.points.table()
        except InputError as error:
            return [error, *errors]
        return errors

    def _show_errors(self, errors: list[UnfoldError]) -> None:
        rows = [row for task in self.tasks for row in task.form.rows]
        show_beside([*self.points.rows, *rows], errors)

    def _refresh(self, *_: object) -> None:
        super()._refresh()
        self.curve_button.setVisible(self._curve is not None)
        self.export_button.setEnabled(self.points.layer() is not None)

    def _on_table(self) -> None:
        try:
            table = self.points.table()
        except InputError:
            table = None
        for task in self.tasks:
            task.set_table(table)
        self._on_edited()

    def _on_task(self) -> None:
        for task in self.tasks:
            task.form.setVisible(task is self.task())
        self.panel.run_tooltip = self.task().tooltip
        self._on_edited()

    # ---- Qt

    def _connect(self) -> None:
        self.points.table_changed.connect(self._on_table)
        self.task_row.changed.connect(self._on_task)
        for task in self.tasks:
            task.form.changed.connect(self._on_edited)
        self.export_button.clicked.connect(self._export)
        self.curve_button.clicked.connect(self._save_curve)

    def _lay_out_all(self) -> None:
        outer = self._lay_out(self.points, *(task.form for task in self.tasks))
        outer.addWidget(self.chart)
        buttons = QHBoxLayout()
        buttons.setContentsMargins(6, 0, 6, 4)
        buttons.addStretch(1)
        buttons.addWidget(self.curve_button)
        buttons.addWidget(self.export_button)
        outer.addLayout(buttons)
