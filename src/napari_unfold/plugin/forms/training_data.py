"""What to learn from: a simulation, a simulation like a stack, or a stack with known molecules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_unfold.errors import InputError
from napari_unfold.plugin.forms.editors import ChoiceEdit
from napari_unfold.plugin.forms.rows import HINT_STYLE, Row, SectionForm, message_label
from napari_unfold.plugin.forms.truth_rows import FILE, truth_rows
from napari_unfold.plugin.layers import table_of_points

if TYPE_CHECKING:
    import pandas as pd
    from napari.components import ViewerModel

    from napari_unfold.plugin.forms.stack_picker import StackPicker

Source = Literal["like a stack", "simulation", "truth"]

_SOURCES: tuple[tuple[str, Source], ...] = (
    ("Simulation, like my stack", "like a stack"),
    ("Simulation, from settings only", "simulation"),
    ("Stack with known molecules", "truth"),
)
_HINTS: dict[Source, str] = {
    "like a stack": "Background, brightness of the molecules, camera and PSF are taken from your "
    "stack; frames with known molecules are then simulated, with the structure and density below. "
    "'Adapt to my stack' takes these from the stack too, and needs nothing else.",
    "simulation": "Frames with known molecules are simulated with the settings below; "
    "no stack is needed.",
    "truth": "The stack is learned from itself; the position of every molecule in it must be "
    "known.",
}


class TrainingData(QWidget):
    """The choice of the data to learn from.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
        Whose Points layers are offered as truth.
    stack : StackPicker
        Shown here whenever a stack is needed.

    Signals
    -------
    changed
        After every change except of the stack, which tells by itself.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, stack: StackPicker) -> None:
        super().__init__()
        self._stack = stack
        self.source_row = Row(
            "source",
            "Learn from",
            ChoiceEdit(choices=_SOURCES),
            "<qt>Where frames with known molecules come from.</qt>",
        )
        self.truth_row, self.file_row = truth_rows(
            viewer,
            "<qt>The true molecules of the stack: a Points layer, or a localization table.</qt>",
        )
        self.hint = message_label(HINT_STYLE)
        self.hint.show()
        self.section = SectionForm("Training data", [self.source_row])
        self.section.add_full_width(self.hint)
        self.truth_section = SectionForm("Known molecules", [self.truth_row, self.file_row])
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        for section in (self.section, stack, self.truth_section):
            column.addWidget(section)
        for section in (self.section, self.truth_section):
            section.changed.connect(self._on_changed)
        self.source_row.changed.connect(self._propose_points)
        self._on_changed()

    @property
    def rows(self) -> list[Row]:
        """All settings except those of the stack."""
        return [self.source_row, self.truth_row, self.file_row]

    def source(self) -> Source:
        """Return where training frames come from."""
        source: Source = self.source_row.editor.value
        return source

    def needs_stack(self) -> bool:
        """Whether a stack layer is used."""
        return self.source() != "simulation"

    def truth(self, pixel_size_nm: float) -> pd.DataFrame | None:
        """Return the true molecules: ``frame, x_nm, y_nm``; None if they will be simulated.

        Raises
        ------
        InputError
            If they are not given or cannot be read.
        """
        self.check()
        if self.source() != "truth":
            return None
        try:
            return self._table(pixel_size_nm)
        except InputError as error:
            raise InputError(error.problem, error.remedy, self._truth_row().key) from error

    def check(self) -> None:
        """Raise an `InputError` if the truth is needed and not there."""
        if self.source() == "truth" and self.truth_row.editor.value == FILE:
            self._file()

    def reset_choices(self) -> None:
        """List the Points layers anew."""
        self.truth_row.editor.reset_choices()

    def _table(self, pixel_size_nm: float) -> pd.DataFrame:
        chosen = self.truth_row.editor.value
        if chosen == FILE:
            from napari_unfold.files.localizations import read_localizations

            return read_localizations(self._file(), pixel_size_nm=pixel_size_nm)
        data, meta, _ = chosen.as_layer_data_tuple()
        return table_of_points(data, meta)

    def _truth_row(self) -> Row:
        return self.file_row if self.truth_row.editor.value == FILE else self.truth_row

    def _propose_points(self) -> None:
        """Take the latest Points layer as truth unless a file was chosen."""
        choice = self.truth_row.editor
        if self.source() == "truth" and self.file_row.editor.value is None:
            choice.value = choice.choices[-2:][0]  # the file comes last

    def _file(self) -> Path:
        path: Path | None = self.file_row.editor.value
        if path is None:
            raise InputError(
                "the true molecules of the stack are missing",
                "Choose a localization table, or a Points layer",
                field="truth_file",
            )
        return path

    def _on_changed(self) -> None:
        source, from_file = self.source(), self.truth_row.editor.value == FILE
        self.hint.setText(_HINTS[source])
        self._stack.setVisible(self.needs_stack())
        self.truth_section.setVisible(source == "truth")
        self.file_row.set_enabled(from_file)
        self.changed.emit()
