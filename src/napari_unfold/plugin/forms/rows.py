"""Forms made from the fields of the settings model: nothing of them is typed a second time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from magicgui.type_map import TypeMap
from psygnal import SignalInstance
from pydantic.fields import FieldInfo
from qtpy.QtCore import Qt, Signal
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
from napari_unfold.settings.terms import FIDELITIES, PENALTIES

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
HINT_STYLE = "color: #868c96; font-size: 9pt;"
WARNING_STYLE = "color: #d99a2b; font-size: 9pt;"

# magicgui's map from types to widgets, with our own in it; other plugins keep theirs
EDITORS = TypeMap()
for _type, _editor in ((float, NumberEdit), (int, IntegerEdit), (Path, PathEdit)):
    EDITORS.register_type(_type, widget_type=_editor)

# what an entry of a choice is called in the form, if not by its own name
CHOICE_TEXTS = {
    "emccd": "EMCCD",
    "scmos": "sCMOS",
    "ccd": "CCD",
    "other": "Other",
    **FIDELITIES,
    **PENALTIES,
    "reconstruction": "Reconstruction",
    "localization": "Localization (as in the paper)",
    "tolerant": "Tolerant localization",
    "image": "Tolerant localization, and the image",
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
    "cpu": "CPU",
    "cuda": "NVIDIA GPU (CUDA)",
}


class Row:
    """A setting in a form: its label, its editor, its unit, and what is wrong with it.

    Parameters
    ----------
    key : str
        Dotted path of the setting in the `Recipe`, or a name of its own.
    title : str
    editor : magicgui.widgets.Widget
        With a value.
    tooltip, unit : str
    """

    def __init__(
        self, key: str, title: str, editor: Any, tooltip: str = "", unit: str = ""
    ) -> None:
        self.key = key
        self.title = title
        self.editor = editor
        self.label = QLabel(title)
        self.label.setWordWrap(True)
        self.unit = QLabel(unit)
        self.error = message_label(ERROR_STYLE)
        self.may_be_empty = False
        for widget in (self.label, editor.native):
            widget.setToolTip(tooltip)
        editor.native.setAccessibleName(title)
        editor.name = key.rpartition(".")[2]

    @property
    def changed(self) -> SignalInstance:
        """Emitted on every change of the value."""
        changed: SignalInstance = self.editor.changed
        return changed

    def owns(self, error: UnfoldError) -> bool:
        """Whether `error` is about this setting, or a part of it."""
        field = error.field or ""
        return field == self.key or field.startswith(f"{self.key}.")

    def show_error(self, text: str) -> None:
        """Show `text` under the editor, in red if something wrong stands there; or nothing."""
        self.error.setStyleSheet(HINT_STYLE if self.is_empty() else ERROR_STYLE)
        self.error.setText(text)
        self.error.setVisible(bool(text))

    def is_empty(self) -> bool:
        """Whether nothing was entered or chosen yet."""
        value = self.editor.value
        values = value.values() if isinstance(value, dict) else [value]
        return all(value is None for value in values)

    def show(self, visible: bool) -> None:
        """Show the setting, or hide it while it does not apply."""
        for widget in (self.label, self.editor.native, self.unit):
            widget.setVisible(visible)

    def set_enabled(self, enabled: bool) -> None:
        """Grey the setting out while it has no effect."""
        for widget in (self.label, self.editor.native, self.unit):
            widget.setEnabled(enabled)


def show_beside(rows: Iterable[Row], errors: Iterable[UnfoldError]) -> None:
    """Show the first error of each row beside it, and nothing beside the others."""
    errors = list(errors)
    for row in rows:
        row.show_error(next((sentence(error) for error in errors if row.owns(error)), ""))


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
    editor, unit = editor_for(field), Said.of(field).unit
    row = Row(f"{section}.{name}", field.title or name, editor, tooltip(field), unit)
    row.may_be_empty = not field.is_required() and field.default is None
    if row.may_be_empty and isinstance(editor, NumberEdit):
        editor.native.setPlaceholderText("estimated")
    if not field.is_required() and field.default is not None:
        editor.set_value(field.default)
    return row


def editor_for(field: FieldInfo) -> Any:
    """Return an editor that suits the annotation and the bounds of `field`."""
    kind: Any = field.annotation
    parts = get_args(kind)
    if Literal["auto"] in parts:
        return editor_of(kind, widget_type=AutoEdit, allow_file=Path in parts)
    if _literal_values(kind):
        return choice_of(kind)
    if kind is int:
        ends = zip(("min", "max"), bounds(field), strict=True)
        return editor_of(kind, **{name: int(end) for name, end in ends if end is not None})
    return editor_of(kind)


def choice_of(kind: Any) -> ChoiceEdit:
    """Return the choice between the values of a Literal type.

    One of an optional type begins with an entry of the value None.
    """
    texts = [(CHOICE_TEXTS.get(value, str(value)), value) for value in _literal_values(kind)]
    is_open = [("choose…", None)] if type(None) in get_args(kind) else []
    return editor_of(kind, widget_type=ChoiceEdit, choices=[*is_open, *texts], nullable=False)


def _literal_values(kind: Any) -> tuple[Any, ...]:
    """Return the values of a Literal type, optional or not; none for any other type."""
    literals = [part for part in (kind, *get_args(kind)) if get_origin(part) is Literal]
    return get_args(literals[0]) if literals else ()


def editor_of(kind: Any, **options: Any) -> Any:
    """Return the editor of a type, made by magicgui."""
    return EDITORS.create_widget(annotation=kind, options=options)


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
        self.grid.addWidget(row.editor.native, line, 1, 1, 1 if has_unit else 2)
        if has_unit:
            self.grid.addWidget(row.unit, line, 2)
        self.grid.addWidget(row.error, line + 1, 0, 1, 3)
        row.changed.connect(self._on_row)
        self.rows.append(row)

    def add_full_width(self, widget: QWidget) -> None:
        """Add a widget at the bottom that spans all columns."""
        self.grid.addWidget(widget, self.grid.rowCount(), 0, 1, 3)

    def _on_row(self) -> None:
        self.changed.emit()

    def _show_arrow(self, expanded: bool) -> None:
        self.setText(f"{'▾' if expanded else '▸'}  {self._title}")


def section_form(
    name: str, model: type[Section], title: str, only: Iterable[str] = (), expanded: bool = True
) -> SectionForm:
    """Return the form of a section of the `Recipe`, or of some of its fields."""
    names = list(only) or list(model.model_fields)
    rows = [row_for(name, field, model.model_fields[field]) for field in names]
    return SectionForm(title, rows, expanded)
