"""The window that reconstructs all stacks of a folder, in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QHeaderView,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_unfold.errors import InputError, UnfoldError
from napari_unfold.jobs import Checkpoint, Event, Job
from napari_unfold.plugin.forms.editors import PathEdit
from napari_unfold.plugin.forms.rows import HINT_STYLE, message_label, sentence
from napari_unfold.plugin.running.panel import JobPanel
from napari_unfold.plugin.running.program import Program
from napari_unfold.plugin.running.runner import JobRunner, Outcome

if TYPE_CHECKING:
    from napari_unfold.settings.recipe import Recipe

_FILE, _OUTCOME, _COUNT, _SAID = range(4)
_TITLES = ["Stack", "Outcome", "Localizations", "Verdict"]

Settings = Callable[[], "tuple[Recipe, str | None, str]"]
"""Gives a recipe, the name of a preset and a device; raises `UnfoldError` if one is missing."""


class FolderRunWindow(QWidget):
    """Two folders, Run and Cancel, and the list of the stacks with what became of each.

    Parameters
    ----------
    settings : callable
        Asked for when Run is clicked.
    parent : QWidget
    """

    def __init__(self, settings: Settings, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setWindowTitle("Unfold: run on a folder")
        self._settings = settings
        self._items: dict[str, QTreeWidgetItem] = {}
        self._last: dict[str, Any] = {}
        self._program = Program()
        self.runner = JobRunner(self, "Unfold: reconstruct the stacks of a folder")
        self.panel = JobPanel("Reconstruct all stacks of the folder")
        self.folder_edit = PathEdit(mode="d", placeholder="all stacks that lie in it")
        self.out_edit = PathEdit(mode="d", placeholder="gets a folder for each stack")
        self.pixel_box = QCheckBox("Take the pixel size of the form for all stacks")
        self.pixel_box.setToolTip(
            "<qt>Otherwise that of the form is for stacks whose file states none, and a stack "
            "whose file states another one is refused.</qt>"
        )
        self.list = QTreeWidget()
        self.list.setHeaderLabels(_TITLES)
        self.list.setRootIsDecorated(False)
        self.list.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.list.setAccessibleName("Stacks and what became of each")
        self.panel.run_clicked.connect(self.run)
        self.panel.cancel_clicked.connect(self.cancel)
        self.runner.event.connect(self._on_event)
        self.runner.ended.connect(self._on_ended)
        self._lay_out()

    def run(self) -> None:
        """Start with the settings as they are now; what is done with them already is skipped."""
        self.panel.clear()
        try:
            self.runner.start(self._job())
        except UnfoldError as error:
            self.panel.show_error(sentence(error))
            return
        self.list.clear()
        self._items, self._last = {}, {}
        self._show_state()

    def cancel(self) -> None:
        """Ask the process to end."""
        self.runner.cancel()
        self._show_state()

    def _job(self) -> Job[int]:
        from napari_unfold.files.atomic import output_folder
        from napari_unfold.files.results import write_json

        folder, out = self.folder_edit.get_value(), self.out_edit.get_value()
        if folder is None or out is None:
            missing = "stacks" if folder is None else "results"
            raise InputError(f"the folder of the {missing} is missing", "Choose one")
        recipe, preset, device = self._settings()
        record = output_folder(out) / "recipe.json"
        write_json({"given": recipe.model_dump(mode="json"), "preset": preset}, record)
        command = [
            sys.executable, "-m", "napari_unfold", "batch", str(folder), "--out", str(out),
            "--recipe", str(record), "--device", device, "--json",
        ]  # fmt: skip
        if self.pixel_box.isChecked():
            command += ["--pixel-size-nm", repr(recipe.optics.pixel_size_nm)]
        return self._program.job(command)

    def _on_event(self, event: Event) -> None:
        if not isinstance(event, Checkpoint):
            self.panel.show_event(event)
            return
        told = event.value
        if "files" in told:
            self._list(told["files"])
        elif "file" in told:
            self._show_entry(told)
        else:
            self._last = told

    def _list(self, files: list[str]) -> None:
        self._items = {file: QTreeWidgetItem([Path(file).name, "waiting"]) for file in files}
        self.list.addTopLevelItems(list(self._items.values()))
        self._mark_next()

    def _show_entry(self, told: dict[str, Any]) -> None:
        item, count = self._items[told["file"]], told["localizations"]
        said = told["error"] or told["verdict"]
        item.setText(_OUTCOME, told["outcome"])
        item.setText(_COUNT, "" if count is None else f"{count:,}")
        item.setText(_SAID, said)
        item.setToolTip(_SAID, f"<qt>{said}</qt>")
        item.setToolTip(_FILE, told["folder"])
        self._mark_next()

    def _mark_next(self) -> None:
        waiting = (i for i in self._items.values() if i.text(_OUTCOME) == "waiting")
        item = next(waiting, None)
        if item is not None:
            item.setText(_OUTCOME, "running…")
            self.list.scrollToItem(item)

    def _on_ended(self, outcome: Outcome) -> None:
        for item in self._items.values():
            if item.text(_OUTCOME) == "running…":
                item.setText(_OUTCOME, "interrupted")
        if outcome.kind == "cancelled":
            text = "Cancelled. What is finished is kept, and Run goes on from there."
            self.panel.show_summary(text)
        elif outcome.error is not None:
            self.panel.show_error(sentence(outcome.error))
        else:
            self.panel.show_summary(self._last.get("text", ""))
        self._show_state()

    def _show_state(self) -> None:
        self.panel.show_state(self.runner.state, "")

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Stacks", self.folder_edit.native)
        form.addRow("Results", self.out_edit.native)
        form.addRow("", self.pixel_box)
        hint = message_label(HINT_STYLE)
        hint.setText(
            "The settings are those of the form. Each stack is reconstructed by itself, in a "
            "process of its own; batch.csv among the results tells what became of it."
        )
        hint.show()
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(hint)
        column.addWidget(self.list, 1)
        column.addWidget(self.panel)
        self.resize(640, 420)
