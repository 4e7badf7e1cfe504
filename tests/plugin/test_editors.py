"""Each setting is edited by a widget of magicgui that suits its type, and loses nothing of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from magicgui.widgets import Container, create_widget
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication

from napari_unfold.plugin.forms.editors import (
    AutoEdit,
    ChoiceEdit,
    FramesEdit,
    IntegerEdit,
    NumberEdit,
    PathEdit,
)
from napari_unfold.plugin.forms.psf import PsfEdit
from napari_unfold.plugin.forms.rows import Row, row_for
from napari_unfold.settings.section import Section, setting


class Every(Section):
    """A setting of every kind."""

    number: float = setting(0.25, "Number", "How much.", "nm", ge=0, le=1)
    optional: float | None = setting(None, "Optional", "How much, if known.")
    whole: int = setting(3, "Whole", "How many.", ge=1, le=16)
    choice: Literal["l1", "log-sum"] = setting("l1", "Choice", "Which.")
    open: Literal["blocks", "random"] | None = setting(None, "Open", "Which, if known.")
    auto: Literal["auto"] | float = setting("auto", "Auto", "How much, or estimated.")
    map: Literal["auto"] | float | Path = setting("auto", "Map", "A number or a file.")
    file: Path | None = setting(None, "File", "Which file.")


ODD = Every(
    number=0.123456789012,
    optional=1e-9,
    whole=16,
    choice="log-sum",
    open="random",
    auto=1234.5678,
    map=Path("folder/map.tif"),
    file=Path("bead.tif"),
)
EDITORS = {
    "number": NumberEdit,
    "optional": NumberEdit,
    "whole": IntegerEdit,
    "choice": ChoiceEdit,
    "open": ChoiceEdit,
    "auto": AutoEdit,
    "map": AutoEdit,
    "file": PathEdit,
}


@pytest.fixture
def rows(qtbot: QtBot) -> dict[str, Row]:
    return {name: row_for("every", name, field) for name, field in Every.model_fields.items()}


def test_the_annotation_decides_on_the_editor(rows) -> None:
    assert {name: type(row.editor) for name, row in rows.items()} == EDITORS


def test_the_defaults_are_shown(rows) -> None:
    shown = {name: row.editor.value for name, row in rows.items()}
    assert shown == Every().model_dump()


def test_values_serialise_as_those_of_any_widget_of_magicgui(rows) -> None:
    for name, row in rows.items():
        row.editor.value = getattr(ODD, name)
    container = Container(widgets=[row.editor for row in rows.values()])
    assert Every.model_validate(container.asdict()) == ODD


def test_titles_texts_units_and_bounds_come_from_the_setting(rows) -> None:
    number, whole = rows["number"], rows["whole"]
    assert (number.label.text(), number.unit.text()) == ("Number", "nm")
    assert "How much." in number.editor.tooltip
    assert "0 to 1" in number.editor.tooltip
    assert number.editor.native.accessibleName() == "Number"
    assert (whole.editor.min, whole.editor.max) == (1, 16)


def test_every_change_is_told_once_with_the_value(rows) -> None:
    for name, row in rows.items():
        told: list[Any] = []
        row.changed.connect(told.append)
        row.editor.value = getattr(ODD, name)
        assert told[-1] == row.editor.value
        told.clear()
        row.editor.value = getattr(ODD, name)
        assert told == []


def test_other_plugins_keep_the_editors_of_magicgui(rows) -> None:
    assert not isinstance(create_widget(annotation=float), NumberEdit)
    assert not isinstance(create_widget(annotation=int), IntegerEdit)


@given(number=st.floats(1e-9, 1e9))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_numbers_are_never_rounded(qtbot: QtBot, number: float) -> None:
    edit = NumberEdit()
    edit.value = number
    assert edit.value == number


@pytest.mark.parametrize(
    ("text", "value"), [("1e3", 1000.0), (" 7 ", 7.0), ("1,5", 1.5), ("", None), (" ", None)]
)
def test_what_is_typed_is_a_number_or_the_text(qtbot: QtBot, text: str, value: object) -> None:
    edit = NumberEdit()
    qtbot.addWidget(edit.native)
    qtbot.keyClicks(edit.native, text)
    assert edit.value == value
    assert edit.text_instead_of_number() == (value if isinstance(value, str) else None)


def test_own_value_survives_a_visit_to_auto(qtbot: QtBot) -> None:
    edit = AutoEdit()
    qtbot.addWidget(edit.native)
    edit.set_value(21.5)
    edit.auto.value = True
    assert edit.value == "auto"
    assert not edit.number.enabled
    edit.auto.value = False
    assert edit.value == 21.5


def test_a_number_or_a_file_that_exists_may_stand_in_the_place_of_a_map(
    qtbot: QtBot, tmp_path: Path
) -> None:
    edit = AutoEdit(allow_file=True)
    edit.value = tmp_path / "map.tif"
    assert edit.text_instead_of_number() == str(tmp_path / "map.tif")
    (tmp_path / "map.tif").touch()
    assert edit.text_instead_of_number() is None
    assert AutoEdit().text_instead_of_number() is None


def test_a_choice_keeps_its_value_when_the_others_change(qtbot: QtBot) -> None:
    offered = [("a", 1), ("b", None), ("c", 3)]
    choice = ChoiceEdit(choices=lambda _: offered)
    told: list[Any] = []
    choice.changed.connect(told.append)
    choice.value = None
    assert told == [None]
    offered[:] = [("new", 4), ("b, renamed", None), ("a", 1)]
    choice.reset_choices()
    assert choice.value is None
    assert choice.current_choice == "b, renamed"
    assert choice.choices == (4, None, 1)
    assert told == [None]
    offered[:] = [("a", 1)]
    choice.reset_choices()
    assert told == [None, 1]
    choice.set_value("unknown")
    assert choice.value == 1


def test_frames_are_taken_in_whatever_order_their_ends_are_given(qtbot: QtBot) -> None:
    frames = FramesEdit()
    frames.set_count(10)
    assert frames.value == slice(0, 10)
    frames.first.value, frames.last.value = 7, 2
    assert frames.value == slice(2, 8)
    frames.set_count(0)
    assert frames.value == slice(0, 1)


@pytest.mark.parametrize("name", ["whole", "choice"])
def test_the_wheel_scrolls_the_form_and_not_the_setting(rows, name: str) -> None:
    editor = rows[name].editor
    before = editor.value
    place, step = QPointF(5, 5), QPoint(0, -120)
    none = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase
    wheel = QWheelEvent(place, place, step, step, *none, False)
    QApplication.sendEvent(editor.native, wheel)
    assert not wheel.isAccepted()
    assert editor.value == before


def test_psf_goes_from_fwhm_to_sigma_and_back_unchanged(qtbot: QtBot) -> None:
    psf = PsfEdit()
    qtbot.addWidget(psf.native)
    psf.kind.set_value("fwhm")
    qtbot.keyClicks(psf.width_nm.native, "258.2")
    sigma = psf.value["psf_sigma_nm"]
    assert sigma == pytest.approx(258.2 / 2.354820045)
    psf.kind.set_value("sigma")
    assert float(psf.width_nm.native.text()) == pytest.approx(109.647, abs=1e-3)
    assert psf.value["psf_sigma_nm"] == sigma
    psf.kind.set_value("image")
    psf.kind.set_value("fwhm")
    assert psf.width_nm.native.text() == "258.2"
    assert psf.value["psf_sigma_nm"] == sigma
