"""The PSF learned from the stack: offered, compared, shown, and applied by a click only."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image
from pytestqt.qtbot import QtBot

from napari_unfold.errors import InputError
from napari_unfold.estimation.hidden_pixels import UntoldError
from napari_unfold.estimation.learn_psf_width import LearnedWidth, learn_psf_width
from napari_unfold.estimation.measured import Measured
from napari_unfold.jobs import Stage
from napari_unfold.plugin.docks.reconstruct import ReconstructWidget
from napari_unfold.settings.microscope import FWHM_PER_SIGMA

from .conftest import NM, outer_corners
from .results import endless, failing, job_of

DOCK = ReconstructWidget
JOB = ("napari_unfold.plugin.docks.reconstruct._learning", learn_psf_width)

FOUND = LearnedWidth(Measured(1.15, 0.008), Measured(1.16, 0.006), 1.1, 900, 40)
LAYER = "PSF learned: sigma 115.0 nm, FWHM 270.8 nm"


@pytest.fixture
def panel(widget):
    return widget.form.learned_psf


def learn(panel, qtbot: QtBot) -> None:
    with qtbot.waitSignal(panel.runner.ended):
        panel.button.click()


def test_it_is_learned_with_the_settings_of_the_form_and_changes_nothing(
    widget, panel, run_instead, qtbot
) -> None:
    calls = run_instead(job_of([Stage("Learning")], FOUND))
    before = widget.value()
    learn(panel, qtbot)
    (call,) = calls
    assert call["recipe"] == before == widget.value()
    assert call["frames"] == slice(0, 5)
    assert "270.8 ± 1.9" in panel.value.text()
    assert "differs from the 259" in panel.value.text()
    said = panel.comparison.text()
    assert "900 molecules in 40 frames" in said
    assert "agrees with that of the fluctuations, FWHM 273.2 ± 1.4 nm (-0.9 %)" in said


def test_a_click_uses_it(widget, panel, run_instead, qtbot) -> None:
    run_instead(job_of([], FOUND))
    learn(panel, qtbot)
    panel.use_button.click()
    assert widget.value().optics.psf_sigma_nm == pytest.approx(270.8 / FWHM_PER_SIGMA)
    assert panel.use_button.text() == "In use"
    assert not panel.use_button.isEnabled()


def test_it_is_a_layer_beside_the_stack(widget, panel, viewer, stack, run_instead, qtbot) -> None:
    run_instead(job_of([], FOUND))
    learn(panel, qtbot)
    psf = viewer.layers[LAYER]
    assert psf.metadata["sigma_nm"] == pytest.approx(115.0)
    assert psf.metadata["source"] == "learned"
    assert outer_corners(psf)[0, 1] > outer_corners(stack)[1, 1]
    assert psf not in widget.stack.layer_row.editor.choices
    # the width that the picture has: its second moment, without that of its own pixels
    profile, fine_nm = psf.data.sum(0), psf.scale[1]
    at = fine_nm * (np.arange(len(profile)) - len(profile) // 2)
    variance = float((profile * at**2).sum()) - fine_nm**2 / 12
    assert variance**0.5 == pytest.approx(115.0, rel=0.01)


def test_it_replaces_what_was_learned_before(panel, viewer, run_instead, qtbot) -> None:
    run_instead(job_of([], FOUND))
    learn(panel, qtbot)
    learn(panel, qtbot)
    assert [layer.name for layer in viewer.layers] == ["stack", LAYER]


def test_a_width_in_doubt_is_shown_and_not_offered(widget, panel, run_instead, qtbot) -> None:
    doubt = UntoldError("molecules and fluctuations disagree", "Measure a bead")
    run_instead(job_of([], LearnedWidth(*list(vars(FOUND).values())[:5], doubt)))
    learn(panel, qtbot)
    assert panel.use_button.isHidden()
    assert "contradicts" in panel.comparison.text()
    assert "Measure a bead" in panel.comparison.text()


def test_that_it_cannot_be_learned_is_said(widget, panel, viewer, run_instead, qtbot) -> None:
    doubt = UntoldError("12 molecules are too few", "Use more frames")
    run_instead(job_of([], LearnedWidth(None, None, 1.1, 12, 5, doubt)))
    learn(panel, qtbot)
    assert panel.value.isHidden()
    assert panel.comparison.text() == (
        "The width of the PSF cannot be learned: 12 molecules are too few. Use more frames."
    )
    assert [layer.name for layer in viewer.layers] == ["stack"]


def test_it_can_be_cancelled_and_belongs_to_its_layer(
    widget, panel, viewer, run_instead, qtbot
) -> None:
    run_instead(job_of([], FOUND))
    learn(panel, qtbot)
    viewer.add_layer(Image(np.full((5, 16, 16), 120, np.uint16), name="other", **NM))
    widget.reset_choices()
    widget.stack.set_layer(viewer.layers["other"])
    assert panel.value.isHidden()
    run_instead(endless(then=Stage("Learning")))
    panel.button.click()
    qtbot.waitUntil(lambda: panel.stage.text() == "Learning")
    assert panel.button.text() == "Cancel learning"
    learn(panel, qtbot)
    assert panel.width is None


def test_an_error_is_shown_in_place(panel, run_instead, qtbot) -> None:
    run_instead(failing(InputError("too few frames", "Choose more")))
    learn(panel, qtbot)
    assert panel.error.text() == "Too few frames. Choose more."
