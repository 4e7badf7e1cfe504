"""Numbers never pass from one stack to another unseen, nor from our own results to a stack."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_unfold.files.presets import load_preset
from napari_unfold.jobs import Checkpoint, Stage
from napari_unfold.plugin.docks.fluctuations import FluctuationsWidget
from napari_unfold.plugin.docks.reconstruct import ReconstructWidget
from napari_unfold.plugin.docks.train import TrainWidget
from napari_unfold.plugin.forms.preset_fit import sigma_of_point
from napari_unfold.plugin.layers import image_layer
from napari_unfold.plugin.remember import load_last_settings
from napari_unfold.plugin.sample_data import simulation_placement
from napari_unfold.reconstruction.reconstruct import reconstruct
from napari_unfold.settings.microscope import Camera, Optics
from napari_unfold.settings.recipe import Recipe

from .conftest import NM, READY, run
from .results import endless, job_of, learned, reconstruction

DOCK = ReconstructWidget
JOB = ("napari_unfold.plugin.docks.reconstruct._reconstruction", reconstruct)
FRAMES = np.ones((4, 8, 10), np.uint16)


def made_by_us(viewer: ViewerModel, name: str, image: np.ndarray) -> Image:
    """Add an image with pixels of 25 nm, as results are."""
    place = simulation_placement("stack", 100.0)
    data, keywords, _ = image_layer(
        image, 4, place, name=name, metadata={"napari_unfold": {"software": "napari-unfold"}}
    )
    return viewer.add_layer(Image(data, **keywords))


def sample(viewer: ViewerModel) -> Image:
    """Add a sample of another microscope than the user's."""
    optics, camera = Optics(pixel_size_nm=120, psf_sigma_nm=140), Camera(type="ccd", offset_adu=37)
    made = {"recipe": Recipe(optics=optics, camera=camera).model_dump(mode="json"), "sample": {}}
    return viewer.add_layer(
        Image(FRAMES, scale=(1, 120, 120), units=NM["units"], metadata={"napari_unfold": made})
    )


@pytest.mark.parametrize("dock", [ReconstructWidget, TrainWidget, FluctuationsWidget])
def test_our_own_results_are_no_stack_and_tell_no_pixel_size(viewer, open_dock, dock) -> None:
    widget = open_dock(dock)
    widget.settings.pixel_row.editor.set_value(100.0)
    made_by_us(viewer, "unfolded", np.ones((32, 40), np.float32))
    widget.reset_choices()
    assert widget.stack.layer() is None
    assert widget.settings.pixel_row.editor.value == 100.0


def test_training_twice_without_a_stack_keeps_the_pixel_size(
    viewer, open_dock, monkeypatch, qtbot
) -> None:
    monkeypatch.setattr("napari_unfold.plugin.docks.train._training", job_of([], learned()))
    widget = open_dock(TrainWidget)
    widget.settings.set_acquisition(READY)
    for _ in range(2):
        run(widget, qtbot)
        widget.reset_choices()
        assert widget.value().optics == READY.optics


def test_after_the_stack_is_deleted_its_result_does_not_take_its_place(
    widget, viewer, stack, run_instead, qtbot
) -> None:
    run_instead(job_of([], reconstruction()))
    run(widget, qtbot)
    viewer.layers.remove(stack)
    widget.reset_choices()
    assert widget.stack.layer() is None
    assert not widget.panel.run_button.isEnabled()
    viewer.add_layer(Image(FRAMES, name="other"))  # states no pixel size
    widget.reset_choices()
    assert widget.form.pixel_row.editor.value != 25.0


def test_a_layer_without_pixel_size_does_not_inherit_that_of_another(viewer, open_dock) -> None:
    viewer.add_layer(Image(FRAMES, name="first", **NM))
    widget = open_dock(ReconstructWidget)
    assert widget.form.pixel_row.editor.value == 100.0
    second = viewer.add_layer(Image(FRAMES, name="second"))
    widget.reset_choices()
    widget.stack.set_layer(second)
    assert widget.form.pixel_row.editor.value is None
    assert "Pixel size is missing" in widget.panel.run_button.toolTip()


def test_what_the_user_typed_comes_back_and_is_said_to_be_typed(viewer, open_dock) -> None:
    bare = viewer.add_layer(Image(FRAMES, name="bare"))
    widget = open_dock(ReconstructWidget)
    widget.form.pixel_row.editor.set_value(160.0)
    stated = viewer.add_layer(Image(FRAMES, name="stated", **NM))
    widget.reset_choices()
    widget.stack.set_layer(stated)
    assert widget.form.pixel_row.editor.value == 100.0
    widget.stack.set_layer(bare)
    assert widget.form.pixel_row.editor.value == 160.0
    assert "160 nm is what you entered" in widget.form.pixel_hint._text.text()


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"scale": (1, 100, 160), "units": ("pixel", "nm", "nm")}, "100 x 160 nm"),
        ({"scale": (1, 1, 2)}, "1 : 2"),
    ],
)
def test_pixels_that_are_not_square_are_refused_with_the_reason(
    viewer, open_dock, keywords: dict, text: str
) -> None:
    viewer.add_layer(Image(FRAMES, **keywords))
    widget = open_dock(ReconstructWidget)
    widget.form.set_acquisition(READY)
    assert text in widget.stack.layer_row.error.text()
    assert "not square" in widget.panel.run_button.toolTip()


def test_a_sample_lends_its_microscope_and_the_users_own_comes_back(
    widget, viewer, stack, run_instead, qtbot
) -> None:
    run_instead(job_of([], reconstruction()))
    widget.form.camera.rows[1].editor.set_value(123.0)
    own = widget.value()
    lent = sample(viewer)
    widget.reset_choices()
    widget.stack.set_layer(lent)
    assert widget.value().optics.psf_sigma_nm == 140
    run(widget, qtbot)
    remembered = load_last_settings()
    assert remembered.recipe.camera == own.camera
    assert remembered.recipe.optics.psf_sigma_nm == own.optics.psf_sigma_nm
    assert remembered.pixel_size_nm is None  # the layer told it
    widget.stack.set_layer(stack)
    assert widget.value() == own


def test_the_pixel_size_of_a_layer_is_not_remembered_as_the_users(
    widget, run_instead, qtbot, open_dock, viewer, stack
) -> None:
    run_instead(job_of([], reconstruction()))
    widget.form.adopt_pixel_size(100.0)
    run(widget, qtbot)
    viewer.layers.clear()
    viewer.add_layer(Image(FRAMES, name="bare"))
    again = open_dock(ReconstructWidget)
    assert again.form.camera.rows[0].editor.value == READY.camera.type
    assert again.form.pixel_row.editor.value in (None, 100.0)
    assert load_last_settings().pixel_size_nm == again.form.pixel_row.editor.value


def test_what_is_said_of_one_stack_does_not_stay_under_another(
    widget, viewer, run_instead, qtbot
) -> None:
    run_instead(job_of([Stage("Working")], reconstruction()))
    run(widget, qtbot)
    assert "'stack': 1 localizations" in widget.panel.summary.text()
    other = viewer.add_layer(Image(FRAMES, name="other", **NM))
    widget.reset_choices()
    widget.stack.set_layer(other)
    assert not widget.panel.summary.text()
    assert not widget.panel.notes.text()


def test_cancelled_at_the_first_step_nothing_was_learned(
    viewer, open_dock, monkeypatch, qtbot
) -> None:
    start = learned(1)
    monkeypatch.setattr(
        "napari_unfold.plugin.docks.train._training",
        endless([Checkpoint(start)], Stage("Learning")),
    )
    widget = open_dock(TrainWidget)
    widget.settings.set_acquisition(READY)
    widget.run()
    qtbot.waitUntil(lambda: widget.learned is not None)
    with qtbot.waitSignal(widget.runner.ended):
        widget.cancel()
    assert "before anything was learned" in widget.panel.summary.text()
    assert not widget.save_button.isEnabled()


def test_a_preset_learned_for_other_optics_says_so(widget) -> None:
    widget.form.preset_row.editor.set_value("dense-smlm")  # of 110 nm at 100 nm pixels
    assert not widget.form.preset_warning.text()
    widget.form.set_acquisition(Recipe(optics=Optics(pixel_size_nm=160, psf_sigma_nm=110)))
    assert "1.1 camera pixels, yours is 0.69" in widget.form.preset_warning.text()
    widget.form.set_acquisition(READY)
    widget.form.upsampling_row.editor.set_value(2)
    assert "upsampling of 4, not 2" in widget.form.preset_warning.text()


def test_the_width_of_a_psf_follows_from_the_energy_of_a_point() -> None:
    energy = load_preset("dense-smlm").networks["gaussian"].reference.point_energy
    assert sigma_of_point(energy) == pytest.approx(1.1, abs=0.01)
    # a Gaussian sampled without the pixels' own width, by quadrature
    grid = np.arange(-40, 41)
    profile = np.exp(-(grid**2) / (2 * (2.0**2 + 1 / 12)))
    profile /= profile.sum()
    energy = float(np.sum(np.outer(profile, profile) ** 2))
    assert sigma_of_point(energy) == pytest.approx(2.0, rel=1e-3)
