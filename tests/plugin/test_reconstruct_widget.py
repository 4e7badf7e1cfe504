"""The dock of a reconstruction: what a run adds, how it ends, and what goes wrong meanwhile."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from napari.layers import Image
from napari.utils.notifications import notification_manager

from napari_unfold.errors import InputError
from napari_unfold.jobs import Job, Note, Progress, Stage
from napari_unfold.plugin.docks.reconstruct import ReconstructWidget
from napari_unfold.reconstruction.reconstruct import reconstruct

from .conftest import READY, outer_corners, run
from .results import NO_GPU, PREVIEW, endless, failing, followed, job_of, reconstruction

DOCK = ReconstructWidget
JOB = ("napari_unfold.plugin.docks.reconstruct._reconstruction", reconstruct)

FINISHED = job_of(
    [Stage("Working"), Note("Background estimated"), Progress(0.5, 1), PREVIEW], reconstruction()
)


def test_results_are_added_over_the_stack_and_summed_up(
    widget, viewer, stack, run_instead, qtbot
) -> None:
    run_instead(FINISHED)
    run(widget, qtbot)
    assert [layer.name for layer in viewer.layers] == [
        "stack",
        "stack unfolded",
        "PSF as entered: sigma 110.0 nm, FWHM 259.0 nm",
        "stack localizations",
    ]
    unfolded = viewer.layers["stack unfolded"]
    np.testing.assert_allclose(outer_corners(unfolded), outer_corners(stack), atol=1e-9)
    assert "1 localizations in 5 frames" in widget.panel.summary.text()
    assert "Background estimated" in widget.panel.notes.text()


def test_the_psf_that_was_used_is_a_layer_beside_the_upper_corner(
    widget, viewer, stack, run_instead, qtbot
) -> None:
    run_instead(FINISHED)
    run(widget, qtbot)
    psf = viewer.layers["PSF as entered: sigma 110.0 nm, FWHM 259.0 nm"]
    np.testing.assert_allclose(psf.scale, viewer.layers["stack unfolded"].scale)
    assert psf.metadata["sigma_nm"] == 110.0
    assert psf.metadata["fwhm_nm"] == pytest.approx(259.0, abs=0.1)
    assert psf.metadata["source"] == "as entered"
    corners, of_stack = outer_corners(psf), outer_corners(stack)
    side = corners[1, 1] - corners[0, 1]
    assert 0 < corners[0, 1] - of_stack[1, 1] < 0.1 * side
    assert corners[0, 0] == pytest.approx(of_stack[0, 0])
    assert psf not in widget.stack.layer_row.editor.choices


def test_molecules_that_were_followed_are_a_hidden_layer(
    widget, viewer, run_instead, qtbot
) -> None:
    run_instead(job_of([Stage("Working")], followed()))
    run(widget, qtbot)
    molecules = viewer.layers["stack molecules"]
    assert not molecules.visible
    assert molecules.features["last_frame"].tolist() == [4]
    assert molecules.features["photons"].tolist() == [4500.0]
    localizations = viewer.layers["stack localizations"]
    assert localizations.features["track"].tolist() == [1, 1, 1]
    np.testing.assert_allclose(molecules.data[0, 1:], localizations.data[0, 1:])


def test_the_stack_and_the_settings_of_the_form_are_worked_on(widget, run_instead, qtbot) -> None:
    calls = run_instead(FINISHED)
    widget.stack.frames_row.editor.last.value = 2
    run(widget, qtbot)
    (call,) = calls
    assert call["stack"].shape == (5, 8, 10)
    assert call["frames"] == slice(0, 3)
    assert call["recipe"] == widget.value()
    assert call["preset"] is widget.form.preset()


def test_a_second_run_keeps_the_results_of_the_first(widget, viewer, run_instead, qtbot) -> None:
    run_instead(FINISHED)
    run(widget, qtbot)
    run(widget, qtbot)
    assert len({layer.name for layer in viewer.layers}) == len(viewer.layers) == 7


def test_cancel_leaves_no_layer_behind(widget, viewer, run_instead, qtbot) -> None:
    run_instead(endless())
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
    run_instead(failing(error))
    notification_manager.records.clear()
    run(widget, qtbot)
    assert text in widget.panel.error.text()
    assert text in notification_manager.records[-1].message
    assert widget.panel.run_button.isEnabled()
    assert len(viewer.layers) == 1


def test_an_error_of_a_setting_is_shown_beside_it(widget, run_instead, qtbot) -> None:
    run_instead(failing(NO_GPU))
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

    def job(*_, **__) -> Job[object]:
        yield Stage("Working")
        go_on.wait(10)
        return reconstruction()

    run_instead(job)
    with qtbot.waitSignal(widget.runner.ended):
        widget.run()
        viewer.layers.remove(stack)
        widget.reset_choices()
        go_on.set()
    assert "stack unfolded" in viewer.layers


def test_editing_during_a_run_does_no_harm(widget, viewer, run_instead, qtbot) -> None:
    run_instead(endless())
    widget.preview_box.setChecked(True)
    widget.run()
    widget.form.pixel_row.editor.set_value("")
    qtbot.waitUntil(lambda: "preview" in viewer.layers)
    assert widget.runner.state == "running"


def test_points_of_all_frames_can_be_shown_without_averaging_the_stack(
    widget, viewer, stack, run_instead, qtbot
) -> None:
    run_instead(FINISHED)
    run(widget, qtbot)
    points = viewer.layers["stack localizations"]
    viewer.dims.set_point(0, 4)
    assert len(points._view_indices) == 0
    widget.all_frames_box.setChecked(True)
    assert len(points._view_indices) == 1
    assert stack.projection_mode == "none"
    widget.all_frames_box.setChecked(False)
    assert len(points._view_indices) == 0


def test_a_stack_of_unknown_size_is_given_that_of_the_form_so_that_results_are_in_nm(
    viewer, open_dock, run_instead, qtbot
) -> None:
    run_instead(FINISHED)
    bare = viewer.add_layer(Image(np.full((5, 8, 10), 120, np.uint16), name="stack"))
    widget = open_dock(ReconstructWidget, READY)
    run(widget, qtbot)
    np.testing.assert_allclose(bare.scale, (1, 100, 100))
    assert [str(unit) for unit in viewer.layers.units] == ["pixel", "nanometer", "nanometer"]
    unfolded = viewer.layers["stack unfolded"]
    np.testing.assert_allclose(outer_corners(unfolded), outer_corners(bare), atol=1e-9)
