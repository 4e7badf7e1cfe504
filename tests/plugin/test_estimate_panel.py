"""Estimates beside the form: offered, compared, and applied by a click only."""

from __future__ import annotations

import time

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from pytestqt.qtbot import QtBot

from napari_unfold.errors import InputError
from napari_unfold.estimation.estimate import Estimate
from napari_unfold.estimation.measured import Measured
from napari_unfold.estimation.photon_transfer import PhotonTransfer
from napari_unfold.jobs import Result, Stage
from napari_unfold.plugin.docks.reconstruct import ReconstructWidget
from napari_unfold.plugin.docks.train import TrainWidget
from napari_unfold.plugin.running import job_dock as job_widget
from napari_unfold.settings.microscope import FWHM_PER_SIGMA, Camera, Optics
from napari_unfold.settings.recipe import Recipe
from napari_unfold.simulation.scenes import simulate
from napari_unfold.simulation.simulated_microscope import MICROSCOPE

NM = {"scale": (1, 100, 100), "units": ("pixel", "nm", "nm")}
FOUND = Estimate(
    Measured(1.1, 0.004), PhotonTransfer(Measured(4.0, 0.04), Measured(101.0, 0.5)), ("A note",)
)
ENTERED = Recipe(
    optics=Optics(pixel_size_nm=100, psf_sigma_nm=300 / FWHM_PER_SIGMA), camera=MICROSCOPE.camera
)


@pytest.fixture
def viewer() -> ViewerModel:
    viewer = ViewerModel()
    viewer.add_layer(Image(np.full((5, 16, 16), 120, np.uint16), name="stack", **NM))
    return viewer


@pytest.fixture(params=[ReconstructWidget, TrainWidget])
def widget(request, viewer: ViewerModel, qtbot: QtBot):
    widget = request.param(viewer)
    widget.settings.set_acquisition(ENTERED)

    def stop(widget) -> None:
        widget.settings.estimates.clear()
        qtbot.waitUntil(lambda: widget.settings.estimates.runner.state == "idle")

    qtbot.addWidget(widget, before_close_func=stop)
    return widget


@pytest.fixture
def panel(widget, monkeypatch):
    def job(*_):
        yield Stage("Comparing")
        yield Result(FOUND)

    monkeypatch.setattr(job_widget, "_estimation", job)
    return widget.settings.estimates


def ask(panel, qtbot: QtBot) -> None:
    with qtbot.waitSignal(panel.runner.ended):
        panel.button.click()


def test_nothing_changes_before_a_click(widget, panel, qtbot) -> None:
    before = widget.value()
    ask(panel, qtbot)
    assert widget.value() == before
    assert "259.03 ± 0.94" in panel.values["psf"].text()
    assert "101.00 ± 0.50" in panel.values["offset_adu"].text()
    assert "2.000 ± 0.020" in panel.values["adu_per_photon"].text()
    assert panel.notes.text() == "A note."


def test_each_value_can_be_used_by_itself(widget, panel, qtbot) -> None:
    ask(panel, qtbot)
    panel.use_buttons["psf"].click()
    used = widget.value()
    assert used.optics.psf_fwhm_nm == pytest.approx(259.03)
    assert used.camera == ENTERED.camera
    assert panel.use_buttons["psf"].text() == "In use"
    panel.use_buttons["offset_adu"].click()
    assert widget.value().camera == ENTERED.camera.model_copy(update={"offset_adu": 101})


def test_all_values_can_be_used_at_once(widget, panel, qtbot) -> None:
    widget.settings.set_acquisition(Recipe(optics=ENTERED.optics, camera=Camera(type="ccd")))
    ask(panel, qtbot)
    panel.all_button.click()
    assert widget.value().optics.psf_fwhm_nm == pytest.approx(259.03)
    assert widget.value().camera == Camera(type="ccd", offset_adu=101, adu_per_photon=4)
    assert panel.all_button.isHidden()


def test_what_is_entered_is_contradicted_beyond_three_standard_errors(widget, panel, qtbot) -> None:
    ask(panel, qtbot)
    assert "differs from the 300 entered" in panel.values["psf"].text()
    assert "differs" not in panel.values["offset_adu"].text()
    widget.settings.psf_row.editor.set_value(Optics(psf_sigma_nm=110.4))
    assert "differs" not in panel.values["psf"].text()


def test_values_follow_what_else_is_entered(widget, panel, qtbot) -> None:
    ask(panel, qtbot)
    rows = {row.key: row for row in widget.settings.camera.rows}
    rows["camera.excess_noise"].editor.set_value(1.0)
    assert "4.000 ± 0.040" in panel.values["adu_per_photon"].text()
    rows["camera.read_noise_photons"].editor.set_value(1.0)
    # read variance (1 photon x 4 ADU)^2 over the slope of 4 ADU
    assert "105.00" in panel.values["offset_adu"].text()
    widget.settings.psf_row.editor.kind.set_value("sigma")
    assert "PSF sigma <b>110.00" in panel.values["psf"].text()
    widget.settings.pixel_row.editor.setText("")
    assert "1.1000 ± 0.0040</b> pixels" in panel.values["psf"].text()
    assert not panel.use_buttons["psf"].isEnabled()


def test_an_estimate_can_be_cancelled_and_belongs_to_its_layer(
    widget, panel, viewer, qtbot, monkeypatch
) -> None:
    ask(panel, qtbot)
    viewer.add_layer(Image(np.full((5, 16, 16), 120, np.uint16), name="other", **NM))
    widget.reset_choices()
    widget.stack.set_layer(viewer.layers["other"])
    assert panel.values["psf"].isHidden()

    def endless(*_):
        while True:
            time.sleep(0.01)
            yield Stage("Comparing")

    monkeypatch.setattr(job_widget, "_estimation", endless)
    panel.button.click()
    qtbot.waitUntil(lambda: panel.stage.text() == "Comparing")
    assert panel.button.text() == "Cancel estimate"
    ask(panel, qtbot)
    assert panel.button.text() == "Estimate from stack…"
    assert panel.estimate is None


def test_an_error_is_shown_in_place(widget, panel, qtbot, monkeypatch) -> None:
    def failing(*_):
        yield Stage("Comparing")
        raise InputError("too few frames", "Choose more")

    monkeypatch.setattr(job_widget, "_estimation", failing)
    ask(panel, qtbot)
    assert panel.error.text() == "Too few frames. Choose more."


def test_a_simulated_stack_from_the_button_to_the_form(viewer, qtbot) -> None:
    """The real job in the background: FWHM 259 nm, offset 100 ADU, gain 2 ADU/photon."""
    stack = simulate("random", frames=40, recipe=MICROSCOPE).stack
    viewer.layers.clear()
    viewer.add_layer(Image(stack, name="simulated", **NM))
    widget = ReconstructWidget(viewer)
    qtbot.addWidget(widget)
    panel = widget.settings.estimates
    widget.settings.camera.rows[0].editor.set_value("emccd")
    with qtbot.waitSignal(panel.runner.ended, timeout=60_000):
        panel.button.click()
    panel.all_button.click()
    used = widget.value()
    assert used.optics.psf_fwhm_nm == pytest.approx(259, rel=0.03)
    assert used.camera.adu_per_photon == pytest.approx(2, rel=0.1)
    assert used.camera.offset_adu == pytest.approx(100, abs=6)


def test_without_a_stack_there_is_nothing_to_ask(qtbot) -> None:
    widget = ReconstructWidget(ViewerModel())
    qtbot.addWidget(widget)
    assert not widget.settings.estimates.button.isEnabled()
