"""A cancelled run, a closed window, a saved layer: what was computed can be had again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from napari.layers import Image, Layer
from napari.settings import get_settings

from napari_unfold.errors import InputError
from napari_unfold.files.localizations import read_localizations
from napari_unfold.files.opening import open_stack
from napari_unfold.files.records import read_record, repeat_of
from napari_unfold.files.stacks import as_stack
from napari_unfold.jobs import Checkpoint, Job, Stage, run_to_end
from napari_unfold.plugin.associate import associate_tables
from napari_unfold.plugin.docks.reconstruct import ReconstructWidget
from napari_unfold.plugin.layers import localization_layer, reconstruction_layer
from napari_unfold.plugin.sample_data import simulation_placement
from napari_unfold.plugin.writer import write_points
from napari_unfold.reconstruction import reconstruct as module
from napari_unfold.reconstruction.reconstruct import reconstruct
from napari_unfold.settings.recipe import Recipe
from napari_unfold.simulation.scenes import simulate

from .conftest import NM, run
from .results import endless, job_of, reconstruction

DOCK = ReconstructWidget
JOB = ("napari_unfold.plugin.docks.reconstruct._reconstruction", reconstruct)
PLUGIN = "napari-unfold"


def part() -> object:
    """Return the job that keeps three of five frames."""
    result = reconstruction()
    result.record["stack"] = {"frames": [0, 3]}
    return job_of([Stage("Keeping the 3 finished frames")], result)()


def test_cancel_keeps_the_finished_frames_under_a_name_that_says_so(
    widget, viewer, run_instead, qtbot
) -> None:
    run_instead(endless([Checkpoint(part)], Stage("Working")))
    widget.run()
    qtbot.waitUntil(lambda: widget._finish is not None)
    widget.panel.cancel_button.click()
    qtbot.waitUntil(lambda: widget.runner.state == "idle")
    assert [layer.name for layer in viewer.layers] == [
        "stack",
        "stack, frames 0 to 2 unfolded",
        "PSF as entered: sigma 110.0 nm, FWHM 259.0 nm",
        "stack, frames 0 to 2 localizations",
    ]
    assert "cancelled, the finished frames are kept" in widget.panel.summary.text()
    assert widget.results.save_button.isEnabled()


def test_a_run_that_fails_keeps_the_finished_frames_and_says_why(
    widget, viewer, run_instead, qtbot
) -> None:
    def failing() -> Job[None]:
        yield Stage("Working")
        yield Checkpoint(part)
        raise InputError("frame 4 is damaged", "Copy the file again")

    run_instead(lambda *_, **__: failing())
    widget.run()
    qtbot.waitUntil(lambda: widget.results.save_button.isEnabled())
    qtbot.waitUntil(lambda: widget.runner.state == "idle")
    assert viewer.layers[-1].name == "stack, frames 0 to 2 localizations"
    assert "failed, the finished frames are kept" in widget.panel.summary.text()
    assert "frame 4 is damaged" in widget.panel.error.text().lower()


def test_a_window_that_closes_does_not_start_anything_more(
    widget, viewer, run_instead, qtbot
) -> None:
    run_instead(endless([Checkpoint(part)], Stage("Working")))
    widget.run()
    qtbot.waitUntil(lambda: widget._finish is not None)
    with qtbot.waitSignal(widget.runner.ended):
        widget.runner.cancel()  # as napari does
    assert widget.runner.state == "idle"
    assert len(viewer.layers) == 1


def small() -> tuple[np.ndarray, Recipe]:
    made = simulate("random", frames=6, shape=(16, 20), density_per_um2=2, on_frames=3, seed=8)
    solver = {"iterations": 40, "molecule_photons": 1500.0}
    recipe = {**made.recipe.model_dump(), "solver": solver, "background": {"photons": 20.0}}
    return made.stack, Recipe.model_validate(recipe)


@pytest.mark.parametrize("follow", ["off", "on"])
def test_a_run_stopped_at_any_event_still_tells_of_the_frames_that_are_done(
    monkeypatch, follow: str
) -> None:
    stack, recipe = small()
    recipe.localization.follow = follow
    monkeypatch.setattr(module, "_batch_size", lambda _setup: 2)
    whole = run_to_end(reconstruct(as_stack(stack), recipe)).localizations
    job, finish = reconstruct(as_stack(stack), recipe), None
    for event in job:
        if finish is not None:
            break  # somewhere in the next two frames
        if isinstance(event, Checkpoint):
            finish = event.value
    job.close()
    kept = run_to_end(finish())
    first, last = kept.record["stack"]["frames"]
    assert (first, last) in {(0, 2), (0, 4)}
    assert kept.record["frames_asked"] == [0, 6]
    assert any("Ended early" in note for note in kept.record["notes"])
    assert kept.localizations["frame"].between(0, last - 1).all()
    if follow == "off":
        expected = whole[whole["frame"] < last].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept.localizations, expected)


def test_results_are_saved_by_one_button(widget, run_instead, qtbot, tmp_path: Path) -> None:
    result = reconstruction()
    run_instead(job_of([], result))
    assert not widget.results.save_button.isEnabled()
    run(widget, qtbot)
    for _ in range(2):  # the second replaces nothing
        widget.results.save(tmp_path)
    folders = sorted(path for path in tmp_path.iterdir() if "unfolded" in path.name)
    assert [folder.name for folder in folders] == ["stack_unfolded", "stack_unfolded_2"]
    names = {path.name for path in folders[0].iterdir()}
    assert names == {"reconstruction.tif", "reconstruction.png", "localizations.csv", "run.json"}
    assert "stack_unfolded_2" in widget.panel.summary.text()


def test_a_recipe_is_loaded_from_a_layer_or_a_file_and_gives_the_same_numbers(
    viewer, open_dock, tmp_path: Path, qtbot
) -> None:
    stack, recipe = small()
    viewer.add_layer(Image(stack, name="cells", **NM))
    widget = open_dock(ReconstructWidget)
    widget.set_value(recipe)
    widget.form.preset_row.editor.set_value(None)
    widget.form.device_row.editor.set_value("cpu")
    widget.stack.frames_row.editor.set_value(slice(1, 5))
    run(widget, qtbot)
    expected = viewer.layers["cells localizations"].features
    widget.results.save(tmp_path)

    def changed() -> None:
        widget.form.upsampling_row.editor.set_value(2)
        widget.form.preset_row.editor.set_value("dense-smlm")
        widget.form.background_row.editor.set_value("auto")
        widget.stack.frames_row.editor.set_value(slice(0, 6))

    changed()
    viewer.layers.selection.active = viewer.layers["cells unfolded"]
    widget.results.load_from_layer()
    assert widget.value() == recipe
    assert widget.form.preset() is None
    assert widget.stack.frames() == slice(1, 5)
    changed()
    widget.results.load_from_file(tmp_path / "cells_unfolded" / "run.json")
    assert widget.value() == recipe
    run(widget, qtbot)
    again = viewer.layers["cells localizations [1]"].features
    pd.testing.assert_frame_equal(again, expected)


def test_what_holds_no_recipe_is_refused(widget, viewer, stack, tmp_path: Path) -> None:
    viewer.layers.selection.active = stack
    widget.results.load_from_layer()
    assert "does not tell how it was made" in widget.panel.error.text()
    (tmp_path / "other.json").write_text("[1, 2]")
    widget.results.load_from_file(tmp_path / "other.json")
    assert "no record of a run" in widget.panel.error.text()
    with pytest.raises(InputError, match="no record"):
        read_record(tmp_path / "absent.json")


def test_a_preset_that_is_not_here_is_named(widget) -> None:
    record = {"given": Recipe().model_dump(mode="json"), "preset": "of-a-colleague"}
    widget.repeat(repeat_of(record, "test"))
    assert "'of-a-colleague' of that run is not on this computer" in widget.panel.summary.text()


def saved(tmp_path: Path) -> tuple[list[Layer], dict]:
    result = reconstruction()
    result.record["recipe"] = Recipe().model_dump(mode="json")
    place = simulation_placement("cells", 100.0)
    data = (reconstruction_layer(result, place), localization_layer(result, place))
    return [Layer.create(*one) for one in data], result.record


def test_a_saved_image_keeps_its_scale_and_its_recipe(window, tmp_path: Path) -> None:
    (image, _), record = saved(tmp_path)
    window.add_layer(image)
    path = tmp_path / "unfolded.ome.tif"
    assert image.save(str(path)) == [str(path)]
    np.testing.assert_array_equal(tifffile.imread(path), image.data)
    with tifffile.TiffFile(path) as tiff:
        assert 'PhysicalSizeX="25.0"' in tiff.ome_metadata
        assert 'PhysicalSizeXUnit="nm"' in tiff.ome_metadata
    assert read_record(path) == json.loads(json.dumps(record))


def test_a_saved_stack_opens_with_its_pixel_size(window, tmp_path: Path) -> None:
    stack = window.add_image(np.ones((4, 8, 9), np.uint16), name="cells", **NM)
    stack.save(str(tmp_path / "cells.ome.tif"), plugin=PLUGIN)
    with open_stack(tmp_path / "cells.ome.tif") as again:
        assert again.pixel_size_nm == pytest.approx(100)
        assert again.shape == (4, 8, 9)


def test_saved_localizations_keep_their_recipe_beside(window, tmp_path: Path) -> None:
    (_, points), record = saved(tmp_path)
    window.add_layer(points)
    points.save(str(tmp_path / "spots.csv"), plugin=PLUGIN)
    table = read_localizations(tmp_path / "spots.csv")
    assert table["x_nm"].tolist() == [212.5]
    assert table["frame"].tolist() == [2]
    assert repeat_of(read_record(tmp_path / "spots.run.json"), "").recipe == Recipe.model_validate(
        record["recipe"]
    )


def test_points_of_unknown_size_are_written_as_napari_does(tmp_path: Path) -> None:
    data = np.array([[1.0, 2.0]])
    meta = {"name": "p", "units": ("pixel", "pixel"), "scale": (1, 1), "translate": (0, 0)}
    assert write_points(str(tmp_path / "p.csv"), data, meta) == [str(tmp_path / "p.csv")]
    assert (tmp_path / "p.csv").read_text().startswith("index,axis-0,axis-1")


def test_dropped_tables_open_whether_ours_or_naparis(
    make_napari_viewer, qtbot, tmp_path: Path
) -> None:
    window = make_napari_viewer(show=True)
    window.window.add_plugin_dock_widget(PLUGIN, "Unfold: localizations")
    qtbot.waitUntil(lambda: "*.csv" in get_settings().plugins.extension2reader)
    (_, points), _ = saved(tmp_path)
    window.add_layer(points)
    points.save(str(tmp_path / "ours.csv"), plugin=PLUGIN)
    window.add_points([[1.0, 2.0]], name="plain").save(
        str(tmp_path / "naparis.csv"), plugin="napari"
    )
    for name in ("ours", "naparis"):
        # what a drop calls, and what opens a dialog where it raises
        (opened,) = window._open_or_raise_error([str(tmp_path / f"{name}.csv")], {}, None, False)
        assert len(opened.data) == 1


def test_a_choice_of_the_user_is_not_changed() -> None:
    plugins = get_settings().plugins
    plugins.extension2reader = {"*.csv": "another"}
    assert not associate_tables()
    assert plugins.extension2reader == {"*.csv": "another"}
