"""The widget that makes camera maps: layers in, maps and files out, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from napari_unfold.plugin.docks.camera import CameraMapsWidget

from .conftest import run

RNG = np.random.default_rng(0)
DARK = RNG.normal(100, 3, (250, 12, 14)).round().astype(np.uint16)
LIT = (100 + 2 * RNG.poisson(500, (250, 12, 14))).astype(np.uint16)


@pytest.fixture
def dock(viewer: ViewerModel, qtbot: QtBot) -> CameraMapsWidget:
    viewer.add_image(DARK, name="dark")
    viewer.add_image(LIT, name="lit")
    dock = CameraMapsWidget(viewer)
    qtbot.addWidget(dock)
    return dock


def test_dark_and_lit_stacks_become_maps_and_files(dock, viewer, qtbot, tmp_path) -> None:
    dock.dark_row.editor.set_value(viewer.layers["dark"])
    dock.flat_rows[0].editor.set_value(viewer.layers["lit"])
    dock.folder_row.editor.set_value(tmp_path)
    run(dock, qtbot)
    assert np.median(viewer.layers["camera offset"].data) == pytest.approx(100, abs=0.1)
    assert np.median(viewer.layers["camera variance"].data) == pytest.approx(9, rel=0.05)
    assert np.median(viewer.layers["camera gain"].data) == pytest.approx(2, rel=0.05)
    for name in ("offset", "variance", "gain"):
        saved = tifffile.imread(Path(tmp_path) / f"{name}.tif")
        np.testing.assert_array_equal(saved, viewer.layers[f"camera {name}"].data)
    assert "written to" in dock.panel.summary.text()


def test_without_lit_stacks_there_is_no_gain(dock, viewer, qtbot) -> None:
    dock.dark_row.editor.set_value(viewer.layers["dark"])
    run(dock, qtbot)
    assert [layer.name for layer in viewer.layers][2:] == ["camera offset", "camera variance"]


def test_nothing_runs_without_a_dark_stack(dock, viewer) -> None:
    assert not dock.panel.run_button.isEnabled()
    assert "dark stack" in dock.dark_row.error.text()
    dock.dark_row.editor.set_value(viewer.layers["dark"])
    assert dock.panel.run_button.isEnabled()


def test_what_is_no_stack_is_refused_beside_its_row(dock, viewer) -> None:
    viewer.add_image(DARK[0], name="flat picture")
    dock.reset_choices()
    dock.dark_row.editor.set_value(viewer.layers["dark"])
    dock.flat_rows[1].editor.set_value(viewer.layers["flat picture"])
    assert "2-D" in dock.flat_rows[1].error.text()
    assert not dock.panel.run_button.isEnabled()


def test_a_layer_that_is_gone_is_forgotten(dock, viewer) -> None:
    dock.dark_row.editor.set_value(viewer.layers["dark"])
    viewer.layers.remove("dark")
    dock.reset_choices()
    assert dock.dark_row.editor.value is None
