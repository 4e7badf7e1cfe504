"""The dock widget for localizations: every task makes a new layer in the place of its source."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Layer, Points
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QFileDialog

from napari_unfold.files.localizations import read_localizations
from napari_unfold.jobs import Job, Stage
from napari_unfold.plugin.docks.localizations import LocalizationsWidget
from napari_unfold.plugin.forms import table_tasks
from napari_unfold.plugin.layers import METADATA_KEY, Placement, points_layer
from napari_unfold.plugin.table_layers import Source, table_of_layer
from napari_unfold.simulation.scenes import simulate

PLACES = {
    "nm": {"scale": (1, 100, 100), "units": ("pixel", "nm", "nm")},
    "µm, moved": {
        "scale": (0.02, 0.1, 0.1),
        "translate": (1.5, 3.21, 4.5),
        "units": ("s", "µm", "µm"),
    },
    "pixels": {"translate": (0, 12, -7)},
    "nm, rotated and sheared": {
        "scale": (1, 100, 100),
        "rotate": [[1, 0, 0], [0, 0.6, -0.8], [0, 0.8, 0.6]],
        "shear": (0, 0, 0.25),
        "units": ("pixel", "nm", "nm"),
    },
}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Localizations of filaments that drift by 100 nm along x."""
    truth = simulate("filaments", frames=200, shape=(32, 32), density_per_um2=4.0, seed=2).truth
    rng = np.random.default_rng(0)
    truth["uncertainty_nm"] = rng.uniform(8.0, 16.0, len(truth))
    truth[["x_nm", "y_nm"]] += rng.normal(0, 12.0, (len(truth), 2))
    truth["x_nm"] += truth["frame"] * 0.5
    return truth


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def add_points(viewer: ViewerModel, table: pd.DataFrame, **place) -> Points:
    stack = Image(np.zeros((200, 32, 32), np.uint16), name="stack", **(place or PLACES["nm"]))
    data = points_layer(table, Placement.of(stack), 100.0, name="molecules")
    return viewer.add_layer(Layer.create(*data))


@pytest.fixture
def points(viewer: ViewerModel, table: pd.DataFrame) -> Points:
    return add_points(viewer, table)


@pytest.fixture
def widget(viewer: ViewerModel, points: Points, qtbot: QtBot) -> LocalizationsWidget:
    widget = LocalizationsWidget(viewer)

    def stop(widget: LocalizationsWidget) -> None:
        widget.cancel()
        qtbot.waitUntil(lambda: widget.runner.state == "idle")

    qtbot.addWidget(widget, before_close_func=stop)
    return widget


def run(widget: LocalizationsWidget, qtbot: QtBot, title: str) -> None:
    widget.set_task(title)
    with qtbot.waitSignal(widget.runner.ended, timeout=30_000):
        widget.panel.run_button.click()


def editor(widget: LocalizationsWidget, key: str):
    (row,) = (row for task in widget.tasks for row in task.form.rows if row.key == key)
    return row.editor


def error_beside(widget: LocalizationsWidget, key: str) -> str:
    (row,) = (row for task in widget.tasks for row in task.form.rows if row.key == key)
    return row.error.text()


def test_conditions_count_while_they_are_typed(widget, table) -> None:
    form = widget.tasks[0].form
    assert widget.points.count.text() == f"{len(table):,} localizations in 200 frames"
    assert f"{len(table):,} of {len(table):,} kept (100 %)" == form.kept.text()
    photons = form.ranges[0]
    assert photons.column.value() == "photons"
    photons.low.setText("1500")
    kept = table.query("photons >= 1500")
    assert form.kept.text().startswith(f"{len(kept):,} of ")
    other = form.add_range("uncertainty_nm")
    other.high.setText("10")
    kept = kept.query("uncertainty_nm <= 10")
    assert form.kept.text().startswith(f"{len(kept):,} of ")
    other.remove_button.click()
    assert form.kept.text().startswith(f"{(table['photons'] >= 1500).sum():,} of ")


def test_the_empty_limits_show_the_range_of_the_column(widget, table) -> None:
    edit = widget.tasks[0].form.ranges[0]
    edit.column.set_value("frame")
    assert (edit.low.placeholderText(), edit.high.placeholderText()) == ("0", "199")


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [("many", "", "'many' is not a number"), ("5", "3", "Nothing lies"), ("nan", "", "not a num")],
)
def test_a_bad_limit_is_refused_beside_it(widget, low: str, high: str, text: str) -> None:
    edit = widget.tasks[0].form.ranges[0]
    edit.low.setText(low)
    edit.high.setText(high)
    assert text in edit.error.text()
    assert not widget.panel.run_button.isEnabled()
    edit.low.setText("1")
    edit.high.setText("")
    assert not edit.error.text()
    assert widget.panel.run_button.isEnabled()


def test_a_filter_without_a_condition_says_so(widget, viewer) -> None:
    widget.panel.run_button.click()
    assert "no condition yet" in widget.panel.error.text()
    assert len(viewer.layers) == 1


def test_filtering_makes_a_new_layer_and_leaves_the_old(
    widget, viewer, points, table, qtbot
) -> None:
    widget.tasks[0].form.ranges[0].low.setText("1500")
    run(widget, qtbot, "Filter")
    made = viewer.layers["molecules filtered"]
    pd.testing.assert_frame_equal(
        table_of_layer(made), table.query("photons >= 1500").reset_index(drop=True), atol=1e-6
    )
    assert len(points.data) == len(table)
    assert not points.visible
    assert widget.points.layer() is made
    assert f"of {len(table):,} localizations kept" in widget.panel.summary.text()
    history = made.metadata[METADATA_KEY]["history"]
    assert history == [{"step": "filter", "conditions": ["photons >= 1500"]}]


def test_the_steps_add_up_in_the_metadata(widget, viewer, qtbot) -> None:
    editor(widget, "linking.radius").set_value(30.0)
    run(widget, qtbot, "Link")
    run(widget, qtbot, "Correct drift")
    made = viewer.layers["molecules linked without drift"]
    steps = made.metadata[METADATA_KEY]["history"]
    assert [step["step"] for step in steps] == ["linking", "drift"]
    assert steps[0]["radius"] == 30.0
    json.dumps(steps)


def test_merging_counts_detections(widget, viewer, table, qtbot) -> None:
    run(widget, qtbot, "Link")
    made = viewer.layers["molecules linked"]
    assert made.features["detections"].sum() == len(table)
    assert len(made.data) < len(table)


def test_drift_is_removed_and_shown(widget, viewer, points, table, qtbot, tmp_path, monkeypatch):
    assert widget.curve_button.isHidden()
    run(widget, qtbot, "Correct drift")
    made = table_of_layer(viewer.layers["molecules without drift"])
    assert np.std(table["x_nm"] - made["x_nm"] - 0.5 * table["frame"]) < 5.0
    assert widget.chart.chart.title == "Drift"
    assert not widget.chart.isHidden()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "c"), ""))
    widget.curve_button.click()
    assert len(pd.read_csv(tmp_path / "c.csv")) == 200


def test_the_resolution_is_said_and_its_curve_shown(widget, viewer, qtbot) -> None:
    run(widget, qtbot, "Measure resolution")
    assert "Resolution of 'molecules'" in widget.panel.summary.text()
    assert "Fourier ring correlation" in widget.chart.chart.title
    assert len(viewer.layers) == 1


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_a_molecule_lies_on_its_pixel_wherever_the_stack_is(viewer, qtbot, place) -> None:
    table = pd.DataFrame({"frame": [0, 1], "x_nm": [1225.0, 2000.0], "y_nm": [715.0, 2000.0]})
    points = add_points(viewer, table, **place)
    widget = LocalizationsWidget(viewer)
    qtbot.addWidget(widget)
    editor(widget, "rendering.style").set_value("histogram")
    run(widget, qtbot, "Render")
    image = viewer.layers["molecules rendered"]
    assert np.argwhere(image.data).tolist() == [[71, 122], [200, 200]]
    # 1225 and 715 nm are the centre of a pixel of 10 nm
    on_image = np.array(image.data_to_world((71, 122)))
    np.testing.assert_allclose(on_image, points.data_to_world(points.data[0])[-2:], atol=1e-9)
    assert image.units == points.units[1:]
    widget.tasks[0].form.ranges[0].column.set_value("frame")
    widget.tasks[0].form.ranges[0].high.setText("0")
    run(widget, qtbot, "Filter")
    made = viewer.layers["molecules filtered"]
    np.testing.assert_allclose(
        made.data_to_world(made.data[0]), points.data_to_world(points.data[0]), atol=1e-9
    )
    assert made.units == points.units
    pd.testing.assert_frame_equal(table_of_layer(made), table[:1], atol=1e-6)


def test_points_of_another_plugin_are_worked_on_in_the_world(viewer) -> None:
    points = viewer.add_layer(
        Points([[1.0, 2.0, 3.0]], scale=(1, 0.1, 0.1), units=("pixel", "um", "um"), name="others")
    )
    table = table_of_layer(points)
    assert table.to_numpy().tolist() == [[1, 300.0, 200.0]]
    made = Layer.create(*Source.of(points).points(table, "again", {}))
    np.testing.assert_allclose(made.data_to_world(made.data[0])[1:], (0.2, 0.3))


def test_a_setting_out_of_range_is_refused_beside_it(widget) -> None:
    widget.set_task("Correct drift")
    blocks = editor(widget, "drift.blocks")
    blocks.set_value(1.0)
    assert "1 time blocks cannot be used" in error_beside(widget, "drift.blocks")
    assert not widget.panel.run_button.isEnabled()
    assert "1 time blocks" in widget.panel.run_button.toolTip()
    widget.set_task("Render")
    assert widget.panel.run_button.isEnabled()


def test_an_error_of_a_task_is_shown_beside_its_setting(viewer, table, qtbot) -> None:
    add_points(viewer, table.drop(columns="uncertainty_nm"))
    widget = LocalizationsWidget(viewer)
    qtbot.addWidget(widget)
    run(widget, qtbot, "Render")
    assert "Give a width in nm" in error_beside(widget, "rendering.width_nm")
    assert "no uncertainty" in widget.panel.error.text()
    editor(widget, "rendering.width_nm").set_value(15.0)
    assert not error_beside(widget, "rendering.width_nm")
    run(widget, qtbot, "Render")
    assert "molecules rendered" in viewer.layers


def test_a_running_task_can_be_cancelled(widget, viewer, monkeypatch, qtbot) -> None:
    def endless(*_) -> Job:
        while True:
            time.sleep(0.01)
            yield Stage("Working")

    monkeypatch.setattr(table_tasks, "_filtered", endless)
    widget.tasks[0].form.ranges[0].low.setText("1500")
    widget.panel.run_button.click()
    assert not widget.panel.run_button.isEnabled()
    with qtbot.waitSignal(widget.runner.ended):
        widget.panel.cancel_button.click()
    assert len(viewer.layers) == 1
    assert "Cancelled" in widget.panel.summary.text()
    assert widget.panel.run_button.isEnabled()


def test_deleting_the_source_during_a_run_does_no_harm(
    widget, viewer, points, monkeypatch, qtbot
) -> None:
    widget.set_task("Link")
    with qtbot.waitSignal(widget.runner.ended, timeout=30_000):
        widget.run()
        viewer.layers.remove(points)
        widget.reset_choices()
    assert [layer.name for layer in viewer.layers] == ["molecules linked"]


def test_points_moved_by_hand_are_taken_where_they_are(widget, points, table) -> None:
    points.data = np.add(points.data, (0, 0.0, 500.0))
    np.testing.assert_allclose(widget.points.table()["x_nm"], table["x_nm"] + 500.0)


def test_without_localizations_the_widget_says_where_to_find_some(viewer, qtbot) -> None:
    widget = LocalizationsWidget(viewer)
    qtbot.addWidget(widget)
    assert "open a localization table" in widget.points.layer_row.error.text()
    assert not widget.panel.run_button.isEnabled()
    viewer.add_layer(Points(np.empty((0, 3)), name="empty"))
    widget.reset_choices()
    assert "holds no localizations" in widget.points.layer_row.error.text()
    viewer.add_layer(Points([[1.0, 2.0, 3.0]], name="in pixels"))
    widget.reset_choices()
    widget.points.set_layer(viewer.layers["in pixels"])
    assert "Give the layer a scale in nm" in widget.points.layer_row.error.text()


def test_the_chosen_localizations_are_exported(
    widget, points, table, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "t.csv"), ""))
    widget.export_button.click()
    assert len(read_localizations(tmp_path / "t.csv")) == len(table)
    assert "t.csv" in widget.panel.summary.text()


def test_the_widget_is_found_in_the_menu(make_napari_viewer_proxy, table) -> None:
    viewer = make_napari_viewer_proxy()
    _, widget = viewer.window.add_plugin_dock_widget("napari-unfold", "Unfold: localizations")
    viewer.add_layer(Layer.create(*add_points(ViewerModel(), table).as_layer_data_tuple()))
    assert widget.points.layer().name == "molecules"
