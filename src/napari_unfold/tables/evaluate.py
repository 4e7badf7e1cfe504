"""How good a result is: localizations against known molecules, images against known images.

Localizations are scored as in the SMLM challenge (Sage et al., Nature Methods 12 (2015) and 16
(2019)): one-to-one pairs, nearest first, within a tolerance; images as in the paper this
software follows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from napari_unfold.tables.columns import validate

if TYPE_CHECKING:
    import pandas as pd

EFFICIENCY_PER_NM = 1.0
"""Weight alpha of the lateral error in the efficiency, in percent per nm."""


@dataclass(frozen=True)
class Score:
    """Agreement of found with true molecules at one tolerance, pooled over all frames.

    Parameters
    ----------
    tolerance_nm : float
        Largest distance of a pair.
    n_truth, n_found, true_positives : int
        Molecules, localizations, and pairs of them.
    jaccard : float
        ``TP / (TP + FP + FN)``, from 0 to 1.
    precision, recall : float
        ``TP / n_found`` and ``TP / n_truth``, from 0 to 1.
    rmse_nm : float
        Root mean square distance of the pairs.
    efficiency : float
        `efficiency` in percent; 100 is perfect, negative values are possible.
    frame_jaccard : float
        Mean of the Jaccard index over the frames with a true or a found molecule, from 0 to 1.

    Notes
    -----
    A ratio without a denominator is nan.
    """

    tolerance_nm: float
    n_truth: int
    n_found: int
    true_positives: int
    jaccard: float
    precision: float
    recall: float
    rmse_nm: float
    efficiency: float
    frame_jaccard: float


def match(
    found_xy: np.ndarray, truth_xy: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair points one-to-one, the nearest pair of all first.

    Pairs at the same distance are taken in the order of the true, then of the found points.

    Parameters
    ----------
    found_xy, truth_xy : array, shape (N, 2) and (M, 2)
        Points in nm, or in any other unit of length.
    tolerance : float
        Largest distance of a pair, inclusive, in the same unit.

    Returns
    -------
    found_index, truth_index, distance : arrays, shape (P,)
        The pairs, by increasing distance.
    """
    if len(found_xy) == 0 or len(truth_xy) == 0:
        return np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0)
    near = cKDTree(truth_xy).sparse_distance_matrix(
        cKDTree(found_xy), tolerance, output_type="ndarray"
    )
    pairs = nearest_first(near)
    return pairs["j"], pairs["i"], pairs["v"]


def nearest_first(near: np.ndarray) -> np.ndarray:
    """Choose from candidate pairs one-to-one, the nearest of all first.

    Parameters
    ----------
    near : structured array, shape (N,)
        Fields ``i`` and ``j``, the numbers of the two points, and ``v``, their distance.

    Returns
    -------
    structured array, shape (P,)
        The chosen ones, by increasing distance.
    """
    near = near[np.lexsort((near["j"], near["i"], near["v"]))]
    accepted = []
    while len(near):
        # a pair that comes first for both of its points is what the greedy rule takes;
        # all such pairs can be taken at once
        first_of_truth = np.unique(near["i"], return_index=True)[1]
        first_of_found = np.unique(near["j"], return_index=True)[1]
        pairs = near[np.intersect1d(first_of_truth, first_of_found)]
        accepted.append(pairs)
        taken = np.isin(near["i"], pairs["i"]) | np.isin(near["j"], pairs["j"])
        near = near[~taken]
    pairs = np.concatenate(accepted) if accepted else near
    return pairs[np.argsort(pairs["v"], kind="stable")]


def evaluate(
    found: pd.DataFrame,
    truth: pd.DataFrame,
    tolerances_nm: Sequence[float] = (50.0, 100.0, 250.0),
    frames: Iterable[int] | None = None,
) -> list[Score]:
    """Compare a localization table with the true molecules.

    Parameters
    ----------
    found, truth : DataFrame
        Tables with the columns ``frame``, ``x_nm`` and ``y_nm``.
    tolerances_nm : sequence of float
        Largest distances of a pair.
    frames : iterable of int, optional
        Frames to compare, from 0; all frames named in either table if not given.

    Returns
    -------
    list of Score
        One for each tolerance.

    Raises
    ------
    InputError
        If a table lacks a column or has invalid values.
    """
    found, truth = validate(found), validate(truth)
    if frames is None:
        frames = np.union1d(found["frame"], truth["frame"])
    points = list(_by_frame(found, truth, np.unique(np.fromiter(frames, np.int64))))
    return [_score(points, tolerance) for tolerance in tolerances_nm]


def matched_rows(
    found: pd.DataFrame, truth: pd.DataFrame, tolerance_nm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return which localizations and which true molecules are members of a pair.

    Parameters
    ----------
    found, truth : DataFrame
        With the columns ``frame``, ``x_nm`` and ``y_nm``.
    tolerance_nm : float
        Largest distance of a pair.

    Returns
    -------
    found_is_true, truth_is_found : arrays of bool
        In the order of the rows.
    """
    found_is_true, truth_is_found = np.zeros(len(found), bool), np.zeros(len(truth), bool)
    rows = [table.groupby("frame").indices for table in (found, truth)]
    points = [table[["x_nm", "y_nm"]].to_numpy() for table in (found, truth)]
    for frame in rows[0].keys() & rows[1].keys():
        here, there = rows[0][frame], rows[1][frame]
        f, t, _ = match(points[0][here], points[1][there], tolerance_nm)
        found_is_true[here[f]] = True
        truth_is_found[there[t]] = True
    return found_is_true, truth_is_found


def efficiency(jaccard: float, rmse_nm: float) -> float:
    """Jaccard index and lateral error in one number, in percent (Sage et al. 2019).

    Parameters
    ----------
    jaccard : float
        From 0 to 1.
    rmse_nm : float
        Root mean square distance of the pairs.
    """
    return 100.0 - math.hypot(100.0 - 100.0 * jaccard, EFFICIENCY_PER_NM * rmse_nm)


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, ``10 log10(max(truth)^2 / MSE)``.

    Parameters
    ----------
    image, truth : array, shape (Y, X) or (T, Y, X)
        A stack gives the mean over its frames.

    Returns
    -------
    float
        Infinite for identical images, nan if a true frame has no positive pixel.
    """
    from skimage.metrics import peak_signal_noise_ratio

    values = []
    for frame, reference in zip(_as_frames(image), _as_frames(truth), strict=True):
        peak = max(float(reference.max()), 0.0)
        with np.errstate(divide="ignore"):
            ratio = peak_signal_noise_ratio(reference, frame, data_range=peak or math.nan)
        values.append(float(ratio))
    return sum(values) / len(values)


def jaccard_on_grid(
    image: np.ndarray, truth: np.ndarray, threshold: float, tolerance_px: float
) -> float:
    """Jaccard index of the bright pixels of an image, as the paper counts it: equation (19).

    Parameters
    ----------
    image, truth : array, shape (Y, X) or (T, Y, X)
        Pixels of `image` above `threshold` are compared with the positive pixels of `truth`; a
        stack gives the mean over the frames that have either.
    threshold : float
        Same unit as `image`.
    tolerance_px : float
        Largest distance of a pair, in pixels of the image.

    Returns
    -------
    float
        From 0 to 1; nan if there is no bright pixel in either image.
    """
    image, truth = _as_frames(image), _as_frames(truth)
    values = []
    for estimate, reference in zip(image, truth, strict=True):
        found, true = np.argwhere(estimate > threshold), np.argwhere(reference > 0)
        matched = len(match(found, true, tolerance_px)[0])
        values.append(_ratio(matched, len(found) + len(true) - matched))
    return _mean_of_defined(values)


def _by_frame(
    found: pd.DataFrame, truth: pd.DataFrame, frames: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions of found and true molecules, frame by frame."""
    tables = [table.sort_values("frame", kind="stable") for table in (found, truth)]
    positions = [table[["x_nm", "y_nm"]].to_numpy() for table in tables]
    starts = [np.searchsorted(table["frame"], frames, "left") for table in tables]
    stops = [np.searchsorted(table["frame"], frames, "right") for table in tables]
    for f0, f1, t0, t1 in zip(starts[0], stops[0], starts[1], stops[1], strict=True):
        yield positions[0][f0:f1], positions[1][t0:t1]


def _score(points: list[tuple[np.ndarray, np.ndarray]], tolerance_nm: float) -> Score:
    n_found = sum(len(found) for found, _ in points)
    n_truth = sum(len(truth) for _, truth in points)
    matched, squares, per_frame = 0, 0.0, []
    for found, truth in points:
        distances = match(found, truth, tolerance_nm)[2]
        matched += len(distances)
        squares += float((distances**2).sum())
        per_frame.append(_ratio(len(distances), len(found) + len(truth) - len(distances)))
    jaccard = _ratio(matched, n_found + n_truth - matched)
    rmse_nm = math.sqrt(_ratio(squares, matched))
    return Score(
        tolerance_nm=float(tolerance_nm),
        n_truth=n_truth,
        n_found=n_found,
        true_positives=matched,
        jaccard=jaccard,
        precision=_ratio(matched, n_found),
        recall=_ratio(matched, n_truth),
        rmse_nm=rmse_nm,
        efficiency=efficiency(jaccard, rmse_nm),
        frame_jaccard=_mean_of_defined(per_frame),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _mean_of_defined(values: list[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def _as_frames(image: np.ndarray) -> np.ndarray:
    """Return a float array of shape (T, Y, X)."""
    array = np.asarray(image, dtype=np.float64)
    return array[np.newaxis] if array.ndim == 2 else array
