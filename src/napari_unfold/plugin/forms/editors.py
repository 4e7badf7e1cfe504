"""Small editors, one per kind of setting, all with the same three members.

``value()`` returns what stands there, usable or not: validation is the model's business.
``set_value(value)`` shows a value, and reading it back gives exactly that value. ``changed`` is
emitted on every change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QSpinBox,
    QToolButton,
    QWidget,
)


class NumberEdit(QLineEdit):
    """A number as text: unlike a spin box it never rounds and never clips."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumWidth(50)
        self.textChanged.connect(self.changed)

    def value(self) -> float | str | None:
        """Return the number, the text if it is none, or None if there is no text."""
        text = self.text().strip()
        try:
            return float(text)
        except ValueError:
            return text or None

    def text_instead_of_number(self) -> str | None:
        """Return what was typed if it is no number."""
        value = self.value()
        return value if isinstance(value, str) else None

    def set_value(self, value: float | str | Path | None) -> None:
        """Show `value`; a number with as many digits as it needs, no more."""
        self.setText(number_text(value) if isinstance(value, int | float) else str(value or ""))


def number_text(value: float) -> str:
    """Return a number with as few digits as give exactly this number when read."""
    short = f"{value:.6g}"
    return short if float(short) == value else repr(float(value))


class IntegerEdit(QSpinBox):
    """A whole number between two bounds."""

    changed = Signal()

    def __init__(self, minimum: int, maximum: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setRange(minimum, maximum)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.valueChanged.connect(self.changed)

    def set_value(self, value: int) -> None:
        """Show `value`."""
        self.setValue(value)

    def wheelEvent(self, event: Any) -> None:  # noqa: N802
        """Scroll the form, not the number."""
        event.ignore()


class ChoiceEdit(QComboBox):
    """One of several values, each with a text and, if given, an explanation."""

    changed = Signal()

    def __init__(self, choices: dict[str, Any], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        # wide entries must not widen the dock
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        self.set_choices(choices)
        self.currentIndexChanged.connect(self.changed)

    def set_choices(self, choices: dict[str, Any]) -> None:
        """Replace the entries, keeping the chosen value if it is still there."""
        before = self.value()
        blocked = self.blockSignals(True)
        self.clear()
        for text, value in choices.items():
            self.addItem(text, value)
        self.set_value(before)
        self.blockSignals(blocked)
        if self.value() != before:
            self.changed.emit()

    def value(self) -> Any:
        """Return the value of the chosen entry."""
        return self.currentData()

    def set_value(self, value: Any) -> None:
        """Choose the entry of `value`, if there is one."""
        values = [self.itemData(index) for index in range(self.count())]
        if value in values:
            self.setCurrentIndex(values.index(value))

    def wheelEvent(self, event: Any) -> None:  # noqa: N802
        """Scroll the form, not the choice."""
        event.ignore()


class PathEdit(QWidget):
    """A file, typed or chosen in a dialog."""

    changed = Signal()

    def __init__(
        self, pattern: str = "TIFF (*.tif *.tiff)", save: bool = False, parent: Any = None
    ) -> None:
        super().__init__(parent)
        self._pattern, self._save = pattern, save
        self.edit = QLineEdit()
        self.edit.textChanged.connect(self.changed)
        row = _tight_row(self)
        row.addWidget(self.edit, 1)
        row.addWidget(_browse_button(self._browse))

    def value(self) -> Path | None:
        """Return the path, or None."""
        text = self.edit.text().strip()
        return Path(text).expanduser() if text else None

    def set_value(self, value: Path | str | None) -> None:
        """Show a path."""
        self.edit.setText("" if value is None else str(value))

    def _browse(self) -> None:
        ask = QFileDialog.getSaveFileName if self._save else QFileDialog.getOpenFileName
        path, _ = ask(self, "Choose a file", self.edit.text(), self._pattern)
        if path:
            self.edit.setText(path)


class AutoEdit(QWidget):
    """``"auto"``, or a number (or a file) of one's own, which survives a visit to auto."""

    changed = Signal()

    def __init__(self, allow_file: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.auto = QCheckBox("auto")
        self.number = NumberEdit()
        self.allow_file = allow_file
        row = _tight_row(self)
        row.addWidget(self.auto)
        row.addWidget(self.number, 1)
        self.browse = _browse_button(self._browse)
        row.addWidget(self.browse)
        self.auto.toggled.connect(self._on_auto)
        self.number.changed.connect(self.changed)
        self.auto.setChecked(True)
        self._on_auto(True)

    def value(self) -> Any:
        """Return ``"auto"``, the number, or the text."""
        return "auto" if self.auto.isChecked() else self.number.value()

    def text_instead_of_number(self) -> str | None:
        """Return what was typed if it should be a number and is none."""
        text = None if self.auto.isChecked() else self.number.text_instead_of_number()
        is_file = self.allow_file and text and Path(text).expanduser().is_file()
        return None if is_file else text

    def set_value(self, value: Any) -> None:
        """Show ``"auto"``, a number or a path."""
        if value != "auto":
            self.number.set_value(value)
        self.auto.setChecked(value == "auto")

    def _on_auto(self, auto: bool) -> None:
        self.number.setEnabled(not auto)
        self.browse.setVisible(self.allow_file and not auto)
        self.number.setPlaceholderText("estimated" if auto else "")
        self.changed.emit()

    def _browse(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Choose a map", "", "TIFF (*.tif *.tiff)")
        if path:
            self.number.set_value(path)


def _tight_row(widget: QWidget) -> QHBoxLayout:
    row = QHBoxLayout(widget)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(4)
    return row


def _browse_button(on_click: Any) -> QToolButton:
    button = QToolButton()
    button.setText("…")
    button.setToolTip("Choose a file")
    button.clicked.connect(on_click)
    return button
