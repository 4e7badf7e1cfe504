"""The editors of settings: widgets of magicgui, and those that it has no like of.

A `value` is what stands there, usable or not: validation is the model's business. What was set is
read back exactly, digit for digit; magicgui's own field for a float rounds. ``changed`` is
emitted on every change.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FileEdit,
    Label,
    LineEdit,
    PushButton,
    SpinBox,
)
from magicgui.widgets.bases import ValuedContainerWidget
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QComboBox, QFileDialog, QWidget

_TIFF = "TIFF (*.tif *.tiff)"
_IMAGES = "Images (*.tif *.tiff *.npy);;All files (*)"
_LARGEST_INTEGER = 2**31 - 1
_COMMA_DECIMAL = re.compile(r"[-+]?(?!\d{1,3},\d{3}$)\d*,\d+(e[-+]?\d+)?|[-+]?0,\d+")


class NumberEdit(LineEdit):
    """A number as text: unlike a spin box it never rounds and never clips."""

    def __init__(self, placeholder: str = "", **keywords: Any) -> None:
        super().__init__(**keywords)
        self.min_width = 50
        self.native.setPlaceholderText(placeholder)

    def get_value(self) -> Any:
        """Return the number, the text if it is none, or None if there is no text."""
        return number_or_text(super().get_value())

    def set_value(self, value: float | str | Path | None) -> None:
        """Show `value`; a number with as many digits as it needs, no more."""
        text = number_text(value) if isinstance(value, int | float) else str(value or "")
        super().set_value(text)

    def text_instead_of_number(self) -> str | None:
        """Return what was typed if it is no number."""
        value = self.get_value()
        return value if isinstance(value, str) else None

    def _on_value_change(self, *_: object) -> None:
        self.changed.emit(self.get_value())


def number_text(value: float) -> str:
    """Return a number with as few digits as give exactly this number when read."""
    short = f"{value:.6g}"
    return short if float(short) == value else repr(float(value))


def number_or_text(text: str) -> float | str | None:
    """Return the number that `text` is, or else the text; None if there is none.

    A comma may stand for the decimal point, unless it could part thousands ("1,500").
    """
    text = text.strip()
    plain = text.replace(",", ".") if _COMMA_DECIMAL.fullmatch(text) else text
    try:
        return float(plain)
    except ValueError:
        return text or None


class IntegerEdit(SpinBox):
    """A whole number between two bounds."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**{"min": 0, "max": _LARGEST_INTEGER, "step": 1, **keywords})
        _leave_the_wheel_to_the_form(self.native)


class ChoiceEdit(ComboBox):
    """One of several values; None is a value like any other."""

    null_value = object()

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        # wide entries must not widen the dock
        self.native.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.native.setMinimumContentsLength(8)
        _leave_the_wheel_to_the_form(self.native)

    def set_value(self, value: Any) -> None:
        """Choose the entry of `value`, if there is one."""
        if value in self.choices:
            super().set_value(value)

    def reset_choices(self, *_: object) -> None:
        """List the entries anew, in their order; the chosen value stays if it is still there."""
        before, is_chosen = self.get_value(), len(self) > 0
        with self.changed.blocked():
            # magicgui goes by the texts, and would lose a layer that was renamed
            self.native.clear()
            super().reset_choices()
            if is_chosen:
                self.set_value(before)
        if self.get_value() != before:
            self.changed.emit(self.get_value())


class PathEdit(FileEdit):
    """A file, typed or chosen in a dialog; None if there is no text."""

    def __init__(self, filter: str = _IMAGES, placeholder: str = "", **keywords: Any) -> None:
        super().__init__(filter=filter, **{**keywords, "nullable": True})
        tighten(self)
        make_browse_button(self.choose_btn)
        self.line_edit.native.setPlaceholderText(placeholder)

    def get_value(self) -> Path | None:
        """Return the path, or None."""
        text = self.line_edit.value.strip()
        return Path(text).expanduser() if text else None

    def set_value(self, value: Any) -> None:
        """Show a path, as it is given."""
        self.line_edit.value = "" if value is None else str(value)


class AutoEdit(ValuedContainerWidget[Any]):
    """``"auto"``, or a number (or a file) of one's own, which survives a visit to auto."""

    def __init__(self, allow_file: bool = False, **keywords: Any) -> None:
        self.allow_file = allow_file
        self.auto = CheckBox(text="auto", value=True)
        self.number = NumberEdit()
        self.browse = PushButton()
        super().__init__(
            widgets=[self.auto, self.number, self.browse],
            layout="horizontal",
            labels=False,
            **{**keywords, "nullable": False},
        )
        tighten(self)
        make_browse_button(self.browse)
        self.browse.changed.connect(self._browse)
        self.auto.changed.connect(self._on_auto)
        self.number.changed.connect(self._tell)
        self._on_auto()

    def get_value(self) -> Any:
        """Return ``"auto"``, the number, or the text."""
        return "auto" if self.auto.value else self.number.value

    def set_value(self, value: Any) -> None:
        """Show ``"auto"``, a number or a path."""
        if value != "auto":
            self.number.set_value(value)
        self.auto.value = value == "auto"

    def text_instead_of_number(self) -> str | None:
        """Return what was typed if it should be a number and is none."""
        text = None if self.auto.value else self.number.text_instead_of_number()
        is_file = self.allow_file and text and Path(text).expanduser().is_file()
        return None if is_file else text

    def _on_auto(self) -> None:
        auto = self.auto.value
        self.number.enabled = not auto
        self.browse.visible = self.allow_file and not auto
        self.number.native.setPlaceholderText("estimated" if auto else "")
        self._tell()

    def _browse(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self.native, "Choose a map", "", _TIFF)
        if path:
            self.number.set_value(path)

    def _tell(self) -> None:
        self.changed.emit(self.value)


class FramesEdit(ValuedContainerWidget[slice]):
    """First and last frame, counted from 0 as on napari's slider."""

    def __init__(self, **keywords: Any) -> None:
        self.first, self.last = IntegerEdit(max=0), IntegerEdit(max=0)
        super().__init__(
            widgets=[self.first, Label(value="to"), self.last],
            layout="horizontal",
            labels=False,
            **keywords,
        )
        tighten(self)
        for editor in (self.first, self.last):
            editor.changed.connect(self._tell)

    def set_count(self, frames: int) -> None:
        """Choose all of `frames` frames."""
        for editor in (self.first, self.last):
            editor.max = max(frames - 1, 0)
        self.set_value(slice(0, max(frames, 1)))

    def get_value(self) -> slice:
        """Return the chosen frames, in whatever order the ends were given."""
        ends = sorted((self.first.value, self.last.value))
        return slice(ends[0], ends[1] + 1)

    def set_value(self, value: slice) -> None:
        """Choose the frames of a slice without step."""
        self.first.value, self.last.value = value.start, value.stop - 1

    def _tell(self) -> None:
        self.changed.emit(self.value)


def tighten(container: Container[Any] | ValuedContainerWidget[Any]) -> None:
    """Leave no room around the widgets in a container, and little between them."""
    container.margins = (0, 0, 0, 0)
    container.native.layout().setSpacing(4)


def make_browse_button(button: PushButton) -> None:
    """Make a button small: it stands beside a line in a narrow dock."""
    button.text, button.tooltip = "…", "Choose a file"
    button.max_width = 30


class _LeaveTheWheel(QObject):
    """Lets what is under the mouse be scrolled, not changed, by the wheel."""

    def eventFilter(self, _: QObject, event: QEvent) -> bool:  # noqa: N802
        if event.type() != QEvent.Type.Wheel:
            return False
        event.ignore()
        return True


def _leave_the_wheel_to_the_form(widget: QWidget) -> None:
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    widget.installEventFilter(_LeaveTheWheel(widget))
