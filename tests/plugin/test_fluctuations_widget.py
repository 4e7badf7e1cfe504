"""The widget of fluctuation imaging: layers, the PSF in nm, curves, and what it refuses."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from pytestqt.qtbot import QtBot

from napari_unfold.jobs import Job, Metric, Note, Preview, Progress, Result, Stage
from napari_unfold.plugin.docks import fluctuations
from napari_unfold.plugin.docks.fluctuations import FluctuationsWidget
from napari_unfold.settings.fluctuation import FLUCTUATION_ITERATIONS, Fluctuation
from napari_unfold.settings.recipe import Recipe
from napari_unfold.simulation.simulated_microscope import MICROSCOPE

from .conftest import outer_corners

NM = {"scale": (1, 100, 100), "units": ("pixel", "nm", "nm")}
PSF_NAME = "PSF sigma 110.0 nm, FWHM 259.0 nm"


def result(settings: Fluctuation, steps: int = 3) -> SimpleNamespace:
    """Return what the job yields for 8 x 10 camera pixels at an upsampling of 4."""
    sigma_nm = 115.0 if settings.psf_from == "learned" else 110.0
    return SimpleNamespace(
        mean=np.full((8, 10), 50, np.float32),
        variance=np.full((8, 10), 9, np.float32),
        reconstruction=np.eye(32, 40, dtype=np.float32),
        psf=np.full((19, 19), 1 / 361, np.float32),
        sigma_nm=sigma_nm,
        fwhm_nm=2.3548 * sigma_nm,
        data_sigma_nm=110.0,
        data_sigma_error_nm=1.0,
        learned_sigma_nm=115.0 if steps else None,
        history=[{"PSF sigma": 140.0 - 10 * step} for step in range(steps)],
        settings=settings,
        pixel_size_nm=100.0,
        upsampling=4,
        record={"program": "test"},
    )


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def stack(viewer: ViewerModel) -> Image:
    movie = np.full((20, 8, 10), 120, np.uint16)
    return viewer.add_layer(Image(movie, name="stack", translate=(0, 300, 700), **NM))


@pytest.fixture
def widget(viewer: ViewerModel, stack: Image, qtbot: QtBot):
    widget = FluctuationsWidget(viewer)
    widget.form.set_acquisition(Recipe(camera=MICROSCOPE.camera))

    def stop(widget: FluctuationsWidget) -> None:
        widget.cancel()
        qtbot.waitUntil(lambda: widget.runner.state == "idle")

    qtbot.addWidget(widget, before_close_func=stop)
    return widget


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Put a short job in the place of the real one; return what it is called with."""
    calls: list[dict] = []

    def job(stack, recipe, settings, **keywords) -> Job:
        calls.append({"stack": stack, "recipe": recipe, "settings": settings, **keywords})
        steps = min(settings.learning_steps, 3)
        yield Stage("Learning the PSF")
        yield Note("PSF of this stack: FWHM 259 nm")
        for step in range(steps):
            yield Metric(step, {"training loss": 1.0, "PSF sigma": 140.0 - 10 * step})
        yield Progress(1, 2)
        yield Preview(np.ones((32, 40), np.float32))
        yield Result(result(settings, steps))

    monkeypatch.setattr(fluctuations, "_sharpening", job)
    return calls


def row(widget: FluctuationsWidget, key: str):
    return next(row for row in widget.form.rows if row.key == key)


def run(widget: FluctuationsWidget, qtbot: QtBot) -> None:
    assert widget.panel.run_button.isEnabled(), widget.panel.run_button.toolTip()
    with qtbot.waitSignal(widget.runner.ended):
        widget.panel.run_button.click()


def test_no_psf_is_needed_and_the_settings_are_those_of_the_form(widget, calls, qtbot) -> None:
    row(widget, "fluctuation.image").editor.set_value("lag-1")
    row(widget, "fluctuation.learning_steps").editor.set_value(0)
    run(widget, qtbot)
    (call,) = calls
    assert call["recipe"].optics.psf_sigma_nm is None
    assert call["recipe"].solver.iterations == FLUCTUATION_ITERATIONS
    assert call["settings"] == Fluctuation(image="lag-1", learning_steps=0)
    assert call["frames"] == slice(0, 20)


def test_mean_variance_reconstruction_and_psf_become_layers(widget, viewer, calls, qtbot) -> None:
    run(widget, qtbot)
    names = [layer.name for layer in viewer.layers]
    assert names == ["stack", "stack mean", "stack variance", "stack unfolded variance", PSF_NAME]
    corners = outer_corners(viewer.layers["stack"])
    for name in names[1:4]:
        np.testing.assert_allclose(outer_corners(viewer.layers[name]), corners)
        assert viewer.layers[name].metadata["napari_unfold"] == {"program": "test"}
    assert [viewer.layers[name].visible for name in names[1:4]] == [False, False, True]


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
    assert widget.plot.curve("PSF sigma") == ([0, 1, 2], [140.0, 130.0, 120.0])
    assert widget.plot.curve("of the data") == ([0, 1, 2], [110.0, 110.0, 110.0])
    widget.plot.draw()
    assert not widget.plot.isHidden()
    assert "259 nm, from the data (271 nm learned)" in widget.panel.summary.text()
    row(widget, "fluctuation.learning_steps").editor.set_value(0)
    run(widget, qtbot)
    assert widget.plot.isHidden()
    assert "learned" not in widget.panel.summary.text()


def test_a_learned_psf_is_named_as_such(widget, viewer, calls, qtbot) -> None:
    row(widget, "fluctuation.psf_from").editor.set_value("learned")
    run(widget, qtbot)
    assert "271 nm, learned (259 nm from the data)" in widget.panel.summary.text()
    assert "PSF sigma 115.0 nm, FWHM 270.8 nm" in viewer.layers


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
        row(widget, f"fluctuation.{name}").editor.set_value(value)
    assert said in row(widget, key).error.text()
    assert not widget.panel.run_button.isEnabled()


def test_the_loss_matters_only_where_something_is_learned(widget) -> None:
    loss, steps = row(widget, "fluctuation.loss"), row(widget, "fluctuation.learning_steps")
    assert loss.editor.isEnabled()
    steps.editor.set_value(0)
    assert not loss.editor.isEnabled()


def test_cancel_leaves_the_layers_as_they_were(widget, viewer, monkeypatch, qtbot) -> None:
    def endless(*_, **__) -> Job:
        while True:
            time.sleep(0.01)
            yield Preview(np.ones((32, 40), np.float32))

    monkeypatch.setattr(fluctuations, "_sharpening", endless)
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: "preview" in viewer.layers)
    with qtbot.waitSignal(widget.runner.ended):
        widget.panel.cancel_button.click()
    assert [layer.name for layer in viewer.layers] == ["stack"]


def test_the_real_job_runs_in_the_widget(qtbot) -> None:
    """Emitters switching on and off at random in a small field; the mean is sharpened."""
    rng = np.random.default_rng(0)
    movie = rng.poisson(100 + 200 * rng.random((30, 1, 1)), (30, 24, 24)).astype(np.uint16)
    viewer = ViewerModel()
    viewer.add_layer(Image(movie, name="stack", **NM))
    widget = FluctuationsWidget(viewer)
    qtbot.addWidget(widget)
    widget.set_value(
        Recipe.model_validate(
            {
                "optics": {"pixel_size_nm": 100, "psf_sigma_nm": 110},
                "camera": {"offset_adu": 0, "adu_per_photon": 1, "excess_noise": 1},
                "background": {"photons": 50.0},
                "solver": {"upsampling": 2, "iterations": 20},
            }
        )
    )
    chosen = Fluctuation(image="mean", psf_from="settings", learning_steps=0)
    widget.form.set_fluctuation(chosen)
    run(widget, qtbot)
    assert widget.panel.error.text() == ""
    assert viewer.layers["stack unfolded mean"].data.shape == (48, 48)
