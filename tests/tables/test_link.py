"""Localizations of one molecule in consecutive frames become one."""

import numpy as np
import pandas as pd
import pytest

from napari_unfold.errors import InputError
from napari_unfold.jobs import run_to_end
from napari_unfold.settings.tables import Linking
from napari_unfold.tables.link import link


def linked(table: pd.DataFrame, **settings) -> pd.DataFrame:
    return run_to_end(link(table, Linking(**settings)))


def track(frames, x_nm: float = 100.0, y_nm: float = 200.0, **columns) -> pd.DataFrame:
    return pd.DataFrame({"frame": frames, "x_nm": x_nm, "y_nm": y_nm, **columns})


def test_positions_are_weighted_by_uncertainty_and_photons_summed() -> None:
    table = pd.DataFrame(
        {
            "frame": [3, 4, 5],
            "x_nm": [100.0, 110.0, 90.0],
            "y_nm": [200.0, 200.0, 203.0],
            "photons": [1000.0, 500.0, 250.0],
            "sigma_nm": [100.0, 100.0, 130.0],
            "uncertainty_nm": [5.0, 10.0, 10.0],
        }
    )
    (molecule,) = linked(table, radius=50).to_dict("records")
    # weights 4 : 1 : 1
    assert molecule["x_nm"] == pytest.approx((400 + 110 + 90) / 6)
    assert molecule["y_nm"] == pytest.approx((800 + 200 + 203) / 6)
    assert molecule["sigma_nm"] == pytest.approx((400 + 100 + 130) / 6)
    assert molecule["photons"] == 1750
    assert molecule["uncertainty_nm"] == pytest.approx((1 / 25 + 2 / 100) ** -0.5)
    assert molecule["detections"] == 3
    assert molecule["frame"] == 3


def test_without_uncertainties_photons_are_the_weights_and_without_photons_nothing() -> None:
    table = track([0, 1], x_nm=[0.0, 30.0], photons=[200.0, 100.0])
    assert linked(table)["x_nm"].tolist() == pytest.approx([10.0])
    assert linked(table.drop(columns="photons"))["x_nm"].tolist() == pytest.approx([15.0])


def test_the_mean_of_many_detections_is_as_precise_as_it_says() -> None:
    rng = np.random.default_rng(0)
    molecules, frames = 400, 10
    spread = rng.uniform(5, 20, (molecules, frames))
    x_nm = 1000.0 * np.arange(molecules)[:, None] + spread * rng.normal(size=spread.shape)
    table = pd.DataFrame(
        {
            "frame": np.tile(np.arange(frames), molecules),
            "x_nm": x_nm.ravel(),
            "y_nm": 0.0,
            "uncertainty_nm": spread.ravel(),
        }
    )
    found = linked(table, radius=200).sort_values("x_nm")
    assert len(found) == molecules
    error = found["x_nm"].to_numpy() - 1000.0 * np.arange(molecules)
    assert np.std(error / found["uncertainty_nm"]) == pytest.approx(1.0, abs=0.12)


@pytest.mark.parametrize(
    ("dark_frames", "molecules"), [(0, [2, 1, 1]), (1, [3, 1]), (2, [4]), (7, [4])]
)
def test_dark_frames_are_bridged_up_to_their_number(dark_frames, molecules) -> None:
    found = linked(track([0, 1, 3, 6]), dark_frames=dark_frames)
    assert found["detections"].tolist() == molecules


def test_two_molecules_in_a_frame_are_never_linked() -> None:
    table = track([0, 0, 1, 1], x_nm=[100.0, 120.0, 121.0, 101.0])
    found = linked(table, radius=50)
    np.testing.assert_allclose(found["x_nm"], [100.5, 120.5])


def test_the_nearest_molecule_gets_the_localization() -> None:
    table = track([0, 0, 1], x_nm=[100.0, 140.0, 125.0])
    assert linked(table, radius=50)["detections"].tolist() == [1, 2]


def test_the_radius_may_be_in_units_of_the_uncertainty_of_the_distance() -> None:
    # sqrt(3^2 + 4^2) = 5 nm
    table = track([0, 1], x_nm=[100.0, 110.0], uncertainty_nm=[3.0, 4.0])
    unit = {"radius_unit": "uncertainty"}
    assert len(linked(table, radius=2.01, **unit)) == 1
    assert len(linked(table, radius=1.99, **unit)) == 2


def test_a_radius_in_uncertainties_needs_them() -> None:
    with pytest.raises(InputError, match="which these localizations do not have") as caught:
        linked(track([0, 1]), radius=3, radius_unit="uncertainty")
    assert caught.value.field == "linking.radius_unit"


def test_merging_again_counts_all_detections() -> None:
    once = linked(track([0, 1, 2, 5, 6]), dark_frames=0)
    assert linked(once, dark_frames=10)["detections"].tolist() == [5]


def test_the_order_of_the_rows_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    table = pd.DataFrame(
        {
            "frame": rng.integers(0, 40, 600),
            "x_nm": rng.uniform(0, 2000, 600),
            "y_nm": rng.uniform(0, 2000, 600),
            "photons": rng.uniform(500, 1500, 600),
        }
    )
    shuffled = table.sample(frac=1, random_state=1)
    order = ["frame", "x_nm", "y_nm"]
    one, two = (linked(t).sort_values(order, ignore_index=True) for t in (table, shuffled))
    pd.testing.assert_frame_equal(one, two)
    assert one["photons"].sum() == pytest.approx(table["photons"].sum())
    assert one["detections"].sum() == len(table)


def test_an_empty_table_stays_empty() -> None:
    assert len(linked(track([0]).iloc[:0])) == 0
