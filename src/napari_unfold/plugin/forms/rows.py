"""Forms made from the fields of the settings model: nothing of them is typed a second time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget
from superqt import QCollapsible

from napari_unfold.errors import UnfoldError
from napari_unfold.plugin.forms.editors import (
    AutoEdit,
    ChoiceEdit,
    IntegerEdit,
    NumberEdit,
    PathEdit,
)
from napari_unfold.settings.section import Said, Section

# napari paints the checked toggle button of a collapsible like a pressed one
HEADING_STYLE = """
QCollapsible > QPushButton {
    text-align: left; font-weight: bold; border: none; border-radius: 0;
    padding: 3px 2px; background: transparent; border-bottom: 1px solid #5a626c;
}
QCollapsible > QPushButton:hover { background: rgba(128, 128, 128, 40); }
"""
ERROR_STYLE = "color: #e8504a; font-size: 9pt;"
_LABEL_WIDTH = 96
_LARGEST_INTEGER = 2**31 - 1
HINT_STYLE = "color: #868c96; font-size: 9pt;"

# what an entry of a choice is called in the form, if not by its own name
CHOICE_TEXTS = {
    "emccd": "EMCCD",
    "scmos": "sCMOS",
    "ccd": "CCD",
    "other": "Other",
    "gaussian": "Gaussian (least squares)",
    "kl": "Kullback-Leibler (photon noise)",
    "l1": "l1 (as in the paper)",
    "log-sum": "log-sum (sharper)",
    "reconstruction": "Reconstruction",
    "localization": "Localization (as in the paper)",
    "tolerant": "Tolerant localization",
    "uncertainty": "uncertainties",
    "gaussians": "Gaussians",
    "histogram": "Histogram",
    "count": "One each",
    "photons": "Photons",
    "blocks": "Blocks of frames",
    "filaments": "Filaments",
    "random": "Random",
    "variance": "Variance over time",
    "lag-1": "Covariance with the next frame",
    "mean": "Mean (wide-field)",
    "data": "Estimated from the stack",
    "learned": "Learned on simulated patterns",
    "settings": "As entered",
}


class Row(QObject):
    """A setting in a form: its label, its editor, its unit, and what is wrong with it.

    Parameters
    ----------
    key : str
        Dotted path of the setting in the `Recipe`, or a name of its own.
    title, tooltip, unit : str
    editor : QWidget
        One of `editors`, or anything with their three members.
    """

    changed = Signal()

    def __init__(
        self, key: str, title: str, editor: Any, tooltip: str = "", unit: str = ""
    ) -> None:
        super().__init__(editor)
        self.key = key
        self.title = title
        self.editor = editor
        self.label = QLabel(title)
        self.label.setWordWrap(True)
        self.unit = QLabel(unit)
        self.error = message_label(ERROR_STYLE)
        self.may_be_empty = False
        for widget in (self.label, self.editor):
            widget.setToolTip(tooltip)
        editor.changed.connect(self.changed)

    def show_error(self, text: str) -> None:
        """Show `text` in red under the editor; the empty text shows nothing."""
        self.error.setText(text)
        self.error.setVisible(bool(text))

    def show(self, visible: bool) -> None:
        """Show the setting, or hide it while it does not apply."""
        for widget in (self.label, self.editor, self.unit):
            widget.setVisible(visible)

    def set_enabled(self, enabled: bool) -> None:
        """Grey the setting out while it has no effect."""
        for widget in (self.label, self.editor, self.unit):
            widget.setEnabled(enabled)


def message_label(style: str) -> QLabel:
    """Return a hidden label for a sentence or two, which may be selected and copied."""
    label = QLabel()
    label.setStyleSheet(style)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    label.hide()
    return label


def sentence(error: UnfoldError) -> str:
    """Return the text of an error with a capital letter at its start."""
    text = str(error)
    return text[:1].upper() + text[1:]


def row_for(section: str, name: str, field: FieldInfo) -> Row:
    """Return the row of one field of a section of the `Recipe`."""
    row = Row(
        f"{section}.{name}",
        field.title or name,
        editor_for(field),
        tooltip(field),
        Said.of(field).unit,
    )
    row.may_be_empty = not field.is_required() and field.default is None
    if row.may_be_empty and isinstance(row.editor, NumberEdit):
        row.editor.setPlaceholderText("estimated")
    if not field.is_required() and field.default is not None:
        row.editor.set_value(field.default)
    return row


def editor_for(field: FieldInfo) -> Any:
    """Return an editor that suits the type of `field`."""
    kind = field.annotation
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return ChoiceEdit({CHOICE_TEXTS.get(part, part): part for part in parts})
    for part in parts:
        if type(None) in parts and get_origin(part) is Literal:
            choices = {CHOICE_TEXTS.get(choice, choice): choice for choice in get_args(part)}
            return ChoiceEdit({"choose…": None, **choices})
    if Literal["auto"] in parts:
        return AutoEdit(allow_file=Path in parts)
    if Path in parts or kind is Path:
        return PathEdit()
    if kind is int:
        low, high = bounds(field)
        return IntegerEdit(int(low or 0), int(high or _LARGEST_INTEGER))
    return NumberEdit()


def bounds(field: FieldInfo) -> tuple[float | None, float | None]:
    """Return the least and the greatest value a field allows, open bounds included."""
    found: dict[str, float] = {}
    for constraint in field.metadata:
        for name in ("ge", "gt", "le", "lt"):
            value = getattr(constraint, name, None)
            if value is not None:
                found[name[0]] = value
    return found.get("g"), found.get("l")


def tooltip(field: FieldInfo) -> str:
    """Return the explanation of a field with its range, as wrapping rich text."""
    low, high = bounds(field)
    text = field.description or ""
    if low is not None and high is not None:
        text += f"<br><i>{low:g} to {high:g}</i>"
    return f"<qt>{text}</qt>"


class SectionForm(QCollapsible):
    """Rows under a heading that folds them away.

    Parameters
    ----------
    title : str
    rows : iterable of Row
    expanded : bool
    """

    changed = Signal()

    def __init__(self, title: str, rows: Iterable[Row] = (), expanded: bool = True) -> None:
        # the arrow is part of the text: an icon would stay black in a dark theme
        super().__init__(title, expandedIcon=QIcon(), collapsedIcon=QIcon())
        self._title = title
        self.toggled.connect(self._show_arrow)
        self.rows: list[Row] = []
        self._body = QWidget()
        self.grid = QGridLayout(self._body)
        self.grid.setContentsMargins(4, 2, 2, 4)
        self.grid.setHorizontalSpacing(6)
        self.grid.setVerticalSpacing(4)
        self.grid.setColumnStretch(1, 1)
        self.grid.setColumnMinimumWidth(0, _LABEL_WIDTH)
        self.addWidget(self._body)
        self.content().layout().setContentsMargins(0, 0, 0, 0)
        self.setStyleSheet(HEADING_STYLE)
        for row in rows:
            self.add_row(row)
        if expanded:
            self.expand(animate=False)
        else:
            self.collapse(animate=False)
        self._show_arrow(expanded)

    def add_row(self, row: Row) -> None:
        """Add a setting at the bottom."""
        line = self.grid.rowCount()
        self.grid.addWidget(row.label, line, 0)
        has_unit = bool(row.unit.text())
        self.grid.addWidget(row.editor, line, 1, 1, 1 if has_unit else 2)
        if has_unit:
            self.grid.addWidget(row.unit, line, 2)
        self.grid.addWidget(row.error, line + 1, 0, 1, 3)
        row.changed.connect(self.changed)
        self.rows.append(row)

    def add_full_width(self, widget: QWidget) -> None:
        """Add a widget at the bottom that spans all columns."""
        self.grid.addWidget(widget, self.grid.rowCount(), 0, 1, 3)

    def _show_arrow(self, expanded: bool) -> None:
        self.setText(f"{'▾' if expanded else '▸'}  {self._title}")


def section_form(
    name: str, model: type[Section], title: str, only: Iterable[str] = (), expanded: bool = True
) -> SectionForm:
    """Return the form of a section of the `Recipe`, or of some of its fields."""
    names = list(only) or list(model.model_fields)
    rows = [row_for(name, field, model.model_fields[field]) for field in names]
    return SectionForm(title, rows, expanded)
