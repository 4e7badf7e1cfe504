"""Scores follow the definitions of the SMLM challenge and agree with an independent program."""

import importlib.util
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unfold.errors import InputError
from napari_unfold.tables.evaluate import efficiency, evaluate, jaccard_on_grid, match, psnr

SHARED = Path(__file__).parents[3] / "shared"


def table(*rows: tuple[int, float, float]) -> pd.DataFrame:
    columns = pd.DataFrame(rows, columns=["frame", "x_nm", "y_nm"])
    return columns.astype({"frame": "int64", "x_nm": float, "y_nm": float})


def random_table(rng: np.random.Generator, frames: int, molecules: int) -> pd.DataFrame:
    # positions from a continuous distribution: no two distances are equal
    n = int(rng.integers(0, molecules))
    return pd.DataFrame(
        {
            "frame": rng.integers(0, frames, n),
            "x_nm": rng.uniform(0, 1000, n),
            "y_nm": rng.uniform(0, 1000, n),
        }
    )


def test_the_nearest_pair_is_taken_first() -> None:
    # found 0 is nearest to truth 1, so truth 0 has to take the far found 1
    found = np.array([[10.0, 0.0], [-30.0, 0.0]])
    truth = np.array([[0.0, 0.0], [12.0, 0.0]])
    found_index, truth_index, distance = match(found, truth, 50)
    assert found_index.tolist() == [0, 1]
    assert truth_index.tolist() == [1, 0]
    assert distance.tolist() == [2, 30]


def test_greedy_may_find_fewer_pairs_than_possible() -> None:
    # both could be paired at 9 nm, but the greedy rule takes the pair at 1 nm and no other fits
    found, truth = np.array([[0.0, 0.0], [10.0, 0.0]]), np.array([[9.0, 0.0], [19.0, 0.0]])
    assert match(found, truth, 9)[2].tolist() == [1]


def test_the_tolerance_is_inclusive() -> None:
    found, truth = np.array([[0.0, 0.0]]), np.array([[30.0, 40.0]])
    assert len(match(found, truth, 50)[0]) == 1
    assert len(match(found, truth, 49.99)[0]) == 0


def test_no_points_no_pairs() -> None:
    assert len(match(np.empty((0, 2)), np.zeros((3, 2)), 10)[0]) == 0
    assert len(match(np.zeros((3, 2)), np.empty((0, 2)), 10)[0]) == 0


def test_scores_of_an_example_worked_by_hand() -> None:
    truth = table((0, 100, 100), (0, 500, 500), (1, 100, 100))
    found = table((0, 103, 104), (0, 900, 900), (1, 100, 112), (2, 50, 50))
    (score,) = evaluate(found, truth, tolerances_nm=[50])
    assert (score.n_truth, score.n_found, score.true_positives) == (3, 4, 2)
    assert score.jaccard == pytest.approx(2 / 5)
    assert score.precision == pytest.approx(2 / 4)
    assert score.recall == pytest.approx(2 / 3)
    assert score.rmse_nm == pytest.approx(math.sqrt((5**2 + 12**2) / 2))
    assert score.frame_jaccard == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert score.efficiency == pytest.approx(100 - math.hypot(60, score.rmse_nm))


def test_only_the_frames_asked_for_count() -> None:
    truth = table((0, 100, 100), (1, 100, 100), (5, 100, 100))
    (score,) = evaluate(truth[:1], truth, [50], frames=range(2))
    assert (score.n_truth, score.n_found, score.true_positives) == (2, 1, 1)


def test_molecules_of_different_frames_never_pair() -> None:
    (score,) = evaluate(table((0, 1, 1)), table((1, 1, 1)), [250])
    assert score.true_positives == 0
    assert score.jaccard == 0
    assert math.isnan(score.rmse_nm)


def test_nothing_against_nothing_is_undefined() -> None:
    (score,) = evaluate(table(), table(), [50])
    undefined = {name for name, value in asdict(score).items() if math.isnan(value)}
    assert undefined == {
        "jaccard",
        "precision",
        "recall",
        "rmse_nm",
        "efficiency",
        "frame_jaccard",
    }


def test_table_without_a_column_is_refused() -> None:
    with pytest.raises(InputError, match="'y_nm'"):
        evaluate(table().drop(columns="y_nm"), table())


def test_efficiency_of_a_published_example() -> None:
    # unit test of DECODE's implementation of the same formula
    assert efficiency(0.91204, 32.077) == pytest.approx(66.739, abs=1e-3)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), tolerance=st.floats(1, 400))
def test_properties_of_scores(seed: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    found, truth = random_table(rng, 3, 40), random_table(rng, 3, 40)
    (score,) = evaluate(found, truth, [tolerance])
    (swapped,) = evaluate(truth, found, [tolerance])
    assert score.true_positives == swapped.true_positives <= min(len(found), len(truth))
    assert score.precision == pytest.approx(swapped.recall, nan_ok=True)
    for value in (score.jaccard, score.precision, score.recall, score.frame_jaccard):
        assert math.isnan(value) or 0 <= value <= 1
    assert math.isnan(score.rmse_nm) or score.rmse_nm <= tolerance
    assert math.isnan(score.efficiency) or score.efficiency <= 100
    if len(truth):
        (perfect,) = evaluate(truth, truth, [tolerance])
        assert (perfect.jaccard, perfect.rmse_nm, perfect.efficiency) == (1, 0, 100)
        assert perfect.frame_jaccard == 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), tolerance=st.floats(1, 400))
def test_match_is_the_greedy_algorithm(seed: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    found, truth = (rng.uniform(0, 1000, (rng.integers(0, 60), 2)) for _ in range(2))
    distances = np.linalg.norm(found[:, None] - truth[None], axis=2)
    expected = []
    while distances.size and distances.min() <= tolerance:
        i, j = np.unravel_index(distances.argmin(), distances.shape)
        expected.append((i, j))
        distances[i], distances[:, j] = np.inf, np.inf
    found_index, truth_index, _ = match(found, truth, tolerance)
    assert list(zip(found_index, truth_index, strict=True)) == expected


@pytest.mark.skipif(
    not (SHARED / "tools" / "score.py").is_file(), reason="the independent scorer is not here"
)
def test_agreement_with_an_independent_scorer() -> None:
    spec = importlib.util.spec_from_file_location("score", SHARED / "tools" / "score.py")
    scorer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scorer)
    folder = SHARED / "data" / "deep-storm"
    found = scorer.load(folder / "peers" / "random_density6__3d-daostorm.csv")
    names = ["frame", "x_nm", "y_nm"]
    truth_file = np.loadtxt(folder / "random_density6_truth.csv", delimiter=",", skiprows=1)
    truth = truth_file[:, 1:4]
    frames = np.arange(7, 21)
    ours = evaluate(
        pd.DataFrame(found - [1, 0, 0], columns=names),
        pd.DataFrame(truth - [1, 0, 0], columns=names),
        frames=frames - 1,
    )
    for score in ours:
        theirs = scorer.score(found, truth, score.tolerance_nm, frames)
        assert score.true_positives == theirs["tp"]
        assert (score.n_found, score.n_truth) == (theirs["found"], theirs["truth"])
        assert 100 * score.jaccard == pytest.approx(theirs["jaccard"])
        assert 100 * score.precision == pytest.approx(theirs["precision"])
        assert 100 * score.recall == pytest.approx(theirs["recall"])
        assert score.rmse_nm == pytest.approx(theirs["rmse"])
        assert score.efficiency == pytest.approx(theirs["efficiency"])
        assert 100 * score.frame_jaccard == pytest.approx(theirs["frame_jaccard"])


def test_psnr_of_an_example_worked_by_hand() -> None:
    truth = np.array([[0.0, 10.0], [0.0, 0.0]])
    image = np.array([[0.0, 8.0], [0.0, 0.0]])
    # mean square error 4 / 4 = 1, peak 10
    assert psnr(image, truth) == pytest.approx(20)
    # the peak is that of the truth, whatever the image holds
    assert psnr(truth + 100, truth) == pytest.approx(-20)


def test_psnr_is_averaged_over_frames() -> None:
    truth = np.zeros((2, 4, 4))
    truth[:, 1, 1] = 10
    image = truth + np.array([1.0, 0.1])[:, None, None]
    assert psnr(image, truth) == pytest.approx((20 + 40) / 2)


def test_psnr_is_the_formula_on_real_numbers() -> None:
    rng = np.random.default_rng(0)
    truth = rng.gamma(0.3, 40.0, (5, 16, 12))
    image = truth + rng.normal(0, 3, truth.shape)
    error = ((image - truth) ** 2).mean(axis=(1, 2))
    expected = (10 * np.log10(truth.max(axis=(1, 2)) ** 2 / error)).mean()
    assert psnr(image, truth) == pytest.approx(expected, rel=1e-12)


def test_psnr_where_it_is_not_defined() -> None:
    assert psnr(np.ones((2, 2)), np.ones((2, 2))) == math.inf
    assert math.isnan(psnr(np.ones((2, 2)), np.zeros((2, 2))))


def test_jaccard_on_the_grid() -> None:
    truth, image = np.zeros((8, 8)), np.zeros((8, 8))
    truth[1, 1] = truth[5, 5] = 1
    image[1, 1], image[5, 7], image[5, 4], image[0, 7] = 9, 9, 9, 1
    # within the same ball, the second point is a false positive
    assert jaccard_on_grid(image, truth, threshold=2, tolerance_px=0) == pytest.approx(1 / 4)
    assert jaccard_on_grid(image, truth, threshold=2, tolerance_px=2) == pytest.approx(2 / 3)
    assert jaccard_on_grid(image, truth, threshold=0, tolerance_px=2) == pytest.approx(2 / 4)


def test_jaccard_on_the_grid_is_averaged_over_frames_that_have_points() -> None:
    truth = np.zeros((3, 4, 4))
    truth[0, 0, 0] = truth[1, 0, 0] = 1
    image = np.zeros((3, 4, 4))
    image[0, 0, 0] = image[1, 3, 3] = 1
    assert jaccard_on_grid(image, truth, 0, 1) == pytest.approx(1 / 2)
    assert math.isnan(jaccard_on_grid(image[2], truth[2], 0, 1))
