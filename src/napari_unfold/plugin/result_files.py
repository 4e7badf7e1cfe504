"""The buttons that write results to files, and that take the settings of a run from one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QPushButton, QWidget

from napari_unfold.errors import InputError, UnfoldError
from napari_unfold.plugin.export import export_localizations, file_name
from napari_unfold.plugin.layers import METADATA_KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_unfold.files.records import Repeat
    from napari_unfold.reconstruction.result import Reconstruction

_RECORDS = "Records and results (*.json *.tif *.tiff)"


class ResultFiles(QWidget):
    """*Save results…*, *Export…* and *Load recipe…*.

    Signals
    -------
    said : str
        What was done.
    failed : UnfoldError
        What went wrong.
    loaded : Repeat
        The settings of an earlier run.
    """

    said = Signal(str)
    failed = Signal(object)
    loaded = Signal(object)

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._latest: tuple[Reconstruction, str] | None = None
        self.save_button = QPushButton("Save results…")
        self.save_button.setToolTip(
            "<qt>Write image (TIFF with pixel size, and PNG with scale bar), localizations and "
            "the record of the run into a new folder.</qt>"
        )
        self.save_button.setEnabled(False)
        self.export_button = QPushButton("Export…")
        self.export_button.setToolTip("<qt>Write the selected localizations as a table.</qt>")
        self.load_button = QPushButton("Load recipe")
        self.load_button.setToolTip("<qt>Show the settings of an earlier run, to repeat it.</qt>")
        menu = QMenu(self.load_button)
        menu.addAction("From the selected layer", self.load_from_layer)
        menu.addAction("From a file…", self._ask_for_record)
        self.load_button.setMenu(menu)
        self.save_button.clicked.connect(self._ask_for_folder)
        self.export_button.clicked.connect(self._export)
        row = QHBoxLayout(self)
        row.setContentsMargins(6, 0, 6, 4)
        for button in (self.save_button, self.export_button, self.load_button):
            row.addWidget(button)

    def offer(self, result: Reconstruction, name: str) -> None:
        """Offer to save a result; `name` is that of the stack."""
        self._latest = result, name
        self.save_button.setEnabled(True)

    def save(self, folder: Path) -> None:
        """Write the latest result into a new folder inside `folder`."""
        if self._latest is None:
            return
        result, name = self._latest
        target = unused(folder / f"{file_name(name)}_unfolded")

        def write() -> str:
            paths = result.save(target)
            return f"Saved to {target}: {', '.join(path.name for path in paths)}"

        self._do(write)

    def load_from_layer(self) -> None:
        """Take the settings of the run that made the selected layer."""
        layer = self._viewer.layers.selection.active

        def load() -> str:
            if layer is None:
                raise InputError("no layer is selected", "Select a result in the layer list")
            self._load(layer.metadata.get(METADATA_KEY, {}), f"the layer '{layer.name}'")
            return ""

        self._do(load)

    def load_from_file(self, path: Path) -> None:
        """Take the settings of the run that a ``run.json``, or a saved image, tells of."""

        def load() -> str:
            from napari_unfold.files.records import read_record

            self._load(read_record(path), f"'{path.name}'")
            return ""

        self._do(load)

    def _load(self, record: Any, where: str) -> None:
        from napari_unfold.files.records import repeat_of

        earlier: Repeat = repeat_of(record if isinstance(record, dict) else {}, where)
        self.loaded.emit(earlier)

    def _ask_for_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the results")
        if folder:
            self.save(Path(folder))

    def _ask_for_record(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load recipe", "", _RECORDS)
        if name:
            self.load_from_file(Path(name))

    def _export(self) -> None:
        self._do(lambda: export_localizations(self._viewer, parent=self))

    def _do(self, action: Callable[[], str]) -> None:
        try:
            text = action()
        except UnfoldError as error:
            self.failed.emit(error)
            return
        if text:
            self.said.emit(text)


def unused(folder: Path) -> Path:
    """Return a folder that is not there yet: the one given, or with a number after it."""
    candidate, number = folder, 1
    while candidate.exists():
        number += 1
        candidate = folder.with_name(f"{folder.name}_{number}")
    return candidate
