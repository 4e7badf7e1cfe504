"""What is learned from: a simulation, a simulation like a stack, or a stack that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from napari.layers import Layer, Points

from napari_unfold.files.localizations import write_localizations
from napari_unfold.learning.learn import learn
from napari_unfold.plugin.docks.train import TrainWidget
from napari_unfold.plugin.layers import Placement, points_layer
from napari_unfold.settings.recipe import Recipe

from .conftest import READY, row_of, run
from .results import job_of, learned

DOCK = TrainWidget
JOB = ("napari_unfold.plugin.docks.train._training", learn)

FINISHED = job_of([], learned())


def test_without_layers_a_simulation_is_ready_to_run(run_instead, open_dock, qtbot) -> None:
    """What could be estimated from a stack is set to typical numbers, in sight."""
    known = {"background": {"photons": 33.0}, "solver": {"molecule_photons": 700.0}}
    widget = open_dock(TrainWidget, Recipe.model_validate({**READY.model_dump(), **known}))
    calls = run_instead(FINISHED)
    run(widget, qtbot)
    assert calls[0]["stack"] is None
    assert calls[0]["truth"] is None
    assert calls[0]["recipe"].background.photons == 33.0
    assert widget.stack.isHidden()


def test_nothing_is_left_to_estimate_without_a_stack(widget) -> None:
    widget.data.source_row.editor.set_value("simulation")
    assert widget.form.background_row.editor.value == 20.0
    assert widget.value().solver.molecule_photons == 1500.0
    widget.form.background_row.editor.set_value("auto")
    assert "no stack to estimate it from" in widget.form.background_row.error.text()
    assert not widget.panel.run_button.isEnabled()
    widget.data.source_row.editor.set_value("like a stack")
    assert widget.form.background_row.error.text() == ""
    assert widget.value().solver.molecule_photons == "auto"
    assert widget.panel.run_button.isEnabled()


def test_a_stack_is_passed_on_with_its_frames(widget, run_instead, qtbot) -> None:
    calls = run_instead(FINISHED)
    widget.stack.frames_row.editor.last.value = 2
    widget.form.device_row.editor.set_value("cpu")
    run(widget, qtbot)
    assert calls[0]["stack"].shape == (5, 8, 10)
    assert calls[0]["frames"] == slice(0, 3)
    assert calls[0]["truth"] is None
    assert calls[0]["device"] == "cpu"


def test_truth_comes_from_a_table_or_from_points(
    widget, viewer, run_instead, tmp_path: Path, qtbot
) -> None:
    table = pd.DataFrame({"frame": [2], "x_nm": [212.5], "y_nm": [437.5], "photons": [900.0]})
    calls = run_instead(FINISHED)
    widget.data.source_row.editor.set_value("truth")
    assert "true molecules of the stack are missing" in widget.data.file_row.error.text()
    assert not widget.panel.run_button.isEnabled()
    write_localizations(table, tmp_path / "truth.csv")
    widget.data.file_row.editor.set_value(tmp_path / "truth.csv")
    run(widget, qtbot)
    placement = Placement.of(viewer.layers["stack"])
    viewer.add_layer(Layer.create(*points_layer(table, placement, 100.0, name="true")))
    widget.reset_choices()
    widget.data.truth_row.editor.set_value(viewer.layers["true"])
    run(widget, qtbot)
    for call in calls:
        columns = ["frame", "x_nm", "y_nm", "photons"]
        np.testing.assert_allclose(call["truth"][columns], table[columns])


def test_a_table_that_cannot_be_read_is_refused_beside_its_path(widget, tmp_path, qtbot) -> None:
    widget.data.source_row.editor.set_value("truth")
    widget.data.file_row.editor.set_value(tmp_path / "absent.csv")
    widget.panel.run_button.click()
    assert "absent.csv" in widget.data.file_row.error.text()
    assert "absent.csv" in widget.panel.error.text()


def test_points_without_a_pixel_size_are_refused_beside_the_choice(widget, viewer) -> None:
    viewer.add_layer(Points([[0.0, 3.0, 4.0]], name="clicked"))
    widget.reset_choices()
    widget.data.source_row.editor.set_value("truth")
    assert widget.data.truth_row.editor.value is viewer.layers["clicked"]
    widget.panel.run_button.click()
    assert "pixels of unknown size" in widget.data.truth_row.error.text()


def test_only_what_is_simulated_can_be_set(widget) -> None:
    scene = row_of(widget.form, "training.scene").editor
    widget.data.source_row.editor.set_value("truth")
    assert not scene.enabled
    assert row_of(widget.form, "training.loss").editor.enabled
    widget.data.source_row.editor.set_value("simulation")
    assert scene.enabled
