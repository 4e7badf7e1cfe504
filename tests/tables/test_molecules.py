"""Rows of one track become one molecule."""

import numpy as np
import pandas as pd
import pytest

from napari_unfold.files.localizations import read_localizations, write_localizations
from napari_unfold.jobs import run_to_end
from napari_unfold.settings.tables import Linking
from napari_unfold.tables.link import link
from napari_unfold.tables.molecules import molecules_of

TABLE = pd.DataFrame(
    {
        "frame": [4, 5, 6, 5],
        "x_nm": [100.0, 100.0, 100.0, 900.0],
        "y_nm": [200.0, 200.0, 200.0, 300.0],
        "photons": [500.0, 1000.0, 300.0, 800.0],
        "background_photons": [10.0, 11.0, 12.0, 10.0],
        "uncertainty_nm": [4.0, 4.0, 4.0, 9.0],
        "uncertainty_photons": [3.0, 4.0, 12.0, 5.0],
        "quality": [10.0, 30.0, 5.0, 20.0],
        "track": [2, 2, 2, 1],
    }
)


def test_a_molecule_has_the_light_of_all_its_frames():
    first, second = molecules_of(TABLE).to_dict("records")
    assert (first["frame"], first["last_frame"], first["detections"]) == (4, 6, 3)
    assert (first["x_nm"], first["y_nm"]) == (100.0, 200.0)
    assert first["photons"] == 1800.0
    assert first["uncertainty_nm"] == 4.0  # of the track, from all its frames
    assert first["uncertainty_photons"] == pytest.approx(13.0)
    assert first["background_photons"] == pytest.approx(11.0)
    assert first["quality"] == 45.0
    assert (second["frame"], second["last_frame"], second["detections"]) == (5, 5, 1)
    assert "track" not in first


def test_first_and_last_frames_count_from_one_in_files(tmp_path):
    path = tmp_path / "molecules.csv"
    molecules = molecules_of(TABLE)
    write_localizations(molecules, path)
    written = pd.read_csv(path)
    assert written["frame"].tolist() == [5, 6]
    assert written["last_frame"].tolist() == [7, 6]
    pd.testing.assert_frame_equal(read_localizations(path), molecules)


def test_tracks_survive_a_file(tmp_path):
    write_localizations(TABLE, tmp_path / "table.csv")
    assert read_localizations(tmp_path / "table.csv")["track"].tolist() == [2, 2, 2, 1]


def test_linking_begins_with_tracks_and_joins_them_over_dark_frames():
    # far apart for the radius, were they not one track
    again = pd.DataFrame(
        {"frame": [8, 9, 20], "x_nm": 103.0, "y_nm": 200.0, "photons": 700.0, "track": [3, 3, 4],
         "background_photons": 10.0, "uncertainty_nm": 5.0, "uncertainty_photons": 5.0,
         "quality": 9.0}
    )  # fmt: skip
    table = pd.concat([TABLE, again], ignore_index=True)
    linked = run_to_end(link(table, Linking(radius=10.0, dark_frames=1)))
    assert linked["detections"].tolist() == [5, 1, 1]
    assert linked["frame"].tolist() == [4, 5, 20]
    assert linked["last_frame"].tolist() == [9, 5, 20]
    assert linked["photons"].tolist() == [3200.0, 800.0, 700.0]
    weights = np.array([4.0**-2, 5.0**-2])
    assert linked["x_nm"][0] == pytest.approx((weights @ [100.0, 103.0]) / weights.sum())


def test_two_molecules_that_are_on_together_are_never_linked():
    table = pd.DataFrame(
        {"frame": [0, 1, 2, 1, 2, 3], "x_nm": [0.0] * 3 + [5.0] * 3, "y_nm": 0.0,
         "track": [1, 1, 1, 2, 2, 2]}
    )  # fmt: skip
    linked = run_to_end(link(table, Linking(radius=50.0, dark_frames=3)))
    assert linked["detections"].tolist() == [3, 3]
