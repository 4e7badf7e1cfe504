"""Drift that was put into a table is found in it and taken out."""

import numpy as np
import pandas as pd
import pytest

from napari_unfold.errors import InputError
from napari_unfold.files.localizations import read_localizations
from napari_unfold.jobs import Progress, run_to_end
from napari_unfold.settings.tables import Drift
from napari_unfold.simulation.scenes import simulate
from napari_unfold.tables.drift import correct_drift, divide_frames

PRECISION_NM = 15.0


def corrected(table: pd.DataFrame, **settings):
    return run_to_end(correct_drift(table, Drift(**settings)))


def drift_nm(frames: int, seed: int) -> np.ndarray:
    """Creep that slows down, a swing, and a random walk: (T, 2) for x and y."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0.0, 1.0, frames)
    way = np.stack([180 * t - 60 * t**2, -120 * t + 40 * np.sin(5 * t)], axis=1)
    way += rng.normal(0, 15 / np.sqrt(frames), (frames, 2)).cumsum(axis=0)
    return way - way[0]


def moved(truth: pd.DataFrame, way: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Localizations of true molecules with an error and a drift."""
    error = np.random.default_rng(seed).normal(0, PRECISION_NM, (len(truth), 2))
    table = truth.copy()
    table[["x_nm", "y_nm"]] += way[truth["frame"]] + error
    return table


def rms_after_best_offset(found: pd.DataFrame, way: np.ndarray) -> float:
    residual = found[["drift_x_nm", "drift_y_nm"]].to_numpy() - way
    return float(np.sqrt(((residual - residual.mean(axis=0)) ** 2).sum(axis=1).mean()))


@pytest.fixture(scope="module")
def filaments() -> pd.DataFrame:
    made = simulate("filaments", frames=400, shape=(48, 48), density_per_um2=2.0, seed=3)
    return made.truth


@pytest.mark.parametrize("seed", [1, 2])
def test_drift_of_filaments_is_found_to_five_nm(filaments, seed: int) -> None:
    way = drift_nm(400, seed)
    found = corrected(moved(filaments, way, seed))
    assert rms_after_best_offset(found.curve, way) < 5.0
    assert found.curve["frame"].tolist() == list(range(400))
    np.testing.assert_allclose(found.curve.iloc[0, 1:].to_numpy(float), 0.0, atol=1e-9)


def test_what_is_left_is_the_error_of_the_localizations(filaments) -> None:
    found = corrected(moved(filaments, drift_nm(400, 1)))
    error = found.table[["x_nm", "y_nm"]].to_numpy() - filaments[["x_nm", "y_nm"]].to_numpy()
    np.testing.assert_allclose(np.std(error, axis=0), PRECISION_NM, rtol=0.1)
    assert found.table["photons"].equals(filaments["photons"])


def test_drift_is_found_on_blinking_molecules_at_random_places() -> None:
    rng = np.random.default_rng(5)
    places = rng.uniform(0, 5000, (1500, 2))
    xy = places[rng.integers(0, len(places), 10_000)]
    frame = np.sort(rng.integers(0, 1000, len(xy)))
    table = pd.DataFrame({"frame": frame, "x_nm": xy[:, 0], "y_nm": xy[:, 1]})
    way = drift_nm(1000, 4)
    assert rms_after_best_offset(corrected(moved(table, way)).curve, way) < 5.0


def test_drift_is_found_on_microtubules(shared_data) -> None:
    truth = read_localizations(shared_data / "deep-storm" / "microtubules_odd_truth.csv")
    way = drift_nm(int(truth["frame"].max()) + 1, 7)
    assert rms_after_best_offset(corrected(moved(truth, way)).curve, way) < 5.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "frames", "error_nm"), [(6_700, 1000, 3.0), (110_000, 5000, 1.5)]
)
def test_the_more_localizations_the_better_the_drift_is_known(count, frames, error_nm) -> None:
    """Molecules on 25 straight filaments in a field of 6.4 um, located to 15 nm."""
    rng = np.random.default_rng(2)
    middle, angle = rng.uniform(0, 6400, (25, 1, 2)), rng.uniform(0, 2 * np.pi, (25, 1, 1))
    along = rng.uniform(-3000, 3000, (25, 200, 1))
    places = (middle + along * np.concatenate([np.cos(angle), np.sin(angle)], 2)).reshape(-1, 2)
    xy = places[rng.integers(0, len(places), count)]
    frame = np.sort(rng.integers(0, frames, count))
    table = pd.DataFrame({"frame": frame, "x_nm": xy[:, 0], "y_nm": xy[:, 1]})
    way = drift_nm(frames, 1)
    found = corrected(moved(table, way)).curve
    residual = found[["drift_x_nm", "drift_y_nm"]].to_numpy() - way[found["frame"]]
    assert np.all(np.std(residual, axis=0) < error_nm)


def test_no_drift_stays_none(filaments) -> None:
    still = np.zeros((400, 2))
    assert rms_after_best_offset(corrected(moved(filaments, still)).curve, still) < 2.0


def test_frames_without_localizations_have_a_drift_too(filaments) -> None:
    way = drift_nm(400, 1)
    table = moved(filaments, way)
    gap = table[(table["frame"] >= 30) & (table["frame"] % 7 != 1)]
    found = corrected(gap)
    assert found.curve["frame"].tolist() == list(range(30, 400))
    assert rms_after_best_offset(found.curve, way[30:]) < 5.0


def test_molecules_without_a_common_structure_show_no_drift() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "frame": np.arange(8000) // 20,
            "x_nm": rng.uniform(0, 6000, 8000),
            "y_nm": rng.uniform(0, 6000, 8000),
        }
    )
    with pytest.raises(InputError, match="no drift can be seen") as caught:
        corrected(table)
    assert caught.value.field == "drift.blocks"


@pytest.mark.parametrize("settings", [{"blocks": 5}, {}])
def test_too_few_frames_are_refused(settings) -> None:
    table = pd.DataFrame({"frame": [0, 0], "x_nm": [1.0, 2.0], "y_nm": [1.0, 2.0]})
    with pytest.raises(InputError, match="1 frames with localizations"):
        corrected(table, **settings)


def test_blocks_hold_whole_frames_and_about_equally_many_localizations() -> None:
    frame = np.repeat(np.arange(100), np.linspace(30, 1, 100).astype(int))
    block = divide_frames(frame, 8)
    counts = np.bincount(block)
    assert len(counts) == 8
    assert counts.max() - counts.min() <= 30
    assert all(len(np.unique(block[frame == f])) == 1 for f in range(100))
    assert (np.diff(block) >= 0).all()


def test_a_crowded_frame_leaves_fewer_blocks() -> None:
    block = divide_frames(np.repeat([0, 1, 2], [1, 100, 1]), 3)
    assert block.max() + 1 <= 3
    assert set(block) == set(range(block.max() + 1))


def test_the_job_can_be_stopped_half_way(filaments) -> None:
    job = correct_drift(filaments, Drift())
    done = next(event.done for event in job if isinstance(event, Progress))
    job.close()
    assert done == 1
    assert list(job) == []


def test_the_chart_shows_the_curve(filaments) -> None:
    found = corrected(moved(filaments, drift_nm(400, 1)))
    x, y = found.chart().curves["x"]
    np.testing.assert_array_equal(x, found.curve["frame"])
    np.testing.assert_array_equal(y, found.curve["drift_x_nm"])
