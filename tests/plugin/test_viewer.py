"""Everything the manifest promises, in a real viewer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from napari.layers import Image, Layer, Points
from pytestqt.qtbot import QtBot

from napari_unfold.files.localizations import read_localizations, write_localizations
from napari_unfold.files.table_formats import Movie
from napari_unfold.plugin.viewing import show_what_is_beside
from napari_unfold.settings.recipe import Recipe
from napari_unfold.settings.simulation import Instrument, Sample

from .conftest import NM, outer_corners
from .results import reconstruction

PLUGIN = "napari-unfold"


@pytest.fixture
def viewer(window):
    """Return the viewer with a window, which only the tests of this module need."""
    return window


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "frame": [0, 1, 4],
            "x_nm": [50.0, 212.5, 700.25],
            "y_nm": [50.0, 437.5, 60.0],
            "photons": [1500.0, 1200.0, 980.0],
        }
    )


@pytest.fixture
def widget(viewer):
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Unfold: reconstruct")
    return widget


def small_sample(viewer) -> Recipe:
    """Add a small simulated stack and return how it was made."""
    from napari_unfold.simulation.scenes import simulate

    made = simulate("random", frames=3, shape=(16, 16), density_per_um2=1.0, seed=1)
    viewer.add_image(made.stack, name="cells", scale=(1, 100, 100), units=("pixel", "nm", "nm"))
    solver = {"iterations": 40, "upsampling": 2}
    return Recipe.model_validate({**made.recipe.model_dump(), "solver": solver})


def test_a_stack_is_reconstructed_from_the_widget(viewer, widget, qtbot: QtBot) -> None:
    recipe = small_sample(viewer)
    assert widget.stack.layer() is not None
    widget.set_value(recipe)
    widget.form.device_row.editor.set_value("cpu")
    with qtbot.waitSignal(widget.runner.ended, timeout=120_000) as ended:
        widget.panel.run_button.click()
    assert ended.args[0].kind == "done", ended.args[0].error
    image, points = viewer.layers["cells unfolded"], viewer.layers["cells localizations"]
    assert image.data.shape == (32, 32)
    assert image.data.max() > 0
    np.testing.assert_allclose(
        outer_corners(image), outer_corners(viewer.layers["cells"]), atol=1e-9
    )
    assert {"x_nm", "y_nm", "photons"} <= set(points.features.columns)
    assert viewer.layers.units[-1] == image.units[-1]


def test_a_running_job_can_be_cancelled(viewer, widget, qtbot: QtBot) -> None:
    recipe = small_sample(viewer)
    recipe.solver.iterations = 5000
    widget.set_value(recipe)
    with qtbot.waitSignal(widget.runner.ended, timeout=120_000) as ended:
        widget.panel.run_button.click()
        widget.panel.cancel_button.click()
    assert ended.args[0].kind == "cancelled"
    assert len(viewer.layers) == 1


def test_every_dock_opens_from_the_menu_and_its_choosers_follow_the_viewer(viewer) -> None:
    docks = [
        viewer.window.add_plugin_dock_widget(PLUGIN, f"Unfold: {name}")[1]
        for name in ("reconstruct", "train", "fluctuations", "localizations")
    ]
    images = [dock.stack.layer_row.editor for dock in docks[:3]]
    points = [docks[3].points.layer_row.editor]
    truth = docks[1].data.truth_row.editor

    def assert_offered(image_names: list[str], points_names: list[str]) -> None:
        assert [offered(chooser) for chooser in images] == [image_names] * 3
        assert [offered(chooser) for chooser in points] == [points_names]
        assert offered(truth) == [*points_names, "CSV file"]

    assert_offered([], [])
    cells = viewer.add_image(np.zeros((3, 8, 8)), name="cells", **NM)
    spots = viewer.add_points([[0.0, 1.0, 2.0]], name="spots", **NM)
    viewer.add_labels(np.zeros((8, 8), int))
    assert_offered(["cells"], ["spots"])
    viewer.add_image(np.zeros((3, 8, 8)), name="later", **NM)
    viewer.add_points([[0.0, 1.0, 2.0]], name="more", **NM)
    assert_offered(["cells", "later"], ["spots", "more"])
    truth.set_value(spots)
    cells.name, spots.name = "cells, renamed", "spots, renamed"
    assert_offered(["cells, renamed", "later"], ["spots, renamed", "more"])
    assert {chooser.value for chooser in images} == {cells}
    assert {points[0].value, truth.value} == {spots}
    viewer.layers.remove(cells)
    viewer.layers.remove(spots)
    assert_offered(["later"], ["more"])
    viewer.layers.clear()
    assert_offered([], [])
    assert not any(dock.panel.run_button.isEnabled() for dock in docks)


def offered(chooser) -> list[str]:
    return [chooser.native.itemText(index) for index in range(chooser.native.count())]


def test_the_plots_follow_the_theme_of_the_window(viewer) -> None:
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Unfold: train")
    dark = widget.plot.background
    viewer.theme = "light"
    assert widget.plot.background != dark


@pytest.mark.parametrize("sample", ["filaments", "random", "blinking", "cell", "scmos"])
def test_samples_open_with_their_truth(viewer, sample: str) -> None:
    stack, truth = viewer.open_sample(PLUGIN, sample)
    assert isinstance(stack, Image)
    assert isinstance(truth, Points)
    assert not truth.visible
    made = stack.metadata["napari_unfold"]
    assert Recipe.model_validate(made["recipe"]).optics.psf_sigma_nm == 110
    assert Sample.model_validate(made["sample"]).frames == len(stack.data)
    Instrument.model_validate(made["instrument"])
    np.testing.assert_allclose(stack.scale, (1, 100, 100))
    first, last = outer_corners(stack)
    for point in truth.data[::500]:
        place = np.array(truth.data_to_world(point))[1:]
        assert (place >= first).all()
        assert (place <= last).all()


def test_table_opens_over_the_stack(viewer, table, tmp_path: Path) -> None:
    viewer.add_image(np.zeros((5, 8, 8)), scale=(1, 100, 100), units=("pixel", "nm", "nm"))
    write_localizations(table, tmp_path / "spots.csv")
    (points,) = viewer.open(tmp_path / "spots.csv", plugin=PLUGIN)
    # 50 nm from the corner is the centre of the first pixel, which napari puts at 0
    np.testing.assert_allclose(points.data_to_world(points.data[0]), (0, 0, 0), atol=1e-9)
    assert points.name == "spots"


def test_a_stack_without_pixel_size_is_mentioned(viewer, table, tmp_path: Path) -> None:
    from napari.utils.notifications import notification_manager

    viewer.add_image(np.zeros((5, 8, 8)), name="raw")
    write_localizations(table, tmp_path / "spots.csv")
    viewer.open(tmp_path / "spots.csv", plugin=PLUGIN)
    messages = [str(record.message) for record in notification_manager.records]
    assert any("'raw' has no pixel size" in message for message in messages)


def test_table_survives_opening_and_saving(viewer, table, tmp_path: Path) -> None:
    write_localizations(table, tmp_path / "spots.csv")
    (points,) = viewer.open(tmp_path / "spots.csv", plugin=PLUGIN)
    # no plugin named: the compound extension must find ours
    points.save(str(tmp_path / "again.thunderstorm.csv"))
    again = read_localizations(tmp_path / "again.thunderstorm.csv")
    pd.testing.assert_frame_equal(again[table.columns], table, atol=1e-5)
    assert (tmp_path / "again.thunderstorm.csv").read_text() == (tmp_path / "spots.csv").read_text()


def test_a_table_of_picasso_opens_over_the_stack(viewer, table, tmp_path: Path) -> None:
    from napari_unfold.plugin.reader import get_reader

    pytest.importorskip("h5py")
    viewer.add_image(np.zeros((5, 8, 8)), scale=(1, 100, 100), units=("pixel", "nm", "nm"))
    path = tmp_path / "spots.hdf5"
    write_localizations(table.assign(uncertainty_nm=9.0), path, Movie(100.0))
    (data,) = get_reader(str(path))(str(path))
    points = viewer.add_layer(Layer.create(*data))
    np.testing.assert_allclose(points.data_to_world(points.data[0]), (0, 0, 0), atol=1e-3)


def test_other_hdf5_files_are_left_to_other_readers(tmp_path: Path) -> None:
    from napari_unfold.plugin.reader import get_reader

    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        file["frames"] = np.zeros((3, 4, 5))
    (tmp_path / "broken.hdf5").write_bytes(b"no table")
    (tmp_path / "folder.hdf5").mkdir()
    for name in ("movie.h5", "broken.hdf5", "folder.hdf5", "absent.hdf5"):
        assert get_reader(str(tmp_path / name)) is None


@pytest.mark.parametrize(
    "content",
    [
        "1,2,3,4,5\n6,7,8,9,10\n",
        "name,value\na,1\n",
        "",
    ],
)
def test_other_csv_files_are_left_to_other_readers(tmp_path: Path, content: str) -> None:
    from napari_unfold.plugin.reader import get_reader

    file = tmp_path / "other.csv"
    file.write_text(content)
    assert get_reader(str(file)) is None
    assert get_reader([str(file)]) is None
    assert get_reader(str(tmp_path / "absent.csv")) is None


def test_napari_reads_its_own_points_as_before(viewer, tmp_path: Path) -> None:
    viewer.add_points([[1.0, 2.0]]).save(str(tmp_path / "p.csv"), plugin="napari")
    (points,) = viewer.open(tmp_path / "p.csv")
    np.testing.assert_allclose(points.data, [[1, 2]])
    # and so does this plugin, if it is asked
    (points,) = viewer.open(tmp_path / "p.csv", plugin=PLUGIN)
    np.testing.assert_allclose(points.data, [[1, 2]])


def test_the_demo_is_shown_in_place(viewer) -> None:
    from napari_unfold.plugin.show import add_to
    from napari_unfold.simulation.scenes import simulate

    add_to(viewer, simulate(frames=3, shape=(8, 10)), reconstruction())
    stack, unfolded = viewer.layers["Demo"], viewer.layers["Demo unfolded"]
    np.testing.assert_allclose(outer_corners(unfolded), outer_corners(stack), atol=1e-9)
    assert "Demo truth" in viewer.layers


def test_the_view_takes_in_what_lies_beside_unless_one_has_zoomed_in(viewer, qtbot) -> None:
    image = viewer.add_image(np.ones((40, 40)), name="image")
    viewer.add_image(np.ones((10, 10)), name="beside", translate=(0, 200))
    viewer.reset_view()
    far = viewer.scene.camera.zoom
    viewer.scene.camera.zoom = 1.5 * far
    image.corner_pixels = np.array([[0, 3], [39, 39]])
    show_what_is_beside(viewer, image)
    assert viewer.scene.camera.zoom == pytest.approx(far)
    viewer.scene.camera.zoom = 20 * far
    image.corner_pixels = np.array([[10, 10], [20, 20]])
    show_what_is_beside(viewer, image)
    assert viewer.scene.camera.zoom == pytest.approx(20 * far)
