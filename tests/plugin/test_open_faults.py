"""A recording that goes away while it is unfolded, or a GPU: one sentence in the window."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tifffile
from napari.layers import Image, Layer

from napari_unfold.plugin import open_stack
from napari_unfold.plugin.docks.reconstruct import ReconstructWidget
from napari_unfold.reconstruction import reconstruct as module
from napari_unfold.reconstruction.reconstruct import reconstruct
from napari_unfold.simulation.scenes import simulate

from .conftest import READY, run
from .results import failing

DOCK = ReconstructWidget
JOB = ("napari_unfold.plugin.docks.reconstruct._reconstruction", reconstruct)


@pytest.mark.parametrize(
    ("how", "told"), [("removed", "removed"), ("truncated", "changed"), ("overwritten", "changed")]
)
def test_a_recording_that_changes_during_a_run_ends_it_with_one_sentence(
    viewer, stack, open_dock, qtbot, tmp_path: Path, monkeypatch, how: str, told: str
) -> None:
    path = tmp_path / "cells.tif"
    frames = simulate("random", frames=6, shape=(24, 24), seed=3).stack
    tifffile.imwrite(path, frames, photometric="minisblack")
    monkeypatch.setattr(open_stack, "IN_MEMORY_BYTES", 0)
    viewer.layers.clear()
    recording = viewer.add_layer(Layer.create(*open_stack.stack_layer(path)))
    assert isinstance(recording, Image)
    widget = open_dock(ReconstructWidget)
    widget.settings.set_acquisition(READY)
    widget.form.pixel_row.editor.set_value("100")
    original = module.unfold_batch

    def unfold_batch(*arguments):
        if how == "removed":
            path.unlink()
        elif how == "truncated":
            os.truncate(path, 2000)
        else:
            tifffile.imwrite(path, frames[:, ::-1], photometric="minisblack")
            os.utime(path, ns=(1, 1))
        return original(*arguments)

    monkeypatch.setattr(module, "unfold_batch", unfold_batch)
    run(widget, qtbot)
    shown = widget.panel.error.text()
    assert f"cells.tif' was {told} while it was read" in shown
    assert shown.count(". ") == 1
    assert list(viewer.layers) == [recording]
    assert widget.runner.state == "idle"


def test_a_gpu_that_fails_is_told_beside_the_choice_of_the_device(
    widget, run_instead, qtbot
) -> None:
    run_instead(failing(RuntimeError("CUDA error: unspecified launch failure\nCompile with")))
    run(widget, qtbot)
    told = widget.form.device_row.error.text()
    assert told.startswith("The GPU failed in the middle of the computation (CUDA error: unspec")
    assert told.endswith("compute on the CPU.")
