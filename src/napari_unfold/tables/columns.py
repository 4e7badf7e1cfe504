"""The columns of a localization table: names, units and texts, written nowhere else.

A table is a pandas data frame with one row per molecule and frame. Positions are in nm from the
outer corner of the top-left camera pixel, x to the right and y down; frames count from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_unfold.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """One quantity that is known of every localization.

    Parameters
    ----------
    name : str
        Name inside this project, with its unit.
    title, unit, description : str
        Texts for people.
    thunderstorm : str
        Header of the column in a ThunderSTORM CSV file.
    dtype : str
        NumPy type.
    required : bool
        Whether a table is useless without it.
    """

    name: str
    title: str
    unit: str
    description: str
    thunderstorm: str
    dtype: Literal["int64", "float64"] = "float64"
    required: bool = False


COLUMNS = (
    Column(
        "frame", "Frame", "", "Frame of the stack, counted from 0.", "frame", "int64", required=True
    ),
    Column(
        "x_nm",
        "x",
        "nm",
        "Distance from the left edge of the image.",
        "x [nm]",
        required=True,
    ),
    Column(
        "y_nm",
        "y",
        "nm",
        "Distance from the upper edge of the image.",
        "y [nm]",
        required=True,
    ),
    Column("sigma_nm", "Sigma", "nm", "Standard deviation of the spot.", "sigma [nm]"),
    Column(
        "photons",
        "Photons",
        "photons",
        "Detected photons of the molecule, background excluded.",
        "intensity [photon]",
    ),
    Column(
        "background_photons",
        "Background",
        "photons/pixel",
        "Background photons per camera pixel.",
        "offset [photon]",
    ),
    Column(
        "noise_photons",
        "Noise",
        "photons",
        "Standard deviation of the background noise of a camera pixel.",
        "bkgstd [photon]",
    ),
    Column(
        "uncertainty_nm",
        "Uncertainty",
        "nm",
        "Expected error of x and of y (standard deviation): root mean square of the two.",
        "uncertainty_xy [nm]",
    ),
    Column(
        "detections",
        "Detections",
        "",
        "Number of detections linked to this localization.",
        "detections",
        "int64",
    ),
    Column(
        "track",
        "Track",
        "",
        "Number of the molecule, the same in all frames in which it stays on, counted from 1.",
        "track",
        "int64",
    ),
    Column(
        "last_frame",
        "Last frame",
        "",
        "Last frame in which the molecule was on; its frame is the first.",
        "last_frame",
        "int64",
    ),
    Column(
        "quality",
        "Quality",
        "",
        "Confidence of the program that found it; here the logarithm of how much less probable the "
        "frame would be without the molecule.",
        "quality",
    ),
    Column(
        "uncertainty_x_nm",
        "Uncertainty of x",
        "nm",
        "Expected error of x (standard deviation).",
        "uncertainty_x [nm]",
    ),
    Column(
        "uncertainty_y_nm",
        "Uncertainty of y",
        "nm",
        "Expected error of y (standard deviation).",
        "uncertainty_y [nm]",
    ),
    Column(
        "uncertainty_photons",
        "Uncertainty of photons",
        "photons",
        "Expected error of the photons (standard deviation).",
        "uncertainty_intensity [photon]",
    ),
)
"""All columns, in the order in which they are written."""

REQUIRED = tuple(column.name for column in COLUMNS if column.required)


def empty_table() -> pd.DataFrame:
    """Return a table without rows that has the required columns."""
    import pandas as pd

    return pd.DataFrame({c.name: np.empty(0, c.dtype) for c in COLUMNS if c.required})


def validate(table: pd.DataFrame) -> pd.DataFrame:
    """Return the known columns of a table, in order and with their types.

    Other columns are dropped. Unknown values (nan) are allowed in optional columns only.

    Raises
    ------
    InputError
        If a required column is missing, a frame is not a whole number from 0 on, or a position
        is not finite.
    """
    missing = [name for name in REQUIRED if name not in table.columns]
    if missing:
        raise InputError(
            f"the localization table has no column {_listed(missing)}",
            f"A table needs the columns {_listed(REQUIRED)}",
        )
    known = [column for column in COLUMNS if column.name in table.columns]
    values = table[[column.name for column in known]].reset_index(drop=True)
    for name in REQUIRED:
        wrong = ~np.isfinite(values[name].to_numpy(float))
        _refuse(wrong, f"{name} is not a number", "Remove that row")
    frames = values["frame"].to_numpy(float)
    _refuse((frames < 0) | (frames % 1 != 0), "the frame is not a whole number from 0 on", "")
    return values.astype({column.name: column.dtype for column in known})


def _refuse(wrong: np.ndarray, problem: str, remedy: str) -> None:
    if wrong.any():
        raise InputError(f"row {wrong.argmax() + 1} of the localization table: {problem}", remedy)


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)
