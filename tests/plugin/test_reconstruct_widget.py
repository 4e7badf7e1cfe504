"""The dock widget on a viewer model: what it offers, refuses, remembers and adds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.notifications import notification_manager
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QFileDialog

from napari_unfold.errors import InputError
from napari_unfold.files.localizations import read_localizations
from napari_unfold.jobs import Job, Note, Preview, Progress, Result, Stage
from napari_unfold.plugin.docks import reconstruct
from napari_unfold.plugin.docks.reconstruct import ReconstructWidget
from napari_unfold.plugin.layers import Placement, localization_layer
from napari_unfold.settings.microscope import Camera, Optics
from napari_unfold.settings.recipe import Recipe
from napari_unfold.simulation.simulated_microscope import MICROSCOPE

from .conftest import outer_corners, result_of

NM = {"scale": (1, 100, 100), "units": ("pixel", "nm", "nm")}


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def stack(viewer: ViewerModel) -> Image:
    return viewer.add_layer(Image(np.full((5, 8, 10), 120, np.uint16), name="stack", **NM))


@pytest.fixture
def widget(viewer: ViewerModel, stack: Image, qtbot: QtBot):
    widget = ReconstructWidget(viewer)
    widget.set_value(MICROSCOPE)

    def stop(widget: ReconstructWidget) -> None:
        widget.cancel()
        qtbot.waitUntil(lambda: widget.runner.state == "idle")

    qtbot.addWidget(widget, before_close_func=stop)
    return widget


@pytest.fixture
def run_instead(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Job]], None]:
    """Put another job in the place of the reconstruction."""

    def replace(job: Callable[..., Job]) -> None:
        monkeypatch.setattr(reconstruct, "_reconstruction", job)

    return replace


def finished(*_, **__) -> Job:
    yield Stage("Working")
    yield Note("Background estimated")
    yield Progress(0.5, 1)
    yield Preview(np.ones((32, 40), np.float32))
    yield Result(result_of())


def endless(*_, **__) -> Job:
    while True:
        time.sleep(0.01)
        yield Preview(np.ones((32, 40), np.float32))


def raising(error: Exception) -> Callable[..., Job]:
    def job(*_, **__) -> Job:
        yield Stage("Working")
        raise error

    return job


def run(widget: ReconstructWidget, qtbot: QtBot) -> None:
    with qtbot.waitSignal(widget.runner.ended):
        widget.panel.run_button.click()


def test_results_are_added_over_the_stack_and_summed_up(
    widget, viewer, stack, run_instead, qtbot
) -> None:
    run_instead(finished)
    run(widget, qtbot)
    assert [layer.name for layer in viewer.layers] == [
        "stack",
        "stack unfolded",
        "stack localizations",
    ]
    unfolded = viewer.layers["stack unfolded"]
    np.testing.assert_allclose(outer_corners(unfolded), outer_corners(stack), atol=1e-9)
    assert "1 localizations in 5 frames" in widget.panel.summary.text()
    assert "Background estimated" in widget.panel.notes.text()


def test_a_second_run_keeps_the_results_of_the_first(widget, viewer, run_instead, qtbot) -> None:
    run_instead(finished)
    run(widget, qtbot)
    run(widget, qtbot)
    assert len({layer.name for layer in viewer.layers}) == len(viewer.layers) == 5


def test_cancel_leaves_no_layer_behind(widget, viewer, run_instead, qtbot) -> None:
    run_instead(endless)
    widget.preview_box.setChecked(True)
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: "preview" in viewer.layers)
    assert not widget.panel.run_button.isEnabled()
    with qtbot.waitSignal(widget.runner.ended):
        widget.panel.cancel_button.click()
        assert widget.panel.cancel_button.text() == "Cancelling…"
    assert [layer.name for layer in viewer.layers] == ["stack"]
    assert widget.panel.run_button.isEnabled()
    assert "Cancelled" in widget.panel.summary.text()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("mat1 and mat2 cannot be multiplied"), "mat1 and mat2"),
        (torch.OutOfMemoryError("CUDA out of memory"), "does not fit into memory"),
        (InputError("the disk is full", "Free some space"), "The disk is full. Free some space."),
    ],
)
def test_an_error_of_the_worker_is_shown_and_notified(
    widget, viewer, run_instead, qtbot, error: Exception, text: str
) -> None:
    run_instead(raising(error))
    notification_manager.records.clear()
    run(widget, qtbot)
    assert text in widget.panel.error.text()
    assert text in notification_manager.records[-1].message
    assert widget.panel.run_button.isEnabled()
    assert len(viewer.layers) == 1


def test_an_error_of_a_setting_is_shown_beside_it(widget, run_instead, qtbot) -> None:
    run_instead(raising(InputError("no GPU here", "Choose 'auto'", field="device")))
    run(widget, qtbot)
    assert widget.form.device_row.error.text() == "No GPU here. Choose 'auto'."
    assert widget.form.advanced.isExpanded()
    widget.form.device_row.editor.set_value("cpu")
    assert not widget.form.device_row.error.text()
    assert not widget.panel.error.text()


def test_deleting_the_stack_during_a_run_does_no_harm(
    widget, viewer, stack, run_instead, qtbot
) -> None:
    go_on = threading.Event()

    def job(*_, **__) -> Job:
        yield Stage("Working")
        go_on.wait(10)
        yield Result(result_of())

    run_instead(job)
    with qtbot.waitSignal(widget.runner.ended):
        widget.run()
        viewer.layers.remove(stack)
        widget.reset_choices()
        go_on.set()
    assert "stack unfolded" in viewer.layers


def test_editing_during_a_run_does_no_harm(widget, viewer, run_instead, qtbot) -> None:
    run_instead(endless)
    widget.preview_box.setChecked(True)
    widget.run()
    widget.form.pixel_row.editor.setText("")
    qtbot.waitUntil(lambda: "preview" in viewer.layers)
    assert widget.runner.state == "running"


def test_run_is_disabled_with_a_reason(widget) -> None:
    widget.form.pixel_row.editor.setText("")
    assert not widget.panel.run_button.isEnabled()
    assert "Pixel size is missing" in widget.panel.run_button.toolTip()


@pytest.mark.parametrize(
    ("data", "text"),
    [(np.zeros((8, 9)), "2-D"), (np.zeros((4, 8, 9, 3), np.uint8), "colour")],
)
def test_a_layer_that_is_no_stack_is_refused_beside_the_choice(
    viewer, qtbot, data: np.ndarray, text: str
) -> None:
    viewer.add_layer(Image(data, rgb=data.ndim == 4))
    widget = ReconstructWidget(viewer)
    qtbot.addWidget(widget)
    assert text in widget.stack.layer_row.error.text()
    assert not widget.panel.run_button.isEnabled()


def test_without_layers_the_widget_says_where_to_find_some(viewer, qtbot) -> None:
    widget = ReconstructWidget(viewer)
    qtbot.addWidget(widget)
    assert "Open Sample" in widget.stack.layer_row.error.text()


def test_a_stack_added_later_is_chosen_and_brings_its_pixel_size(viewer, qtbot) -> None:
    widget = ReconstructWidget(viewer)
    qtbot.addWidget(widget)
    viewer.add_layer(Image(np.zeros((7, 8, 9)), scale=(1, 0.107, 0.107), units=("s", "um", "um")))
    widget.reset_choices()
    assert widget.form.pixel_row.editor.value() == 107.0
    assert widget.stack.frames() == slice(0, 7)


def test_a_stack_is_chosen_rather_than_a_flat_image(widget, viewer, stack) -> None:
    viewer.add_layer(Image(np.ones((32, 40)), name="stack unfolded"))
    widget.reset_choices()
    assert widget.stack.layer() is stack
    viewer.layers.remove(stack)
    widget.reset_choices()
    following = viewer.add_layer(Image(np.ones((4, 8, 10), np.uint16), name="following", **NM))
    widget.reset_choices()
    assert widget.stack.layer() is following


def test_when_the_chosen_stack_is_removed_another_stack_takes_its_place(
    widget, viewer, stack
) -> None:
    viewer.add_layer(Image(np.ones((32, 40)), name="flat"))
    other = viewer.add_layer(Image(np.ones((4, 8, 10), np.uint16), name="other", **NM))
    widget.reset_choices()
    viewer.layers.remove(stack)
    widget.reset_choices()
    assert widget.stack.layer() is other


def test_pixel_size_can_be_given_to_a_layer_without_one(viewer, qtbot) -> None:
    layer = viewer.add_layer(Image(np.zeros((7, 8, 9))))
    widget = ReconstructWidget(viewer)
    qtbot.addWidget(widget)
    assert widget.form.pixel_row.editor.value() is None
    widget.form.pixel_row.editor.setText("160")
    assert not widget.form.pixel_hint.isHidden()
    widget.form.pixel_hint.button.click()
    np.testing.assert_allclose(layer.scale, (1, 160, 160))
    assert [str(unit) for unit in layer.units[1:]] == ["nanometer", "nanometer"]
    assert widget.form.pixel_hint.isHidden()


def test_settings_are_remembered(widget, viewer, run_instead, qtbot) -> None:
    run_instead(finished)
    recipe = Recipe.model_validate(
        {
            "optics": {"pixel_size_nm": 100, "psf_sigma_nm": 121.125},
            "camera": {"type": "scmos", "offset_adu": 398.6},
            "solver": {"fidelity": "kl", "upsampling": 3},
        }
    )
    widget.set_value(recipe)
    widget.form.device_row.editor.set_value("cpu")
    run(widget, qtbot)
    again = ReconstructWidget(viewer)
    qtbot.addWidget(again)
    assert again.value() == recipe
    assert again.form.device() == "cpu"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"recipe": {"optics": {"pixel_size_nm": -1}}}']
)
def test_a_damaged_settings_file_is_ignored(
    viewer, stack, settings_file: Path, qtbot, content: str
) -> None:
    settings_file.parent.mkdir()
    settings_file.write_text(content)
    widget = ReconstructWidget(viewer)
    qtbot.addWidget(widget)
    assert widget.form.pixel_row.editor.value() == 100.0


def test_export_writes_the_localizations(
    widget, viewer, stack, tmp_path: Path, monkeypatch, run_instead, qtbot
) -> None:
    run_instead(finished)
    run(widget, qtbot)
    proposed = []

    def dialog(_parent, _title, proposal, _pattern):
        proposed.append(proposal)
        return str(tmp_path / "mine"), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", dialog)
    # another widget, as after closing and opening it again
    again = ReconstructWidget(viewer)
    qtbot.addWidget(again)
    again.export_button.click()
    assert proposed == ["stack_localizations.csv"]
    table = read_localizations(tmp_path / "mine.csv")
    np.testing.assert_allclose(table[["frame", "x_nm", "y_nm"]], [[2, 212.5, 437.5]])
    assert "mine.csv" in again.panel.summary.text()


def test_export_prefers_the_selected_points(widget, viewer, stack, tmp_path, monkeypatch) -> None:
    from napari.layers import Layer

    first, second = result_of(), result_of()
    first.localizations["x_nm"] = 55.0
    for result in (first, second):
        viewer.add_layer(Layer.create(*localization_layer(result, Placement.of(stack))))
    viewer.layers.selection.active = viewer.layers["stack localizations"]
    target = tmp_path / "out.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    widget.export_button.click()
    np.testing.assert_allclose(read_localizations(target)["x_nm"], [55.0])


def test_export_says_why_it_cannot(widget, viewer, stack, tmp_path, monkeypatch) -> None:
    widget.export_button.click()
    assert "no localizations to export" in widget.panel.error.text()
    from napari.layers import Layer

    viewer.add_layer(Layer.create(*localization_layer(result_of(), Placement.of(stack))))
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "nowhere" / "a.csv"), "")
    )
    widget.export_button.click()
    assert "no such folder" in widget.panel.error.text()


def test_points_of_all_frames_can_be_shown_without_averaging_the_stack(
    widget, viewer, stack, run_instead, qtbot
) -> None:
    run_instead(finished)
    run(widget, qtbot)
    points = viewer.layers["stack localizations"]
    viewer.dims.set_point(0, 4)
    assert len(points._view_indices) == 0
    widget.all_frames_box.setChecked(True)
    assert len(points._view_indices) == 1
    assert stack.projection_mode == "none"
    widget.all_frames_box.setChecked(False)
    assert len(points._view_indices) == 0


def test_a_simulated_stack_brings_its_optics_and_camera(qtbot: QtBot, viewer: ViewerModel) -> None:
    """Sample data are ready to run: what they were made with is known."""
    optics, camera = Optics(pixel_size_nm=120, psf_sigma_nm=140), Camera(type="ccd", offset_adu=37)
    recipe = Recipe(optics=optics, camera=camera)
    metadata = {"napari_unfold": {"recipe": recipe.model_dump(mode="json")}}
    widget = ReconstructWidget(viewer)
    qtbot.addWidget(widget)
    frames = np.full((4, 20, 20), 140)
    scale, units = (1, 120, 120), ("pixel", "nm", "nm")
    viewer.add_layer(Image(frames, scale=scale, units=units, metadata=metadata))
    widget.reset_choices()
    assert widget.value().optics == optics
    assert widget.value().camera == camera
