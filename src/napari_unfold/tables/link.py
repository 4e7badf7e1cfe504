"""Linking the localizations of a molecule that stays on over several frames.

Frame by frame, every new localization is given to the nearest molecule that was visible a short
while ago, one to one and nearest pair first; the others begin molecules of their own. The position
of a molecule is the weighted mean of what was found of it so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_unfold.errors import InputError
from napari_unfold.jobs import Event, Job, Note, Progress, Stage, Throttle
from napari_unfold.settings.tables import Linking
from napari_unfold.tables.columns import validate
from napari_unfold.tables.evaluate import nearest_first
from napari_unfold.tables.molecules import molecules_of

if TYPE_CHECKING:
    import pandas as pd

_SUMMED = ("photons", "detections")


def link(table: pd.DataFrame, settings: Linking) -> Job[pd.DataFrame]:
    """Link localizations of the same molecule in consecutive frames to one.

    Positions and all other values become means weighted with ``1 / uncertainty^2``, or with the
    photons where no uncertainties are known, or with equal weights. Photons are summed, detections
    counted, uncertainties propagated: with known ones, ``1 / sqrt(sum(1 / uncertainty^2))``. The
    frame is the first. Localizations of one track are one molecule to begin with.

    Parameters
    ----------
    table : DataFrame
        Localizations with the columns of `napari_unfold.tables.columns`, in any order.
    settings : Linking

    Yields
    ------
    Event

    Returns
    -------
    DataFrame
        The molecules, ordered by frame.

    Raises
    ------
    InputError
        If the radius is in units of the uncertainty and there is none.
    """
    table = validate(table)
    followed = "track" in table
    if followed:
        table = molecules_of(table)
    table = table.sort_values("frame", kind="stable", ignore_index=True)
    known = _uncertainty(table)
    if settings.radius_unit == "uncertainty" and known is None:
        raise InputError(
            "the radius is in units of the uncertainty, which these localizations do not have",
            "Give the radius in nm",
            field="linking.radius_unit",
        )
    weight, name = _weights(table, known)
    yield Stage("Linking molecules")
    yield Note(f"Positions are means weighted by {name}.")
    if followed:
        yield Note("Molecules that were followed in time are linked to later ones of their place.")
    molecule = np.zeros(len(table), np.intp)
    yield from _assign(table, weight, known, settings, molecule)
    return _merged(table, weight, molecule)


def _uncertainty(table: pd.DataFrame) -> NDArray[np.float64] | None:
    if "uncertainty_nm" not in table:
        return None
    values = table["uncertainty_nm"].to_numpy(float)
    return values if np.all(np.isfinite(values) & (values > 0)) else None


def _weights(
    table: pd.DataFrame, uncertainty: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], str]:
    if uncertainty is not None:
        return uncertainty**-2, "their uncertainty"
    photons = table["photons"].to_numpy(float) if "photons" in table else np.zeros(len(table))
    if np.all(np.isfinite(photons) & (photons > 0)):
        return photons, "their photons"
    return np.ones(len(table)), "nothing"


def _assign(
    table: pd.DataFrame,
    weight: NDArray[np.float64],
    uncertainty: NDArray[np.float64] | None,
    settings: Linking,
    molecule: NDArray[np.intp],
) -> Iterator[Event]:
    """Write the number of its molecule for each row of the table, which is ordered by frame."""
    xy = table[["x_nm", "y_nm"]].to_numpy()
    ends = table["last_frame" if "last_frame" in table else "frame"].to_numpy()
    frames, starts = np.unique(table["frame"], return_index=True)
    stops = [*starts, len(table)][1:]
    # of each molecule so far, of which there are at most as many as localizations
    mean, total, last = np.zeros_like(xy), np.zeros(len(xy)), np.zeros(len(xy), np.int64)
    visible, count = np.empty(0, np.intp), 0
    throttle = Throttle()
    in_nm = uncertainty is None or settings.radius_unit == "nm"
    for done, (frame, start, stop) in enumerate(zip(frames, starts, stops, strict=True)):
        visible = visible[last[visible] >= frame - 1 - settings.dark_frames]
        ended = visible[last[visible] < frame]
        new = np.arange(start, stop)
        spread = None if in_nm else (total[ended] ** -0.5, weight[new] ** -0.5)
        old_index, new_index = _pairs(mean[ended], xy[new], settings.radius, spread)
        found = np.full(len(new), -1, np.intp)
        found[new_index] = ended[old_index]
        beginning = found < 0
        found[beginning] = count + np.arange(beginning.sum())
        count += int(beginning.sum())
        molecule[new] = found
        total[found] += weight[new]
        mean[found] += (xy[new] - mean[found]) * (weight[new] / total[found])[:, None]
        last[found] = ends[new]
        visible = np.union1d(visible, found)
        if throttle.is_due():
            yield Progress(done, len(frames))


def _pairs(
    old: NDArray[np.float64],
    new: NDArray[np.float64],
    radius: float,
    spread: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair old and new positions; `spread` holds their uncertainties if these are the unit."""
    if len(old) == 0:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    reach = radius if spread is None else radius * float(np.hypot(*(s.max() for s in spread)))
    near = cKDTree(old).sparse_distance_matrix(cKDTree(new), reach, output_type="ndarray")
    if spread is not None:
        near["v"] /= np.hypot(spread[0][near["i"]], spread[1][near["j"]])
        near = near[near["v"] <= radius]
    pairs = nearest_first(near)
    return pairs["i"], pairs["j"]


def _merged(
    table: pd.DataFrame, weight: NDArray[np.float64], molecule: NDArray[np.intp]
) -> pd.DataFrame:
    """Return one row for each molecule."""
    import pandas as pd

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(molecule, values).astype(np.float64)

    ones = np.ones(len(table))
    known = {"detections": ones, **{str(name): table[name].to_numpy(float) for name in table}}
    weights = total(weight)
    linked = {}
    for name, values in known.items():
        if name == "frame":
            # numbered in the order of their first frames
            linked[name] = values[np.unique(molecule, return_index=True)[1]]
        elif name == "last_frame":
            linked[name] = table.groupby(molecule)[name].max().to_numpy()
        elif name in _SUMMED:
            linked[name] = total(values)
        elif name == "uncertainty_photons":
            linked[name] = np.sqrt(total(values**2))
        elif name.startswith("uncertainty"):
            linked[name] = np.sqrt(total((weight * values) ** 2)) / weights
        else:
            linked[name] = total(weight * values) / weights
    return validate(pd.DataFrame(linked))
