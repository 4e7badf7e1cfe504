"""Conditions on the columns of a table, with the number of localizations that pass them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QToolButton, QVBoxLayout, QWidget

from napari_unfold.errors import InputError
from napari_unfold.plugin.forms.editors import ChoiceEdit, NumberEdit
from napari_unfold.plugin.forms.rows import (
    ERROR_STYLE,
    HINT_STYLE,
    SectionForm,
    message_label,
    sentence,
)
from napari_unfold.tables.columns import COLUMNS
from napari_unfold.tables.select import Condition, select

if TYPE_CHECKING:
    import pandas as pd

_FIRST_CHOICE = "photons"


class RangeEdit(QWidget):
    """A column and the least and the greatest value of it that is kept.

    Signals
    -------
    changed
        After every change.
    removed
        When the user takes the condition away.
    """

    changed = Signal()
    removed = Signal()

    def __init__(self, table: pd.DataFrame | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._table = table
        self.column = ChoiceEdit(choices=self._columns)
        self.column.native.setMinimumContentsLength(7)
        self.low, self.high = NumberEdit(), NumberEdit()
        for edit, text in ((self.low, "least"), (self.high, "greatest")):
            edit.tooltip = f"<qt>The {text} value that is kept; empty for no limit.</qt>"
        self.remove_button = QToolButton()
        self.remove_button.setText("✕")
        self.remove_button.setToolTip("Take this condition away")
        self.error = message_label(ERROR_STYLE)
        self._lay_out()
        self.set_table(table)
        self.column.changed.connect(self._show_range)
        self.remove_button.clicked.connect(self.removed)
        for editor in (self.column, self.low, self.high):
            editor.changed.connect(self._on_changed)

    def set_table(self, table: pd.DataFrame | None) -> None:
        """Offer the columns of another table."""
        chosen = self.column.value or _FIRST_CHOICE
        self._table = table
        self.column.reset_choices()
        self.column.set_value(chosen)
        self._show_range()

    def conditions(self) -> list[Condition]:
        """Return the conditions; none if no limit is given.

        Raises
        ------
        InputError
            If a limit is no number, or nothing can lie between the two.
        """
        name = self.column.value
        found = []
        for edit, comparison in ((self.low, ">="), (self.high, "<=")):
            value: Any = edit.value
            if isinstance(value, str) or value != value:
                raise InputError(f"'{value}' is not a number", "Use a decimal point")
            if value is not None:
                found.append(Condition(name, comparison, value))
        if len(found) == 2 and found[0].value > found[1].value:
            raise InputError(
                f"nothing lies between {found[0].value:g} and {found[1].value:g}",
                "Exchange the two",
            )
        return found

    def _columns(self, _: object) -> list[tuple[str, str]]:
        table = self._table
        names = [] if table is None else list(table.select_dtypes("number").columns)
        return [(_title(name), name) for name in names]

    def _on_changed(self) -> None:
        self.changed.emit()

    def _show_range(self) -> None:
        """Show the range of the column in the empty fields."""
        values = np.empty(0) if self._table is None else self._table[self.column.value]
        known = np.asarray(values, dtype=float)
        known = known[np.isfinite(known)]
        ends = (f"{known.min():.4g}", f"{known.max():.4g}") if known.size else ("", "")
        for edit, text in zip((self.low, self.high), ends, strict=True):
            edit.native.setPlaceholderText(text)

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.column.native, 3)
        row.addWidget(self.low.native, 2)
        row.addWidget(QLabel("to"))
        row.addWidget(self.high.native, 2)
        row.addWidget(self.remove_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(row)
        column.addWidget(self.error)


class FilterForm(SectionForm):
    """Conditions that localizations have to pass, all of them."""

    def __init__(self) -> None:
        super().__init__("Filter")
        self._table: pd.DataFrame | None = None
        self.ranges: list[RangeEdit] = []
        self._list = QVBoxLayout()
        self._list.setContentsMargins(0, 0, 0, 0)
        self._list.setSpacing(4)
        holder = QWidget()
        holder.setLayout(self._list)
        self.add_button = QPushButton("Add condition")
        self.kept = message_label(HINT_STYLE)
        self.kept.show()
        for widget in (holder, self.add_button, self.kept):
            self.add_full_width(widget)
        self.add_button.clicked.connect(lambda: self.add_range())
        self.changed.connect(self._count)
        self.add_range()

    def set_table(self, table: pd.DataFrame | None) -> None:
        """Work on another table, None if there is none, with the same conditions if possible."""
        self._table = table
        for edit in self.ranges:
            edit.set_table(table)
        self._count()

    def add_range(self, column: str | None = None) -> RangeEdit:
        """Add a condition at the bottom."""
        edit = RangeEdit(self._table)
        if column is not None:
            edit.column.set_value(column)
        edit.changed.connect(self.changed)
        edit.removed.connect(lambda: self._remove(edit))
        self.ranges.append(edit)
        self._list.addWidget(edit)
        self.changed.emit()
        return edit

    def conditions(self) -> list[Condition]:
        """Return all conditions; raises `InputError` if one cannot be used."""
        return [condition for edit in self.ranges for condition in edit.conditions()]

    def errors(self) -> list[InputError]:
        """Show each error beside its condition, and return them."""
        found = []
        for edit in self.ranges:
            error = _error_of(edit)
            edit.error.setText(sentence(error) if error else "")
            edit.error.setVisible(error is not None)
            found += [error] if error else []
        return found

    def _remove(self, edit: RangeEdit) -> None:
        self.ranges.remove(edit)
        self._list.removeWidget(edit)
        edit.deleteLater()
        self.changed.emit()

    def _count(self) -> None:
        if self._table is None or any(_error_of(edit) for edit in self.ranges):
            self.kept.setText("")
            return
        keep = select(self._table, self.conditions())
        share = 100.0 * keep.mean() if len(keep) else 0.0
        self.kept.setText(f"{keep.sum():,} of {len(keep):,} kept ({share:.3g} %)")


def _error_of(edit: RangeEdit) -> InputError | None:
    try:
        edit.conditions()
    except InputError as error:
        return error
    return None


def _title(name: Any) -> str:
    for column in COLUMNS:
        if column.name == name:
            return f"{column.title} ({column.unit})" if column.unit == "nm" else column.title
    return str(name)
