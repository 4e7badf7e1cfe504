"""Found against true molecules in the window, as the SMLM challenge counts them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from napari.layers import Layer, Points

from napari_unfold.files.localizations import write_localizations
from napari_unfold.plugin.docks.localizations import LocalizationsWidget
from napari_unfold.plugin.layers import METADATA_KEY, points_layer
from napari_unfold.plugin.sample_data import simulation_placement
from napari_unfold.tables.evaluate import evaluate, matched_rows

from .conftest import run

TRUTH = pd.DataFrame(
    {
        "frame": [0, 0, 1, 5],
        "x_nm": [100.0, 900.0, 500.0, 300.0],
        "y_nm": [100.0, 900.0, 500.0, 300.0],
    }
)
# 30 nm off, 200 nm off, of another frame
FOUND = pd.DataFrame(
    {"frame": [0, 0, 2], "x_nm": [130.0, 900.0, 500.0], "y_nm": [100.0, 1100.0, 500.0]}
)


def add(viewer, table: pd.DataFrame, name: str, frames: tuple[int, int] | None = None) -> Points:
    record = {} if frames is None else {"stack": {"frames": list(frames)}}
    data = points_layer(
        table,
        simulation_placement("cells", 100.0),
        100.0,
        name=name,
        metadata={METADATA_KEY: record},
    )
    return viewer.add_layer(Layer.create(*data))


@pytest.fixture
def dock(viewer, open_dock) -> LocalizationsWidget:
    add(viewer, TRUTH, "cells truth")
    found = add(viewer, FOUND, "cells localizations", (0, 4))
    dock = open_dock(LocalizationsWidget)
    dock.points.set_layer(found)
    dock.set_task("Evaluate")
    return dock


def test_scores_and_colours(dock, viewer, qtbot) -> None:
    assert dock.evaluate.truth_row.editor.value is viewer.layers["cells truth"]
    run(dock, qtbot)
    text = dock.panel.summary.text()
    # the truth of frame 5 was never looked for
    assert "frames 0 to 3: 3 found, 3 true molecules" in text
    # one pair of five at 50 and 100 nm, two of four at 250 nm
    assert text.count("20.0") == 2
    assert "50.0" in text
    kinds = {
        kind: viewer.layers[f"cells localizations {kind} at 100 nm"]
        for kind in ("true", "missed", "false")
    }
    np.testing.assert_allclose(kinds["true"].data[:, 1:], [[100, 130]])
    np.testing.assert_allclose(kinds["missed"].data, [[0, 900, 900], [1, 500, 500]])
    np.testing.assert_allclose(kinds["false"].data, [[0, 1100, 900], [2, 500, 500]])
    colors = {tuple(layer.face_color[0]) for layer in kinds.values()}
    assert len(colors) == 3
    # what was compared stays the table to work on
    assert dock.points.layer() is viewer.layers["cells localizations"]
    assert not viewer.layers["cells localizations"].visible  # its colours are on top


def test_the_truth_may_be_a_file(dock, qtbot, tmp_path: Path) -> None:
    dock.evaluate.truth_row.editor.set_value("file")
    assert "true molecules is missing" in dock.evaluate.file_row.error.text()
    write_localizations(TRUTH, tmp_path / "truth.csv")
    dock.evaluate.file_row.editor.set_value(tmp_path / "truth.csv")
    run(dock, qtbot)
    assert "3 found, 3 true" in dock.panel.summary.text()


def test_the_pairs_are_those_that_are_scored() -> None:
    rng = np.random.default_rng(3)

    def table(n: int) -> pd.DataFrame:
        xy = rng.uniform(0, 2000, (n, 2))
        return pd.DataFrame({"frame": rng.integers(0, 5, n), "x_nm": xy[:, 0], "y_nm": xy[:, 1]})

    found, truth = table(150), table(170)
    found_is_true, truth_is_found = matched_rows(found, truth, 120.0)
    (score,) = evaluate(found, truth, (120.0,))
    assert found_is_true.sum() == truth_is_found.sum() == score.true_positives
