"""What meets somebody who has just opened the dock."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QAbstractButton

from napari_unfold.files.images import write_image
from napari_unfold.plugin.docks.reconstruct import ReconstructWidget
from napari_unfold.plugin.forms import first_steps
from napari_unfold.plugin.forms.editors import number_or_text
from napari_unfold.plugin.forms.rows import ERROR_STYLE
from napari_unfold.plugin.open_stack import stack_layer
from napari_unfold.plugin.sample_data import dense_filaments

from .conftest import NM


def test_nothing_is_red_before_anything_was_done(open_dock) -> None:
    widget = open_dock(ReconstructWidget)
    rows = [*widget.stack.rows, *widget.form.rows]
    said = [row for row in rows if row.error.text()]
    assert {row.key for row in said} >= {"stack", "optics.pixel_size_nm", "camera.type"}
    assert not [row.key for row in said if row.error.styleSheet() == ERROR_STYLE]
    # but what is wrong is
    widget.form.pixel_row.editor.set_value("-3")
    assert widget.form.pixel_row.error.styleSheet() == ERROR_STYLE


def test_a_stack_is_opened_from_the_dock_with_the_pixel_size_of_its_file(
    viewer, open_dock, tmp_path: Path, qtbot
) -> None:
    widget = open_dock(ReconstructWidget)
    assert not widget.stack.first_steps.isHidden()
    frames = np.arange(4 * 8 * 9, dtype=np.uint16).reshape(4, 8, 9)
    write_image(frames, tmp_path / "cells.tif", 107.0)
    widget.stack.first_steps.open_stack(tmp_path / "cells.tif")
    qtbot.waitUntil(lambda: len(viewer.layers) == 1 and widget.stack.first_steps.isEnabled())
    widget.reset_choices()
    assert widget.stack.layer() is viewer.layers["cells"]
    assert widget.form.pixel_row.editor.value == pytest.approx(107.0)
    np.testing.assert_array_equal(viewer.layers["cells"].data, frames)
    assert widget.stack.first_steps.isHidden()


def test_a_long_recording_stays_on_the_disk(tmp_path: Path, monkeypatch) -> None:
    frames = np.arange(4 * 8 * 9, dtype=np.uint16).reshape(4, 8, 9)
    tifffile.imwrite(tmp_path / "long.tif", frames, photometric="minisblack")
    monkeypatch.setattr("napari_unfold.plugin.open_stack.IN_MEMORY_BYTES", 10)
    data, _, _ = stack_layer(tmp_path / "long.tif")
    assert not isinstance(data, np.ndarray)
    assert data.dtype == np.uint16
    np.testing.assert_array_equal(np.asarray(data[2, 3:5]), frames[2, 3:5])


def test_a_file_that_is_no_stack_is_refused_in_the_dock(open_dock, tmp_path: Path, qtbot) -> None:
    widget = open_dock(ReconstructWidget)
    (tmp_path / "note.tif").write_text("not an image")
    with qtbot.waitSignal(widget.stack.first_steps.failed):
        widget.stack.first_steps.open_stack(tmp_path / "note.tif")
    assert "is not a TIFF file" in widget.stack.layer_row.error.text()


def test_samples_can_be_opened_from_the_dock(viewer, open_dock, monkeypatch, qtbot) -> None:
    monkeypatch.setattr(first_steps, "_samples", lambda: [("Dense filaments", dense_filaments)])
    widget = open_dock(ReconstructWidget)
    (action,) = widget.stack.first_steps.menu.actions()
    action.trigger()
    qtbot.waitUntil(lambda: "Dense filaments truth" in viewer.layers, timeout=60_000)
    qtbot.waitUntil(widget.stack.first_steps.isEnabled)
    widget.reset_choices()
    assert widget.panel.run_button.isEnabled()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2,98", 2.98),
        ("-0,5", -0.5),
        ("0,125", 0.125),
        ("1.5", 1.5),
        (" 3 ", 3.0),
        ("1,500", "1,500"),  # fifteen hundred, or one and a half?
        ("1,2,3", "1,2,3"),
        ("", None),
    ],
)
def test_a_comma_is_a_decimal_point_where_it_can_be_nothing_else(text: str, value) -> None:
    assert number_or_text(text) == value


def test_everything_to_click_or_fill_in_has_a_name_for_screen_readers(viewer, open_dock) -> None:
    viewer.add_image(np.ones((4, 8, 10), np.uint16), **NM)
    widget = open_dock(ReconstructWidget)
    nameless = [
        button
        for button in widget.findChildren(QAbstractButton)
        if not (button.text().strip("…▾▸ ") or button.accessibleName() or button.toolTip())
        and button.objectName() != "qt_spinbox"
    ]
    assert [type(button).__name__ for button in nameless] == []
    for row in [*widget.stack.rows, *widget.form.rows]:
        assert row.editor.native.accessibleName()
