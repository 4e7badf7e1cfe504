"""Localizations leave the dock as a table, and settings stay for the next session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from napari.layers import Layer
from qtpy.QtWidgets import QFileDialog

from napari_unfold.files.localizations import read_localizations
from napari_unfold.plugin.docks.reconstruct import ReconstructWidget
from napari_unfold.plugin.layers import Placement, localization_layer
from napari_unfold.reconstruction.reconstruct import reconstruct
from napari_unfold.settings.recipe import Recipe

from .conftest import run
from .results import job_of, reconstruction

DOCK = ReconstructWidget
JOB = ("napari_unfold.plugin.docks.reconstruct._reconstruction", reconstruct)

FINISHED = job_of([], reconstruction())


def test_export_writes_the_localizations(
    widget, tmp_path: Path, monkeypatch, run_instead, open_dock, qtbot
) -> None:
    run_instead(FINISHED)
    run(widget, qtbot)
    proposed = []

    def dialog(_parent, _title, proposal, _pattern):
        proposed.append(proposal)
        return str(tmp_path / "mine"), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", dialog)
    # another widget, as after closing and opening it again
    again = open_dock(ReconstructWidget)
    again.results.export_button.click()
    assert proposed == ["stack_localizations.csv"]
    table = read_localizations(tmp_path / "mine.csv")
    np.testing.assert_allclose(table[["frame", "x_nm", "y_nm"]], [[2, 212.5, 437.5]])
    assert "mine.csv" in again.panel.summary.text()


def test_export_for_another_program(widget, viewer, stack, tmp_path: Path, monkeypatch) -> None:
    """Which one is chosen in the dialog; pixel size and frames are those of the layer's stack."""
    result = reconstruction()
    result.record["stack"] = {"shape": [5, 8, 10]}
    result.record["recipe"] = {"optics": {"pixel_size_nm": 100.0}}
    viewer.add_layer(Layer.create(*localization_layer(result, Placement.of(stack))))
    offered = []

    def dialog(_parent, _title, _proposal, filters):
        offered.extend(filters.split(";;"))
        return str(tmp_path / "mine"), "SMAP (*.smap.csv)"

    monkeypatch.setattr(QFileDialog, "getSaveFileName", dialog)
    widget.results.export_button.click()
    assert offered[0] == "ThunderSTORM (*.csv)"
    assert "Picasso (*.hdf5)" in offered
    (row,) = pd.read_csv(tmp_path / "mine.smap.csv").to_dict("records")
    assert (row["frame"], row["xnm"], row["ynm"]) == (3, 262.5, 487.5)


def test_export_prefers_the_selected_points(widget, viewer, stack, tmp_path, monkeypatch) -> None:
    first, second = reconstruction(), reconstruction()
    first.localizations["x_nm"] = 55.0
    for result in (first, second):
        viewer.add_layer(Layer.create(*localization_layer(result, Placement.of(stack))))
    viewer.layers.selection.active = viewer.layers["stack localizations"]
    target = tmp_path / "out.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    widget.results.export_button.click()
    np.testing.assert_allclose(read_localizations(target)["x_nm"], [55.0])


def test_export_says_why_it_cannot(widget, viewer, stack, tmp_path, monkeypatch) -> None:
    widget.results.export_button.click()
    assert "no localizations to export" in widget.panel.error.text()
    viewer.add_layer(Layer.create(*localization_layer(reconstruction(), Placement.of(stack))))
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "nowhere" / "a.csv"), "")
    )
    widget.results.export_button.click()
    assert "no such folder" in widget.panel.error.text()


def test_settings_are_remembered(widget, run_instead, open_dock, qtbot) -> None:
    run_instead(FINISHED)
    recipe = Recipe.model_validate(
        {
            "optics": {"pixel_size_nm": 100, "psf_sigma_nm": 121.125},
            "camera": {"type": "scmos", "offset_adu": 398.6},
            "solver": {"fidelity": "kl", "upsampling": 3},
        }
    )
    widget.set_value(recipe)
    widget.form.device_row.editor.set_value("cpu")
    run(widget, qtbot)
    again = open_dock(ReconstructWidget)
    assert again.value() == recipe
    assert again.form.device() == "cpu"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"recipe": {"optics": {"pixel_size_nm": -1}}}']
)
def test_a_damaged_settings_file_is_ignored(
    stack, settings_file: Path, open_dock, content: str
) -> None:
    settings_file.parent.mkdir()
    settings_file.write_text(content)
    widget = open_dock(ReconstructWidget)
    assert widget.form.pixel_row.editor.value == 100.0
