"""Which layer is worked on, what it brings, and why it may be refused."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_unfold.plugin.docks.reconstruct import ReconstructWidget
from napari_unfold.settings.microscope import Camera, Optics
from napari_unfold.settings.recipe import Recipe

from .conftest import NM

DOCK = ReconstructWidget


def test_run_is_disabled_with_a_reason(widget) -> None:
    widget.form.pixel_row.editor.set_value("")
    assert not widget.panel.run_button.isEnabled()
    assert "Pixel size is missing" in widget.panel.run_button.toolTip()


@pytest.mark.parametrize(
    ("data", "text"),
    [(np.zeros((8, 9)), "2-D"), (np.zeros((4, 8, 9, 3), np.uint8), "colour")],
)
def test_a_layer_that_is_no_stack_is_refused_beside_the_choice(
    viewer, open_dock, data: np.ndarray, text: str
) -> None:
    viewer.add_layer(Image(data, rgb=data.ndim == 4))
    widget = open_dock(ReconstructWidget)
    assert text in widget.stack.layer_row.error.text()
    assert not widget.panel.run_button.isEnabled()


def test_without_layers_the_widget_says_where_to_find_some(open_dock) -> None:
    widget = open_dock(ReconstructWidget)
    assert "one of the samples" in widget.stack.layer_row.error.text()


def test_a_stack_added_later_is_chosen_and_brings_its_pixel_size(viewer, open_dock) -> None:
    widget = open_dock(ReconstructWidget)
    viewer.add_layer(Image(np.zeros((7, 8, 9)), scale=(1, 0.107, 0.107), units=("s", "um", "um")))
    widget.reset_choices()
    assert widget.form.pixel_row.editor.value == 107.0
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


def test_a_flat_image_is_never_asked_for_the_pixel_size_on_the_way_to_another_stack(
    viewer, open_dock
) -> None:
    frames = np.ones((4, 8, 10), np.uint16)
    fine = {"scale": (25, 25), "units": ("nm", "nm")}
    first = viewer.add_layer(Image(frames, name="first"))
    widget = open_dock(ReconstructWidget)
    widget.form.pixel_row.editor.value = 160.0
    viewer.add_layer(Image(np.ones((32, 40)), name="unfolded", **fine))
    viewer.add_layer(Image(frames, name="second"))
    viewer.layers.remove(first)
    widget.reset_choices()
    assert widget.stack.layer() is viewer.layers["second"]
    assert widget.form.pixel_row.editor.value == 160.0


def test_a_chosen_layer_stays_chosen_when_it_is_renamed_or_moved(widget, viewer, stack) -> None:
    """Magicgui's own choosers go by the name, and jump to the first layer."""
    viewer.add_layer(Image(np.ones((4, 8, 10), np.uint16), name="other", **NM))
    widget.stack.frames_row.editor.last.value = 2
    stack.name = "cells"
    viewer.layers.move(0, 2)
    widget.reset_choices()
    assert widget.stack.layer() is stack
    chooser = widget.stack.layer_row.editor
    assert chooser.current_choice == "cells"
    assert chooser.choices == tuple(viewer.layers)
    assert widget.stack.frames() == slice(0, 3)


def test_pixel_size_can_be_given_to_a_layer_without_one(viewer, open_dock) -> None:
    layer = viewer.add_layer(Image(np.zeros((7, 8, 9))))
    widget = open_dock(ReconstructWidget)
    assert widget.form.pixel_row.editor.value is None
    widget.form.pixel_row.editor.set_value("160")
    assert not widget.form.pixel_hint.isHidden()
    widget.form.pixel_hint.button.click()
    np.testing.assert_allclose(layer.scale, (1, 160, 160))
    assert [str(unit) for unit in layer.units[1:]] == ["nanometer", "nanometer"]
    assert widget.form.pixel_hint.isHidden()


def test_a_simulated_stack_brings_its_optics_and_camera(viewer: ViewerModel, open_dock) -> None:
    """Sample data are ready to run: what they were made with is known."""
    optics, camera = Optics(pixel_size_nm=120, psf_sigma_nm=140), Camera(type="ccd", offset_adu=37)
    recipe = Recipe(optics=optics, camera=camera)
    metadata = {"napari_unfold": {"recipe": recipe.model_dump(mode="json"), "sample": {}}}
    widget = open_dock(ReconstructWidget)
    frames = np.full((4, 20, 20), 140)
    scale, units = (1, 120, 120), ("pixel", "nm", "nm")
    viewer.add_layer(Image(frames, scale=scale, units=units, metadata=metadata))
    widget.reset_choices()
    assert widget.value().optics == optics
    assert widget.value().camera == camera
