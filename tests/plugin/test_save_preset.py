"""What was learned gets a name and a place among the presets."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_unfold.files.presets import Preset, list_presets
from napari_unfold.learning.learn import learn
from napari_unfold.plugin.docks.reconstruct import ReconstructWidget
from napari_unfold.plugin.docks.train import TrainWidget

from .conftest import run
from .results import job_of, learned

DOCK = TrainWidget
JOB = ("napari_unfold.plugin.docks.train._training", learn)

FINISHED = job_of([], learned())


def test_a_saved_preset_is_offered_at_once(
    widget, run_instead, open_dock, tmp_path: Path, qtbot
) -> None:
    reconstruct = open_dock(ReconstructWidget)
    chosen = reconstruct.form.preset().name
    run_instead(FINISHED)
    run(widget, qtbot)
    widget.save_button.click()
    dialog = widget.dialog
    qtbot.addWidget(dialog)
    dialog.title_edit.setText("Our TIRF, Alexa 647")
    assert dialog.name_edit.text() == "our-tirf-alexa-647"
    dialog.description_edit.setPlainText("Learned on Monday.")
    dialog.accept()
    assert dialog.isHidden()
    saved = Preset.model_validate_json((tmp_path / "presets/our-tirf-alexa-647.json").read_text())
    assert saved.description == "Learned on Monday."
    assert saved.networks == learned().preset.networks
    assert "our-tirf-alexa-647" in reconstruct.form.preset_row.editor.choices
    assert reconstruct.form.preset().name == chosen  # the choice stays
    assert "Our TIRF, Alexa 647" in widget.panel.summary.text()


@pytest.mark.parametrize(
    ("title", "name", "text"),
    [
        ("", "a", "The title is missing"),
        ("Fine", "not fine", "'not fine' cannot be the name"),
        ("Fine", "dense-smlm", "name 'dense-smlm' already"),
        (list_presets()[0].title, "fine", "Choose another title"),
    ],
)
def test_a_preset_that_cannot_be_saved_is_refused_in_the_dialog(
    widget, run_instead, tmp_path: Path, qtbot, title: str, name: str, text: str
) -> None:
    run_instead(FINISHED)
    run(widget, qtbot)
    widget.save_button.click()
    qtbot.addWidget(widget.dialog)
    widget.dialog.title_edit.setText(title)
    widget.dialog.name_edit.setText(name)
    widget.dialog.accept()
    assert text in widget.dialog.error.text()
    assert not widget.dialog.isHidden()
    assert not list(tmp_path.glob("presets/*"))
    widget.dialog.reject()


def test_a_file_that_is_no_preset_is_said_once(open_dock, tmp_path: Path) -> None:
    from napari.utils.notifications import notification_manager

    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "mine.json").write_text("{")
    before = len(notification_manager.records)
    for _ in range(2):
        assert open_dock(ReconstructWidget).form.preset() is not None
    said = [str(record.message) for record in list(notification_manager.records)[before:]]
    assert sum("mine.json' is not a preset" in text for text in said) == 1
