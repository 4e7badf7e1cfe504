"""The reference says of every setting where it is in the window."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from napari_unfold.plugin.docks.camera import CameraMapsWidget
from napari_unfold.plugin.docks.fluctuations import FluctuationsWidget
from napari_unfold.plugin.docks.localizations import LocalizationsWidget
from napari_unfold.plugin.docks.reconstruct import ReconstructWidget
from napari_unfold.plugin.docks.train import TrainWidget

SCRIPT = Path(__file__).parents[2] / "docs" / "make_reference.py"
DOCKS = [
    ReconstructWidget,
    TrainWidget,
    FluctuationsWidget,
    LocalizationsWidget,
    CameraMapsWidget,
]


def rows_of(dock: Any) -> list[Any]:
    """Return all rows of a dock."""
    if isinstance(dock, CameraMapsWidget):
        return dock.rows
    if isinstance(dock, LocalizationsWidget):
        return [row for task in dock.tasks for row in task.form.rows]
    return dock.settings.rows


@pytest.mark.parametrize("kind", DOCKS)
def test_the_settings_of_a_dock_are_those_that_the_reference_tells(
    kind: Any, viewer: Any, qtbot: QtBot
) -> None:
    script = runpy.run_path(str(SCRIPT))
    dock = kind(viewer)
    qtbot.addWidget(dock)
    told = {key for keys in script["WINDOW"][kind.title].values() for key in keys}
    known = {f"{s}.{name}" for s, m in script["SECTIONS"].items() for name in m.model_fields}
    assert {row.key for row in rows_of(dock)} & known == told
