"""One picture of all localizations that follows the conditions of the filter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from napari.layers import Layer

from napari_unfold.plugin.docks.localizations import LocalizationsWidget
from napari_unfold.plugin.layers import points_layer
from napari_unfold.plugin.sample_data import simulation_placement

TABLE = pd.DataFrame(
    {
        "frame": [0, 1, 2],
        "x_nm": [95.0, 405.0, 705.0],
        "y_nm": [205.0, 205.0, 705.0],
        "photons": [100.0, 200.0, 300.0],
    }
)


@pytest.fixture
def dock(viewer, open_dock, qtbot) -> LocalizationsWidget:
    place = simulation_placement("cells", 100.0)
    viewer.add_layer(Layer.create(*points_layer(TABLE, place, 100.0, name="spots")))
    dock = open_dock(LocalizationsWidget)
    dock.picture_box.setChecked(True)
    qtbot.waitUntil(lambda: "spots picture" in viewer.layers)
    return dock


def lit(viewer) -> set[tuple[int, int]]:
    """Return the pixels of 10 nm that hold a localization."""
    return {tuple(map(int, place)) for place in np.argwhere(viewer.layers["spots picture"].data)}


def test_the_picture_shows_all_and_follows_the_filter(dock, viewer, qtbot) -> None:
    assert lit(viewer) == {(20, 9), (20, 40), (70, 70)}
    dock.filter.form.ranges[0].low.set_value(150.0)
    qtbot.waitUntil(lambda: lit(viewer) == {(20, 40), (70, 70)})
    dock.filter.form.ranges[0].low.set_value(1000.0)
    qtbot.waitUntil(lambda: lit(viewer) == set())
    dock.filter.form.ranges[0].low.set_value(None)
    qtbot.waitUntil(lambda: len(lit(viewer)) == 3)
    assert [layer.name for layer in viewer.layers] == ["spots", "spots picture"]


def test_the_picture_lies_over_its_points(dock, viewer) -> None:
    points, picture = viewer.layers
    place = picture.data_to_world((20, 9))  # the centre of the pixel of the first point
    np.testing.assert_allclose(place, np.array(points.data_to_world(points.data[0]))[1:])
    assert picture.blending == "additive"


def test_the_picture_goes_when_it_is_not_wanted(dock, viewer, qtbot) -> None:
    dock.picture_box.setChecked(False)
    assert "spots picture" not in viewer.layers
    qtbot.waitUntil(lambda: dock.picture.runner.state == "idle")
