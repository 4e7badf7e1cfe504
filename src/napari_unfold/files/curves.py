"""Curves as CSV files, for a spreadsheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_unfold.files.atomic import replacing

if TYPE_CHECKING:
    import pandas as pd

_HEADERS = {
    "frame": "frame",
    "drift_x_nm": "drift_x [nm]",
    "drift_y_nm": "drift_y [nm]",
    "frequency_per_um": "frequency [1/um]",
    "correlation": "correlation",
    "smoothed": "smoothed correlation",
}


def write_curve(curve: pd.DataFrame, path: Path) -> None:
    """Write a drift or a Fourier ring correlation; frames count from 1, as in the tables.

    Parameters
    ----------
    curve : DataFrame
        ``DriftCorrection.curve`` or ``RingCorrelation.curve``.
    path : Path

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    output = curve.copy()
    if "frame" in output:
        output["frame"] += 1
    with replacing(path) as temporary:
        output.rename(columns=_HEADERS).to_csv(
            temporary, index=False, float_format="%.6g", lineterminator="\n"
        )
