"""The button beside the presets: to import, export, rename and delete one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QMessageBox, QPushButton, QVBoxLayout, QWidget

from napari_unfold.errors import InputError, UnfoldError
from napari_unfold.plugin.forms.rows import ERROR_STYLE, message_label, sentence
from napari_unfold.plugin.forms.save_preset import SavePresetDialog
from napari_unfold.plugin.preset_store import store

if TYPE_CHECKING:
    from napari_unfold.files.presets import Preset

_FILES = "Presets (*.json)"


class PresetFiles(QWidget):
    """A menu for the chosen preset, and for presets in files.

    Parameters
    ----------
    chosen : callable
        Returns the chosen preset, or None.

    Signals
    -------
    choose : str
        Name of the preset that is to be chosen now.
    """

    choose = Signal(str)

    def __init__(self, chosen: Callable[[], Preset | None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._chosen = chosen
        self.dialog: SavePresetDialog
        self.button = QPushButton("Manage presets")
        self.menu = QMenu(self.button)
        self.menu.addAction("Import from a file…", self._ask_for_file)
        self.export_action = self.menu.addAction("Export to a file…", self._ask_where_to)
        self.rename_action = self.menu.addAction("Rename…", self.rename)
        self.delete_action = self.menu.addAction("Delete", self._ask_to_delete)
        self.menu.aboutToShow.connect(self.refresh)
        self.button.setMenu(self.menu)
        self.error = message_label(ERROR_STYLE)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.button)
        column.addWidget(self.error)

    def refresh(self) -> None:
        """Offer what can be done with the chosen preset; shipped ones stay as they are."""
        preset = self._chosen()
        is_own = preset is not None and store.is_own(preset.name)
        self.export_action.setEnabled(preset is not None)
        self.rename_action.setEnabled(is_own)
        self.delete_action.setEnabled(is_own)

    def import_from(self, path: Path) -> None:
        """Ask for title and name of the preset in a file, and keep it among the user's own."""

        def ask() -> None:
            from napari_unfold.files.presets import load_preset

            self._name(load_preset(path), "Import preset", store.save)

        self._do(ask)

    def export_to(self, path: Path) -> None:
        """Write the chosen preset to a file."""

        def write() -> None:
            from napari_unfold.files.presets import save_preset

            save_preset(self._need(), path)

        self._do(write)

    def rename(self) -> None:
        """Ask for another title and name of the chosen preset."""

        def ask() -> None:
            preset = self._need()
            self._name(preset, "Rename preset", lambda new: store.rename(preset.name, new))

        self._do(ask)

    def delete(self) -> None:
        """Delete the chosen preset; the usual one is chosen then."""

        def delete() -> None:
            from napari_unfold.files.presets import DEFAULT_PRESET

            store.delete(self._need().name)
            self.choose.emit(DEFAULT_PRESET)

        self._do(delete)

    def _name(self, preset: Preset, title: str, keep: Callable[[Preset], Path]) -> None:
        self.dialog = SavePresetDialog(preset, self, keep)
        self.dialog.setWindowTitle(title)
        self.dialog.title_edit.setText(preset.title)
        self.dialog.name_edit.setText(preset.name)
        self.dialog.saved.connect(lambda _title, path: self.choose.emit(Path(path).stem))
        self.dialog.open()

    def _need(self) -> Preset:
        preset = self._chosen()
        if preset is None:
            raise InputError("no preset is chosen", "Choose one")
        return preset

    def _do(self, action: Callable[[], None]) -> None:
        self.error.hide()
        try:
            action()
        except UnfoldError as error:
            self.error.setText(sentence(error))
            self.error.show()

    def _ask_for_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Import preset", "", _FILES)
        if name:
            self.import_from(Path(name))

    def _ask_where_to(self) -> None:
        preset = self._chosen()
        proposed = "" if preset is None else f"{preset.name}.json"
        name, _ = QFileDialog.getSaveFileName(self, "Export preset", proposed, _FILES)
        if name:
            self.export_to(Path(name))

    def _ask_to_delete(self) -> None:
        preset = self._chosen()
        title = "" if preset is None else preset.title
        question = f"Delete the preset '{title}'? This cannot be undone."
        yes = QMessageBox.StandardButton.Yes
        if QMessageBox.question(self, "Delete preset", question) == yes:
            self.delete()
