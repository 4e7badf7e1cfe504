"""The training widget: what it learns from, shows, keeps, refuses and saves."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Points
from napari.utils.notifications import notification_manager
from pytestqt.qtbot import QtBot

from napari_unfold.errors import InputError
from napari_unfold.files.localizations import write_localizations
from napari_unfold.files.presets import Preset, list_presets
from napari_unfold.jobs import Checkpoint, Job, Metric, Note, Preview, Progress, Result, Stage
from napari_unfold.plugin.docks import train
from napari_unfold.plugin.docks.reconstruct import ReconstructWidget
from napari_unfold.plugin.docks.train import TrainWidget
from napari_unfold.settings.recipe import Recipe
from napari_unfold.simulation.simulated_microscope import MICROSCOPE

from .conftest import outer_corners

SHOWN = ("before learning (left)", "after learning (middle)", "truth (right)")
NM = {"scale": (1, 100, 100), "units": ("pixel", "nm", "nm")}


def metrics(step: int) -> dict[str, float]:
    """Numbers of a training that gets better for two steps and then worse."""
    return {
        "training loss": 1.0 / (step + 1),
        "validation loss": abs(step - 2) + 1.0,
        "weight": 0.5 - 0.1 * step,
        "threshold": 200.0 + 20 * step,
        "Jaccard index": (0.2, 0.3, 0.6, 0.5)[step],
    }


def learned(steps: int = 4) -> SimpleNamespace:
    """Return what a training yields, for 8 x 10 camera pixels."""
    preset: Preset = list_presets()[0].model_copy(
        update={"name": "my-microscope", "title": "My microscope", "upsampling": 4}
    )
    image = np.zeros((32, 40), np.float32)
    image[3, 5] = 900
    return SimpleNamespace(
        preset=preset,
        before=0.1 * image,
        after=0.9 * image,
        truth=image,
        history=[metrics(step) for step in range(steps)],
        best=2,
        outcome="learned",
    )


def finished(*_, **__) -> Job:
    yield Stage("Learning")
    yield Note("Background estimated")
    for step in range(4):
        yield Progress(step, 4)
        yield Metric(step, metrics(step))
    yield Checkpoint(learned())
    yield Result(learned())


def endless(*_, **__) -> Job:
    for step in range(3):
        yield Metric(step, metrics(step))
    yield Checkpoint(learned(3))
    while True:
        time.sleep(0.01)
        yield Preview(np.ones((32, 40), np.float32))


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def stack(viewer: ViewerModel) -> Image:
    return viewer.add_layer(Image(np.full((5, 8, 10), 120, np.uint16), name="stack", **NM))


@pytest.fixture
def widget(viewer: ViewerModel, stack: Image, qtbot: QtBot):
    return made(viewer, qtbot)


def made(viewer: ViewerModel, qtbot: QtBot) -> TrainWidget:
    widget = TrainWidget(viewer)
    widget.set_value(MICROSCOPE)

    def stop(widget: TrainWidget) -> None:
        widget.cancel()
        qtbot.waitUntil(lambda: widget.runner.state == "idle")

    qtbot.addWidget(widget, before_close_func=stop)
    return widget


@pytest.fixture
def run_instead(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Job]], list[dict]]:
    """Put another job in the place of the training; return what it is called with."""

    def replace(job: Callable[..., Job]) -> list[dict]:
        calls: list[dict] = []

        def noted(recipe, training, **keywords) -> Job:
            calls.append({"recipe": recipe, "training": training, **keywords})
            return job()

        monkeypatch.setattr(train, "_training", noted)
        return calls

    return replace


def run(widget: TrainWidget, qtbot: QtBot) -> None:
    assert widget.panel.run_button.isEnabled(), widget.panel.run_button.toolTip()
    with qtbot.waitSignal(widget.runner.ended):
        widget.panel.run_button.click()


def test_curves_grow_while_it_learns_and_the_gain_is_summed_up(widget, run_instead, qtbot) -> None:
    run_instead(finished)
    run(widget, qtbot)
    steps, losses = widget.plot.curve("training loss")
    assert steps == [0, 1, 2, 3]
    np.testing.assert_allclose(losses, [1, 1 / 2, 1 / 3, 1 / 4])
    np.testing.assert_allclose(widget.plot.curve("weight")[1], [1, 0.8, 0.6, 0.4])
    np.testing.assert_allclose(widget.plot.curve("threshold")[1], [1, 1.1, 1.2, 1.3])
    # the step with the smallest validation loss is kept
    assert "0.2 → 0.6" in widget.panel.summary.text()
    assert "step 2 of 3" in widget.panel.summary.text()
    assert "Background estimated" in widget.panel.notes.text()


def test_curves_are_drawn_seldom_and_survive_values_that_are_none(widget, qtbot) -> None:
    drawn = []
    widget.plot.draw, draw = lambda: drawn.append(1), widget.plot.draw
    widget.plot._timer.timeout.disconnect()
    widget.plot._timer.timeout.connect(widget.plot.draw)
    for step in range(100):
        widget.plot.add(Metric(step, {"training loss": float("inf"), "Jaccard index": 0.5}))
    qtbot.waitUntil(lambda: bool(drawn))
    assert len(drawn) < 5
    draw()
    assert np.isnan(widget.plot.curve("training loss")[1]).all()


def test_a_second_training_starts_with_empty_plots(widget, run_instead, qtbot) -> None:
    run_instead(finished)
    run(widget, qtbot)
    run(widget, qtbot)
    assert widget.plot.curve("training loss")[0] == [0, 1, 2, 3]


def test_the_validation_frame_is_shown_side_by_side(
    widget, viewer, stack, run_instead, qtbot
) -> None:
    run_instead(finished)
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
    run_instead(endless)
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
    def slow() -> Job:
        while True:
            time.sleep(0.01)
            yield Stage("Working")

    run_instead(slow)
    widget.panel.run_button.click()
    with qtbot.waitSignal(widget.runner.ended):
        widget.panel.cancel_button.click()
    assert "before anything was learned" in widget.panel.summary.text()
    assert not widget.save_button.isEnabled()
    assert len(viewer.layers) == 1


def test_an_error_keeps_the_best_so_far(widget, run_instead, qtbot) -> None:
    def failing() -> Job:
        yield Checkpoint(learned(3))
        raise InputError("the disk is full", "Free some space")

    run_instead(failing)
    notification_manager.records.clear()
    run(widget, qtbot)
    assert "The disk is full" in widget.panel.error.text()
    assert "The disk is full" in notification_manager.records[-1].message
    assert "best before the error is kept" in widget.panel.summary.text()
    assert widget.save_button.isEnabled()


def test_a_saved_preset_is_offered_at_once(
    widget, viewer, run_instead, tmp_path: Path, qtbot
) -> None:
    reconstruct = ReconstructWidget(viewer)
    qtbot.addWidget(reconstruct)
    chosen = reconstruct.form.preset().name
    run_instead(finished)
    run(widget, qtbot)
    widget.save_button.click()
    dialog = widget.dialog
    qtbot.addWidget(dialog)
    dialog.title_edit.setText("Our TIRF, Alexa 647")
    assert dialog.name_edit.text() == "our-tirf-alexa-647"
    dialog.description_edit.setPlainText("Learned on Monday.")
    dialog.accept()
    assert dialog.isHidden()
    saved = Preset.model_validate_json((tmp_path / "presets/our-tirf-alexa-647.json").read_text())
    assert saved.description == "Learned on Monday."
    assert saved.networks == learned().preset.networks
    offered = reconstruct.form.preset_row.editor
    assert offered.findText("Our TIRF, Alexa 647") > 0
    assert reconstruct.form.preset().name == chosen  # the choice stays
    assert "Our TIRF, Alexa 647" in widget.panel.summary.text()


@pytest.mark.parametrize(
    ("title", "name", "text"),
    [
        ("", "a", "The title is missing"),
        ("Fine", "not fine", "'not fine' cannot be the name"),
        ("Fine", "dense-smlm", "name 'dense-smlm' already"),
        (list_presets()[0].title, "fine", "Choose another title"),
    ],
)
def test_a_preset_that_cannot_be_saved_is_refused_in_the_dialog(
    widget, run_instead, tmp_path: Path, qtbot, title: str, name: str, text: str
) -> None:
    run_instead(finished)
    run(widget, qtbot)
    widget.save_button.click()
    qtbot.addWidget(widget.dialog)
    widget.dialog.title_edit.setText(title)
    widget.dialog.name_edit.setText(name)
    widget.dialog.accept()
    assert text in widget.dialog.error.text()
    assert not widget.dialog.isHidden()
    assert not list(tmp_path.glob("presets/*"))
    widget.dialog.reject()


def test_without_layers_a_simulation_is_ready_to_run(viewer, run_instead, qtbot) -> None:
    """What could be estimated from a stack is set to typical numbers, in sight."""
    widget = made(viewer, qtbot)
    widget.set_value(
        Recipe.model_validate(
            {
                **MICROSCOPE.model_dump(),
                "background": {"photons": 33.0},
                "solver": {"molecule_photons": 700.0},
            }
        )
    )
    calls = run_instead(finished)
    run(widget, qtbot)
    assert calls[0]["stack"] is None
    assert calls[0]["truth"] is None
    assert calls[0]["recipe"].background.photons == 33.0
    assert widget.stack.isHidden()
    assert SHOWN[1] in viewer.layers


def test_nothing_is_left_to_estimate_without_a_stack(widget) -> None:
    widget.data.source_row.editor.set_value("simulation")
    assert widget.form.background_row.editor.value() == 20.0
    assert widget.value().solver.molecule_photons == 1500.0
    widget.form.background_row.editor.set_value("auto")
    assert "no stack to estimate it from" in widget.form.background_row.error.text()
    assert not widget.panel.run_button.isEnabled()
    widget.data.source_row.editor.set_value("like a stack")
    assert widget.form.background_row.error.text() == ""
    assert widget.value().solver.molecule_photons == "auto"
    assert widget.panel.run_button.isEnabled()


def test_a_stack_is_passed_on_with_its_frames(widget, run_instead, qtbot) -> None:
    calls = run_instead(finished)
    widget.stack.frames_row.editor.last.setValue(2)
    widget.form.device_row.editor.set_value("cpu")
    run(widget, qtbot)
    assert calls[0]["stack"].shape == (5, 8, 10)
    assert calls[0]["frames"] == slice(0, 3)
    assert calls[0]["truth"] is None
    assert calls[0]["device"] == "cpu"


def test_truth_comes_from_a_table_or_from_points(
    widget, viewer, run_instead, tmp_path: Path, qtbot
) -> None:
    from napari.layers import Layer

    from napari_unfold.plugin.layers import Placement, points_layer

    table = pd.DataFrame({"frame": [2], "x_nm": [212.5], "y_nm": [437.5], "photons": [900.0]})
    calls = run_instead(finished)
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


@pytest.mark.parametrize(("typed", "text"), [("", "missing"), ("many", "number"), ("-1", "-1")])
def test_a_setting_that_cannot_be_used_is_refused_beside_it(widget, typed: str, text: str) -> None:
    row = next(row for row in widget.form.rows if row.key == "training.density_per_um2")
    row.editor.setText(typed)
    assert text in row.error.text()
    assert "Density" in row.error.text() or typed in row.error.text()
    assert not widget.panel.run_button.isEnabled()


def test_an_error_of_a_setting_is_shown_beside_it(widget, run_instead, qtbot) -> None:
    def refused() -> Job:
        yield Stage("Working")
        raise InputError("no GPU here", "Choose 'auto'", field="device")

    run_instead(refused)
    run(widget, qtbot)
    assert widget.form.device_row.error.text() == "No GPU here. Choose 'auto'."
    widget.form.device_row.editor.set_value("cpu")
    assert not widget.form.device_row.error.text()


def test_only_what_is_simulated_can_be_set(widget) -> None:
    rows = {row.key: row for row in widget.form.training.rows}
    widget.data.source_row.editor.set_value("truth")
    assert not rows["training.scene"].editor.isEnabled()
    assert rows["training.loss"].editor.isEnabled()
    widget.data.source_row.editor.set_value("simulation")
    assert rows["training.scene"].editor.isEnabled()


def test_the_widget_is_found_in_the_menu(make_napari_viewer_proxy) -> None:
    viewer = make_napari_viewer_proxy()
    _, widget = viewer.window.add_plugin_dock_widget("napari-unfold", "Unfold: train")
    viewer.add_image(np.zeros((3, 8, 8)), name="later")
    assert widget.stack.layer().name == "later"
    viewer.theme = "light"
    assert widget.plot._colors[0] != "#262930"


def test_points_without_a_pixel_size_are_refused_beside_the_choice(widget, viewer) -> None:
    viewer.add_layer(Points([[0.0, 3.0, 4.0]], name="clicked"))
    widget.reset_choices()
    widget.data.source_row.editor.set_value("truth")
    assert widget.data.truth_row.editor.value() is viewer.layers["clicked"]
    widget.panel.run_button.click()
    assert "pixels of unknown size" in widget.data.truth_row.error.text()


@pytest.mark.slow
@pytest.mark.parametrize("source", ["like a stack", "simulation", "truth"])
def test_a_small_training_yields_a_preset(viewer, qtbot: QtBot, tmp_path: Path, source) -> None:
    from napari_unfold.simulation.scenes import simulate

    simulation = simulate("random", frames=4, shape=(16, 16), density_per_um2=1.0, seed=1)
    viewer.add_layer(Image(simulation.stack, name="cells", **NM))
    widget = made(viewer, qtbot)
    solver = {"iterations": 10, "upsampling": 2}
    widget.set_value(Recipe.model_validate({**simulation.recipe.model_dump(), "solver": solver}))
    write_localizations(simulation.truth, tmp_path / "truth.csv")
    widget.data.file_row.editor.set_value(tmp_path / "truth.csv")
    widget.data.source_row.editor.set_value(source)
    rows = {row.key: row for row in widget.form.training.rows}
    rows["training.outer_iterations"].editor.set_value(2)
    rows["training.frames"].editor.set_value(4)
    widget.form.device_row.editor.set_value("cpu")
    with qtbot.waitSignal(widget.runner.ended, timeout=300_000) as ended:
        widget.panel.run_button.click()
    assert ended.args[0].kind == "done", ended.args[0].error
    assert widget.plot.curve("validation loss")[0] == [0, 1, 2]
    assert len(widget.learned.preset.networks["gaussian"].step_sizes) == 10
    assert viewer.layers[SHOWN[1]].data.max() > 0


def test_a_training_goes_on_from_what_was_learned_last_or_from_a_preset(widget, qtbot, run_instead):
    asked = run_instead(finished)
    starts = widget.form.start_row.editor
    shipped = list_presets()[0]
    assert [starts.itemText(i) for i in range(2)] == ["The best of several", shipped.title]
    run(widget, qtbot)
    assert asked[-1]["resume"] is None
    starts.setCurrentText("What was learned last")
    run(widget, qtbot)
    assert asked[-1]["resume"].name == "my-microscope"
    starts.setCurrentText(shipped.title)
    run(widget, qtbot)
    assert asked[-1]["resume"] == shipped


def test_the_details_of_the_loss_reach_the_training(widget):
    editors = {row.key: row.editor for row in widget.form.details.rows}
    editors["training.softness"].set_value(0.2)
    editors["training.full_pixel"].set_value(255.0)
    assert widget.form.training_value().softness == 0.2
    assert widget.form.training_value().full_pixel == 255
    editors["training.softness"].set_value(3.0)
    assert "Softness" in str(widget.form.errors()[0])
