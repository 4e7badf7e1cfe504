"""The dialog that gives a learned preset its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLineEdit,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from napari_unfold.errors import InputError, UnfoldError
from napari_unfold.plugin.forms.rows import ERROR_STYLE, HINT_STYLE, message_label, sentence
from napari_unfold.plugin.preset_store import store

if TYPE_CHECKING:
    from napari_unfold.files.presets import Preset

_FIELD_STYLE = "border: 1px solid rgba(128, 128, 128, 120); border-radius: 2px;"


class SavePresetDialog(QDialog):
    """Title, name and description of a preset, which is saved into the user's folder.

    Parameters
    ----------
    preset : Preset
    parent : QWidget, optional
    keep : callable, optional
        Keeps the named preset and returns its file; by default it is a new one.

    Signals
    -------
    saved : str, str
        Title of the preset, and the file it was written to.
    """

    saved = Signal(str, str)

    def __init__(
        self,
        preset: Preset,
        parent: QWidget | None = None,
        keep: Callable[[Preset], Path] = store.save,
    ) -> None:
        super().__init__(parent)
        self._keep = keep
        self.setWindowTitle("Save preset")
        self._preset = preset
        self.title_edit = QLineEdit()
        self.title_edit.setPlaceholderText("e.g. Alexa 647 on the TIRF microscope")
        self.name_edit = QLineEdit()
        self.name_edit.setToolTip(
            "<qt>Short name for the command line: small letters, digits and hyphens.</qt>"
        )
        self.description_edit = QPlainTextEdit(preset.description)
        self.description_edit.setTabChangesFocus(True)
        # napari's style leaves this kind of field without any border
        self.description_edit.setStyleSheet(_FIELD_STYLE)
        self.description_edit.setFixedHeight(70)
        self.error = message_label(ERROR_STYLE)
        self.title_edit.textChanged.connect(self._propose_name)
        self._lay_out()

    def accept(self) -> None:
        """Save, or say why that is not possible and stay open."""
        try:
            preset = self._named()
            path = self._keep(preset)
        except UnfoldError as error:
            self.error.setText(sentence(error))
            self.error.show()
            return
        self.saved.emit(preset.title, str(path))
        super().accept()

    def _named(self) -> Preset:
        from napari_unfold.files import presets

        title, name = self.title_edit.text().strip(), self.name_edit.text().strip()
        if not title:
            raise InputError("the title is missing", "Enter what the list of presets shall show")
        description = self.description_edit.toPlainText().strip()
        return presets.named(self._preset, name, title, description=description)

    def _propose_name(self, title: str) -> None:
        if not self.name_edit.isModified():
            self.name_edit.setText(re.sub("[^a-z0-9]+", "-", title.lower()).strip("-"))

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Title", self.title_edit)
        form.addRow("Name", self.name_edit)
        form.addRow("Description", self.description_edit)
        where = message_label(HINT_STYLE)
        where.setText(self._preset.trained_on)
        where.show()
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Save | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addLayout(form)
        for widget in (where, self.error, buttons):
            column.addWidget(widget)
        self.setMinimumWidth(420)
