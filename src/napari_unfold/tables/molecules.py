"""One row per molecule instead of one per molecule and frame, where they were followed in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unfold.tables.columns import validate

if TYPE_CHECKING:
    import pandas as pd

MEANS = ("sigma_nm", "background_photons", "noise_photons")


def molecules_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the molecules of localizations that know their ``track``.

    All rows of a track have the same place and the uncertainty that all its frames leave. Photons
    are summed, detections counted; ``frame`` is the first and ``last_frame`` the last one. The
    quality is the sum, as the frames are independent evidence.

    Parameters
    ----------
    table : DataFrame
        With the column ``track``, see `napari_unfold.tables.columns`.

    Returns
    -------
    DataFrame
        Ordered by first frame, without ``track``.
    """
    table = validate(table)
    tracks = table.groupby("track", sort=False)
    first = {"x_nm", "y_nm", "uncertainty_nm", "uncertainty_x_nm", "uncertainty_y_nm"} & set(table)
    how = dict.fromkeys(first, "first")
    how |= dict.fromkeys(set(MEANS) & set(table), "mean")
    how |= dict.fromkeys({"photons", "quality"} & set(table), "sum")
    molecules = tracks.agg({"frame": "min", **how})
    molecules["last_frame"] = tracks["frame"].max()
    molecules["detections"] = tracks.size()
    if "uncertainty_photons" in table:
        squares = table["uncertainty_photons"] ** 2
        molecules["uncertainty_photons"] = np.sqrt(squares.groupby(table["track"]).sum())
    ordered = molecules.sort_values(["frame", "y_nm", "x_nm"], kind="stable")
    return validate(ordered.reset_index(drop=True))
