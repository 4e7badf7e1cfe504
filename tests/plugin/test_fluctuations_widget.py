"""The widget of fluctuation imaging: layers, the PSF in nm, curves, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from napari.layers import Image

from napari_unfold.fluctuation.sharpen import unfold_fluctuations
from napari_unfold.jobs import Job, Metric, Note, Progress, Stage
from napari_unfold.plugin.docks.fluctuations import FluctuationsWidget
from napari_unfold.settings.fluctuation import FLUCTUATION_ITERATIONS, Fluctuation
from napari_unfold.settings.recipe import Recipe
from napari_unfold.simulation.simulated_microscope import MICROSCOPE

from .conftest import NM, outer_corners, row_of, run
from .results import PREVIEW, endless, job_of, psf_metrics, sharpened

DOCK = FluctuationsWidget
RECIPE = Recipe(camera=MICROSCOPE.camera)
JOB = ("napari_unfold.plugin.docks.fluctuations._sharpening", unfold_fluctuations)

PSF_NAME = "PSF from the data: sigma 110.0 nm, FWHM 259.0 nm"
LEARNED_NAME = "PSF learned: sigma 115.0 nm, FWHM 270.8 nm"


@pytest.fixture
def calls(run_instead: Callable[..., list[dict]]) -> list[dict]:
    """Put a short job in the place of the real one; return what it is called with."""

    def job(_: object, __: object, settings: Fluctuation, **___: object) -> Job[object]:
        steps = min(settings.learning_steps, 3)
        curve = [Metric(step, psf_metrics(step)) for step in range(steps)]
        note = Note("PSF of this stack: FWHM 259 nm")
        events = [Stage("Learning the PSF"), note, *curve, Progress(1, 2), PREVIEW]
        return job_of(events, sharpened(settings, steps))()

    return run_instead(job)


def test_no_psf_is_needed_and_the_settings_are_those_of_the_form(widget, calls, qtbot) -> None:
    row_of(widget.form, "fluctuation.image").editor.set_value("lag-1")
    row_of(widget.form, "fluctuation.learning_steps").editor.set_value(0)
    run(widget, qtbot)
    (call,) = calls
    assert call["recipe"].optics.psf_sigma_nm is None
    assert call["recipe"].solver.iterations == FLUCTUATION_ITERATIONS
    assert call["settings"] == Fluctuation(image="lag-1", learning_steps=0)
    assert call["frames"] == slice(0, 5)


def test_mean_variance_reconstruction_and_psf_become_layers(widget, viewer, calls, qtbot) -> None:
    run(widget, qtbot)
    names = [layer.name for layer in viewer.layers]
    ours = ["stack mean", "stack variance", "stack unfolded variance", PSF_NAME, LEARNED_NAME]
    assert names == ["stack", *ours]
    corners = outer_corners(viewer.layers["stack"])
    for name in names[1:4]:
        np.testing.assert_allclose(outer_corners(viewer.layers[name]), corners)
        assert viewer.layers[name].metadata["napari_unfold"]["program"] == "test"
    assert [viewer.layers[name].visible for name in names[1:4]] == [True, False, True]


def test_the_psf_has_the_scale_of_the_reconstruction_and_states_its_width(
    widget, viewer, calls, qtbot
) -> None:
    run(widget, qtbot)
    psf, image = viewer.layers[PSF_NAME], viewer.layers["stack unfolded variance"]
    np.testing.assert_allclose(psf.scale, image.scale)
    assert [str(unit) for unit in psf.units] == ["nanometer", "nanometer"]
    assert psf.metadata["sigma_nm"] == 110.0
    assert psf.metadata["fwhm_nm"] == pytest.approx(259.0, abs=0.1)
    # beside the stack, in its first rows
    corners, of_stack = outer_corners(psf), outer_corners(viewer.layers["stack"])
    assert corners[0, 1] > of_stack[1, 1]
    np.testing.assert_allclose(corners[0, 0], of_stack[0, 0])


def test_the_curve_of_sigma_stands_beside_that_of_the_data(widget, calls, qtbot) -> None:
    run(widget, qtbot)
    steps, sigmas = widget.plot.curve("PSF sigma")
    assert steps == [0, 1, 2]
    assert sigmas == pytest.approx([140.0, 130.0, 120.0])
    assert widget.plot.curve("of the data") == ([0, 1, 2], [110.0, 110.0, 110.0])
    widget.plot.draw()
    assert not widget.plot.isHidden()
    assert "259 nm, from the data (271 nm learned)" in widget.panel.summary.text()
    row_of(widget.form, "fluctuation.learning_steps").editor.set_value(0)
    run(widget, qtbot)
    assert widget.plot.isHidden()
    assert "learned" not in widget.panel.summary.text()


def test_a_learned_psf_is_named_as_such(widget, viewer, calls, qtbot) -> None:
    row_of(widget.form, "fluctuation.psf_from").editor.set_value("learned")
    run(widget, qtbot)
    assert "271 nm, learned (259 nm from the data)" in widget.panel.summary.text()
    assert [layer.name for layer in viewer.layers if layer.name[:3] == "PSF"] == [LEARNED_NAME]


def test_a_psf_that_was_learned_and_not_used_is_a_layer_too(widget, viewer, calls, qtbot) -> None:
    run(widget, qtbot)
    used, learned = viewer.layers[PSF_NAME], viewer.layers[LEARNED_NAME]
    assert learned.metadata["sigma_nm"] == 115.0
    assert learned.metadata["source"] == "learned"
    # below the other, beside the stack
    assert outer_corners(learned)[0, 0] > outer_corners(used)[1, 0]
    row_of(widget.form, "fluctuation.learning_steps").editor.set_value(0)
    viewer.layers.remove(learned)
    run(widget, qtbot)
    assert LEARNED_NAME not in viewer.layers


@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        ({"psf_from": "settings"}, "optics.psf_sigma_nm", "PSF is missing"),
        ({"weight": 2.0}, "fluctuation.weight", "Weight"),
        ({"weight": "much"}, "fluctuation.weight", "'much' is not a number"),
        (
            {"psf_from": "learned", "learning_steps": 0},
            "fluctuation.learning_steps",
            "needs learning steps",
        ),
    ],
)
def test_what_cannot_be_used_is_said_beside_the_setting(widget, changes, key, said) -> None:
    for name, value in changes.items():
        row_of(widget.form, f"fluctuation.{name}").editor.set_value(value)
    assert said in row_of(widget.form, key).error.text()
    assert not widget.panel.run_button.isEnabled()


def test_the_loss_matters_only_where_something_is_learned(widget) -> None:
    loss, steps = (
        row_of(widget.form, "fluctuation.loss"),
        row_of(widget.form, "fluctuation.learning_steps"),
    )
    assert loss.editor.enabled
    steps.editor.set_value(0)
    assert not loss.editor.enabled


def test_cancel_leaves_the_layers_as_they_were(widget, viewer, run_instead, qtbot) -> None:
    run_instead(endless())
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: "preview" in viewer.layers)
    with qtbot.waitSignal(widget.runner.ended):
        widget.panel.cancel_button.click()
    assert [layer.name for layer in viewer.layers] == ["stack"]


def test_the_real_job_runs_in_the_widget(viewer, open_dock, qtbot) -> None:
    """Emitters switching on and off at random in a small field; the mean is sharpened."""
    rng = np.random.default_rng(0)
    movie = rng.poisson(100 + 200 * rng.random((30, 1, 1)), (30, 24, 24)).astype(np.uint16)
    viewer.add_layer(Image(movie, name="stack", **NM))
    recipe = Recipe.model_validate(
        {
            "optics": {"pixel_size_nm": 100, "psf_sigma_nm": 110},
            "camera": {"offset_adu": 0, "adu_per_photon": 1, "excess_noise": 1},
            "background": {"photons": 50.0},
            "solver": {"upsampling": 2, "iterations": 20},
        }
    )
    widget = open_dock(FluctuationsWidget, recipe)
    chosen = Fluctuation(image="mean", psf_from="settings", learning_steps=0)
    widget.form.set_fluctuation(chosen)
    run(widget, qtbot)
    assert widget.panel.error.text() == ""
    assert viewer.layers["stack unfolded mean"].data.shape == (48, 48)
