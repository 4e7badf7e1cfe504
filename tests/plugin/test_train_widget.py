"""The dock of a training: what it shows, what it keeps, and what it refuses."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image
from napari.utils.notifications import notification_manager
from pytestqt.qtbot import QtBot

from napari_unfold.errors import InputError
from napari_unfold.files.localizations import write_localizations
from napari_unfold.files.presets import list_presets
from napari_unfold.jobs import Checkpoint, Metric, Note, Progress, Stage
from napari_unfold.learning.learn import learn
from napari_unfold.plugin.docks.train import TrainWidget
from napari_unfold.settings.recipe import Recipe
from napari_unfold.settings.training import Training
from napari_unfold.simulation.scenes import simulate

from .conftest import NM, outer_corners, row_of, run
from .results import NO_GPU, adapted, endless, failing, job_of, learned, metrics

DOCK = TrainWidget
JOB = ("napari_unfold.plugin.docks.train._training", learn)

SHOWN = ("before learning (left)", "after learning (middle)", "truth (right)")
STEPS = [Metric(step, metrics(step)) for step in range(4)]
FINISHED = job_of(
    [
        Stage("Learning"),
        Note("Background estimated"),
        Progress(0, 4),
        *STEPS,
        Checkpoint(learned()),
    ],
    learned(),
)
ENDLESS = endless([*STEPS[:3], Checkpoint(learned(3))])


def test_curves_grow_while_it_learns_and_the_gain_is_summed_up(widget, run_instead, qtbot) -> None:
    run_instead(FINISHED)
    run(widget, qtbot)
    steps, losses = widget.plot.curve("training loss")
    assert steps == [0, 1, 2, 3]
    np.testing.assert_allclose(losses, [1, 1 / 2, 1 / 3, 1 / 4])
    np.testing.assert_allclose(widget.plot.curve("weight")[1], [1, 0.8, 0.6, 0.4])
    np.testing.assert_allclose(widget.plot.curve("threshold")[1], [1, 1.1, 1.2, 1.3])
    np.testing.assert_allclose(widget.plot.curve("bend")[1], [1, 1.1, 1.2, 1.3])
    assert set(widget.plot.curves("Relative to start")) == {"weight", "threshold", "bend"}
    # the step with the smallest validation loss is kept
    assert "0.2 → 0.6" in widget.panel.summary.text()
    assert "step 2 of 3" in widget.panel.summary.text()
    assert "Background estimated" in widget.panel.notes.text()


def test_a_second_training_starts_with_empty_plots(widget, run_instead, qtbot) -> None:
    run_instead(FINISHED)
    run(widget, qtbot)
    run(widget, qtbot)
    assert widget.plot.curve("training loss")[0] == [0, 1, 2, 3]


def test_the_validation_frame_is_shown_side_by_side(
    widget, viewer, stack, run_instead, qtbot
) -> None:
    run_instead(FINISHED)
    for _ in range(2):  # the second replaces the first
        run(widget, qtbot)
        names = [layer.name for layer in viewer.layers]
        assert names == ["stack", *SHOWN]
    corners = [outer_corners(layer) for layer in viewer.layers]
    for left, right in itertools.pairwise(corners):
        assert right[0, 1] > left[1, 1]  # no overlap
        np.testing.assert_allclose(right[:, 0], left[:, 0], atol=1e-9)  # same rows
    np.testing.assert_allclose(corners[1][1] - corners[1][0], (800, 1000))
    # and the camera looks at them
    np.testing.assert_allclose(viewer.scene.camera.center[1:], corners[2].mean(axis=0))


def test_cancel_keeps_the_best_so_far(widget, viewer, run_instead, qtbot) -> None:
    run_instead(ENDLESS)
    assert not widget.save_button.isEnabled()
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: "preview" in viewer.layers)
    assert not widget.save_button.isEnabled()
    with qtbot.waitSignal(widget.runner.ended):
        widget.panel.cancel_button.click()
    assert "the best so far is kept" in widget.panel.summary.text()
    assert SHOWN[1] in viewer.layers
    assert "preview" not in viewer.layers
    assert widget.save_button.isEnabled()


def test_cancel_before_anything_was_learned(widget, viewer, run_instead, qtbot) -> None:
    run_instead(endless(then=Stage("Working")))
    widget.panel.run_button.click()
    with qtbot.waitSignal(widget.runner.ended):
        widget.panel.cancel_button.click()
    assert "before anything was learned" in widget.panel.summary.text()
    assert not widget.save_button.isEnabled()
    assert len(viewer.layers) == 1


def test_an_error_keeps_the_best_so_far(widget, run_instead, qtbot) -> None:
    full = InputError("the disk is full", "Free some space")
    run_instead(failing(full, [Checkpoint(learned(3))]))
    notification_manager.records.clear()
    run(widget, qtbot)
    assert "The disk is full" in widget.panel.error.text()
    assert "The disk is full" in notification_manager.records[-1].message
    assert "best before the error is kept" in widget.panel.summary.text()
    assert widget.save_button.isEnabled()


@pytest.mark.parametrize(("typed", "text"), [("", "missing"), ("many", "number"), ("-1", "-1")])
def test_a_setting_that_cannot_be_used_is_refused_beside_it(widget, typed: str, text: str) -> None:
    row = row_of(widget.form, "training.density_per_um2")
    row.editor.set_value(typed)
    assert text in row.error.text()
    assert "Density" in row.error.text() or typed in row.error.text()
    assert not widget.panel.run_button.isEnabled()


def test_an_error_of_a_setting_is_shown_beside_it(widget, run_instead, qtbot) -> None:
    run_instead(failing(NO_GPU))
    run(widget, qtbot)
    assert widget.form.device_row.error.text() == "No GPU here. Choose 'auto'."
    widget.form.device_row.editor.set_value("cpu")
    assert not widget.form.device_row.error.text()


def test_the_details_of_the_loss_reach_the_training(widget):
    softness = row_of(widget.form, "training.softness").editor
    softness.set_value(0.2)
    row_of(widget.form, "training.full_pixel").editor.set_value(255.0)
    assert widget.form.training_value().softness == 0.2
    assert widget.form.training_value().full_pixel == 255
    softness.set_value(3.0)
    assert "Softness" in str(widget.form.errors()[0])


def test_a_training_goes_on_from_what_was_learned_last_or_from_a_preset(widget, qtbot, run_instead):
    asked = run_instead(FINISHED)
    starts = widget.form.start_row.editor
    shipped = list_presets()[0]
    assert starts.choices[:2] == (None, shipped)
    run(widget, qtbot)
    assert asked[-1]["resume"] is None
    starts.value = starts.get_choice("What was learned last")
    run(widget, qtbot)
    assert asked[-1]["resume"].name == "my-microscope"
    starts.value = shipped
    run(widget, qtbot)
    assert asked[-1]["resume"] == shipped


ADAPTATION = "napari_unfold.plugin.docks.train._adaptation"


@pytest.mark.parametrize(("gain", "said"), [(0.05, "Better than"), (0.0, "No better than")])
def test_one_click_compares_with_the_shipped_preset(
    widget, viewer, stack, qtbot, monkeypatch, gain: float, said: str
) -> None:
    result = adapted(gain)
    job = job_of([Stage("Learning"), *STEPS], result)
    monkeypatch.setattr(ADAPTATION, job)
    assert not widget.save_button.isEnabled()
    with qtbot.waitSignal(widget.runner.ended):
        widget.adapt_button.click()
    summary = widget.panel.summary.text()
    assert f"{said} the shipped preset dense-smlm" in summary
    assert "shipped</th>" in summary
    assert "2 / 1 / 0.727" in summary
    assert widget.plot.curve("training loss")[0] == [0, 1, 2, 3]
    assert SHOWN[1] in viewer.layers
    assert widget.save_button.isEnabled()


def test_one_click_needs_a_stack_and_shows_which(widget, viewer, stack, qtbot, monkeypatch) -> None:
    monkeypatch.setattr(ADAPTATION, endless(then=Stage("Working")))
    widget.data.source_row.editor.set_value("simulation")
    assert widget.adapt_button.isEnabled()
    widget.adapt_button.click()
    assert widget.data.source() == "like a stack"
    assert not widget.adapt_button.isEnabled()
    with qtbot.waitSignal(widget.runner.ended):
        widget.panel.cancel_button.click()
    assert "Cancelled" in widget.panel.summary.text()
    assert widget.adapt_button.isEnabled()
    viewer.layers.remove(stack)
    widget.reset_choices()
    assert not widget.adapt_button.isEnabled()


@pytest.mark.slow
def test_a_small_adaptation_yields_a_preset_and_a_verdict(
    viewer, open_dock, qtbot: QtBot, monkeypatch
) -> None:
    from napari_unfold.learning import adapt

    monkeypatch.setattr(adapt, "HELD_OUT_FRAMES", 4)
    small = Training(loss="image", frames=4, outer_iterations=1)
    monkeypatch.setattr(adapt.adapt, "__defaults__", (small,))
    simulation = simulate("random", frames=8, shape=(24, 24), density_per_um2=1.0, seed=1)
    viewer.add_layer(Image(simulation.stack, name="cells", **NM))
    solver = {"iterations": 10, "upsampling": 2}
    recipe = Recipe.model_validate({**simulation.recipe.model_dump(), "solver": solver})
    widget = open_dock(TrainWidget, recipe)
    widget.form.device_row.editor.set_value("cpu")
    with qtbot.waitSignal(widget.runner.ended, timeout=300_000) as ended:
        widget.adapt_button.click()
    assert ended.args[0].kind == "done", ended.args[0].error
    assert "etter than the shipped preset dense-smlm" in widget.panel.summary.text()
    assert len(widget.learned.preset.networks["gaussian"].step_sizes) == 10
    assert "cells" in widget.learned.preset.trained_on


@pytest.mark.slow
@pytest.mark.parametrize("source", ["like a stack", "simulation", "truth"])
def test_a_small_training_yields_a_preset(
    viewer, open_dock, qtbot: QtBot, tmp_path: Path, source: str
) -> None:
    simulation = simulate("random", frames=4, shape=(16, 16), density_per_um2=1.0, seed=1)
    viewer.add_layer(Image(simulation.stack, name="cells", **NM))
    solver = {"iterations": 10, "upsampling": 2}
    recipe = Recipe.model_validate({**simulation.recipe.model_dump(), "solver": solver})
    widget = open_dock(TrainWidget, recipe)
    write_localizations(simulation.truth, tmp_path / "truth.csv")
    widget.data.file_row.editor.set_value(tmp_path / "truth.csv")
    widget.data.source_row.editor.set_value(source)
    row_of(widget.form, "training.outer_iterations").editor.set_value(2)
    row_of(widget.form, "training.frames").editor.set_value(4)
    widget.form.device_row.editor.set_value("cpu")
    with qtbot.waitSignal(widget.runner.ended, timeout=300_000) as ended:
        widget.panel.run_button.click()
    assert ended.args[0].kind == "done", ended.args[0].error
    assert widget.plot.curve("validation loss")[0] == [0, 1, 2]
    assert len(widget.learned.preset.networks["gaussian"].step_sizes) == 10
    assert viewer.layers[SHOWN[1]].data.max() > 0
