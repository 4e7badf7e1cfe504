"""*Try here* in the dock: what is in view of the current frame, at once."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image

from napari_unfold.plugin import trial
from napari_unfold.plugin.docks.reconstruct import ReconstructWidget
from napari_unfold.plugin.trial import frame_in_view, region_in_view
from napari_unfold.reconstruction import look as look_module
from napari_unfold.settings.recipe import Recipe
from napari_unfold.simulation.scenes import simulate

from .conftest import NM, outer_corners

DOCK = ReconstructWidget
LAYERS = [
    "try: model (photons)",
    "try: residual (in units of the noise)",
    "try: molecules",
]


@pytest.fixture
def cells(viewer) -> tuple[Image, Recipe]:
    made = simulate("random", frames=8, shape=(40, 44), density_per_um2=0.6, seed=5)
    layer = viewer.add_layer(Image(made.stack, name="cells", translate=(0, 300, 700), **NM))
    return layer, made.recipe


def tried(widget, qtbot) -> None:
    assert widget.try_button.isEnabled()
    with qtbot.waitSignal(widget.runner.ended, timeout=60_000) as ended:
        widget.try_button.click()
    assert ended.args[0].kind == "done", ended.args[0].error


def test_the_view_is_tried_with_the_whole_stack_in_mind(
    viewer, cells, open_dock, monkeypatch, qtbot
) -> None:
    layer, recipe = cells
    widget = open_dock(ReconstructWidget, recipe)
    looks = []
    real = look_module.look
    monkeypatch.setattr(look_module, "look", lambda *a: (looks.append(a), real(*a))[1])
    monkeypatch.setattr(trial, "region_in_view", lambda _: (slice(4, 24), slice(10, 40)))
    viewer.dims.set_point(0, 5)
    tried(widget, qtbot)
    assert [shown.name for shown in viewer.layers] == ["cells", *LAYERS]
    model, residual, molecules = (viewer.layers[name] for name in LAYERS)
    assert not model.visible
    assert molecules.visible
    first, last = outer_corners(model)
    corner = outer_corners(layer)[0]
    np.testing.assert_allclose(first, corner + np.array((400, 1000)), atol=1e-6)
    np.testing.assert_allclose(last, corner + np.array((2400, 4000)), atol=1e-6)
    assert set(molecules.data[:, 0]) == {5}
    assert residual.data.shape == (20, 30)
    assert "pixels of frame 5" in widget.panel.summary.text()
    assert "takes up to about" in widget.panel.summary.text()
    assert not widget.trial.strip.isHidden()
    # the second time in the same stack nothing is looked at again, and the layers are replaced
    viewer.dims.set_point(0, 6)
    tried(widget, qtbot)
    assert len(looks) == 1
    assert len(viewer.layers) == 4
    widget.form.background_row.editor.set_value(30.0)
    tried(widget, qtbot)
    assert len(looks) == 2


def test_what_was_tried_goes_with_its_stack(viewer, cells, open_dock, qtbot) -> None:
    _, recipe = cells
    widget = open_dock(ReconstructWidget, recipe)
    tried(widget, qtbot)
    other = viewer.add_layer(Image(np.ones((4, 8, 10), np.uint16), name="other", **NM))
    widget.reset_choices()
    widget.stack.set_layer(other)
    assert [shown.name for shown in viewer.layers] == ["cells", "other"]
    assert widget.trial.strip.isHidden()


def test_the_frame_and_the_region_in_view(window) -> None:
    layer = window.add_image(np.zeros((9, 60, 80)), translate=(0, 300, 700), **NM)
    assert region_in_view(layer) == (slice(0, 60), slice(0, 80))
    window.dims.set_point(0, 6)
    assert frame_in_view(window, layer) == 6
    layer.corner_pixels = np.array([[0, 10, 20], [8, 39, 49]])
    assert region_in_view(layer) == (slice(10, 40), slice(20, 50))
    layer.corner_pixels = np.array([[0, 10, 78], [8, 12, 79]])  # too small to judge
    assert region_in_view(layer) == (slice(4, 20), slice(64, 80))
