"""The CSV dialects of localization software: how to know them, and what their numbers mean.

ThunderSTORM, Picasso, webSMLM and Deep-STORM (ZeroCostDL4Mic) share the headers ``x [nm]`` and
``y [nm]``. Of these,

* Deep-STORM is known by its column ``confidence [a.u]``;
* Picasso is known by a header without quotes together with an ``id`` that starts at 0, where
  ThunderSTORM starts at 1;
* webSMLM cannot be told from ThunderSTORM 1.3 and must be asked for by name.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from napari_unfold.errors import InputError
from napari_unfold.tables.columns import COLUMNS

DialectName = Literal[
    "thunderstorm",
    "picasso",
    "picasso-hdf5",
    "smap",
    "websmlm",
    "challenge",
    "decode",
    "deep-storm",
    "smlm",
    "plain",
]

FRAME_NUMBERS = {"frame", "last_frame"}
"""Columns that count frames, from 0 here and from 1 in most files."""


@dataclass(frozen=True)
class Dialect:
    """What the numbers in a table mean.

    Parameters
    ----------
    title : str
        Name for messages.
    columns : dict
        From the header, in lower case and without the unit, to our column.
    first_frame : int
        Number of the first frame of the stack.
    first_center_px : float
        Both coordinates of the centre of the top-left pixel, in pixels; with 0.5 positions count
        from its outer corner.
    units : dict
        Units of columns whose header does not name one; nm and photons otherwise.
    """

    title: str
    columns: dict[str, str]
    first_frame: int = 1
    first_center_px: float = 0.5
    units: dict[str, str] = field(default_factory=dict)


_THUNDERSTORM = {
    "frame": "frame",
    "x": "x_nm",
    "y": "y_nm",
    "sigma": "sigma_nm",
    "intensity": "photons",
    "offset": "background_photons",
    "bkgstd": "noise_photons",
    "uncertainty": "uncertainty_nm",
    "uncertainty_xy": "uncertainty_nm",
    "uncertainty_x": "uncertainty_x_nm",
    "uncertainty_y": "uncertainty_y_nm",
    "uncertainty_intensity": "uncertainty_photons",
    "detections": "detections",
    "track": "track",
    "last_frame": "last_frame",
    "quality": "quality",
}
_CHALLENGE = {"frame": "frame", "xnano": "x_nm", "ynano": "y_nm", "intensity": "photons"}
# DECODE's first coordinate runs along the rows of a TIFF frame, its second along the columns
_DECODE = {
    "frame_ix": "frame",
    "x": "y_nm",
    "y": "x_nm",
    "phot": "photons",
    "bg": "background_photons",
    "prob": "quality",
    "x_sig": "uncertainty_y_nm",
    "y_sig": "uncertainty_x_nm",
    "phot_sig": "uncertainty_photons",
}
_DECODE_LENGTHS = ("x", "y", "x_sig", "y_sig")
# sigma and lp are made of sx, sy and lpx, lpy when the file is read
_PICASSO = {
    "frame": "frame",
    "x": "x_nm",
    "y": "y_nm",
    "sigma": "sigma_nm",
    "photons": "photons",
    "bg": "background_photons",
    "lp": "uncertainty_nm",
    "lpx": "uncertainty_x_nm",
    "lpy": "uncertainty_y_nm",
}
_SMAP = {
    "frame": "frame",
    "xnm": "x_nm",
    "ynm": "y_nm",
    "phot": "photons",
    "bg": "background_photons",
    "locprecnm": "uncertainty_nm",
    "psfxnm": "sigma_nm",
}
# what the format names itself comes first; the rest under our names
_SMLM = {
    "frame": "frame",
    "x": "x_nm",
    "y": "y_nm",
    "intensity": "photons",
    "background": "background_photons",
    "x_precision": "uncertainty_x_nm",
    "y_precision": "uncertainty_y_nm",
    "uncertainty [nm]": "uncertainty_nm",
    **{
        name: name
        for name in (
            "sigma_nm",
            "noise_photons",
            "detections",
            "track",
            "last_frame",
            "quality",
            "uncertainty_photons",
        )
    },
}
_DEEP_STORM = {"frame": "frame", "x": "x_nm", "y": "y_nm", "confidence": "quality"}

DIALECTS: dict[DialectName, Dialect] = {
    "thunderstorm": Dialect("ThunderSTORM", _THUNDERSTORM),
    "picasso": Dialect(
        "Picasso (ThunderSTORM export)", _THUNDERSTORM, first_frame=0, first_center_px=0.0
    ),
    "picasso-hdf5": Dialect(
        "Picasso", _PICASSO, 0, 0.0, dict.fromkeys(("x", "y", "sigma", "lp", "lpx", "lpy"), "px")
    ),
    "smap": Dialect("SMAP", _SMAP, first_center_px=1.0),
    "websmlm": Dialect("webSMLM", _THUNDERSTORM, first_center_px=0.0),
    "challenge": Dialect("SMLM challenge", _CHALLENGE),
    "decode": Dialect("DECODE", _DECODE, first_frame=0, first_center_px=0.0),
    "deep-storm": Dialect("Deep-STORM", _DEEP_STORM),
    "smlm": Dialect("ShareLoc", _SMLM),
    "plain": Dialect("plain", {column.name: column.name for column in COLUMNS}),
}

_STANDARDIZED = ["frame", "xnano", "ynano", "znano", "intensity"]
_KNOWN = (
    "Known are ThunderSTORM, Picasso, SMLM challenge, SMAP, DECODE and Deep-STORM files, and "
    "tables with the columns frame, x_nm, y_nm"
)
_BRACKETS = re.compile(r"\s*\[([^\]]*)\]\s*$")


@dataclass(frozen=True)
class Layout:
    """How one file is to be read.

    Parameters
    ----------
    dialect : Dialect
    names, units : list of str
        Header of each column in lower case without its unit, and the unit (or ``""``).
    separator : str
    header_lines : int
        Lines before the first row.
    pixel_size_nm : tuple of float, optional
        Pixel size along x and y, if the file states it.
    """

    dialect: Dialect
    names: list[str]
    units: list[str]
    separator: str
    header_lines: int
    pixel_size_nm: tuple[float, float] | None = None


def recognize(path: Path, lines: list[str], dialect: DialectName | None = None) -> Layout:
    """Find out from the first lines of a file how to read it.

    Parameters
    ----------
    path : Path
        For messages only.
    lines : list of str
        The first lines of the file, five at least if it has them.
    dialect : str, optional
        One of `DIALECTS`, where the user knows better.

    Raises
    ------
    InputError
        If the layout is not known.
    """
    if dialect is not None and dialect not in DIALECTS:
        raise InputError(
            f"'{dialect}' is not a known kind of table", f"Choose one of {', '.join(DIALECTS)}"
        )
    comments = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    lines, skipped = lines[comments:], lines[:comments]
    if not lines or not lines[0].strip():
        raise InputError(f"'{path}' has no table", "Export the localizations again")
    separator = max(",;\t", key=lines[0].count)
    cells = _cells(lines[0], separator)
    if all(_is_number(cell) for cell in cells):
        return _headerless(path, len(cells), separator, comments, dialect)
    names, units = zip(*(_name_and_unit(cell) for cell in cells), strict=True)
    name = dialect or _dialect_of(path, skipped, lines, cells, separator)
    layout = Layout(DIALECTS[name], list(names), list(units), separator, comments + 1)
    return _with_decode_metadata(layout, skipped) if name == "decode" else layout


def _dialect_of(
    path: Path, skipped: list[str], lines: list[str], cells: list[str], separator: str
) -> DialectName:
    names = [_name_and_unit(cell)[0] for cell in cells]
    if "frame_ix" in names or any("DECODE" in line for line in skipped):
        return "decode"
    if "xnano" in names:
        return "challenge"
    if "x_nm" in names:
        return "plain"
    if "xnm" in names:
        return "smap"
    if "x" in names and any(_BRACKETS.search(cell) for cell in cells):
        if "confidence" in names:
            return "deep-storm"
        first = _cells(lines[1], separator) if len(lines) > 1 else []
        unquoted = '"' not in lines[0]
        if unquoted and names[0] == "id" and first and _is_number(first[0]) and not float(first[0]):
            return "picasso"
        return "thunderstorm"
    found = ", ".join(cells[:8])
    raise InputError(f"the columns of '{path}' are not known ({found})", _KNOWN)


def _headerless(
    path: Path, count: int, separator: str, comments: int, dialect: DialectName | None
) -> Layout:
    # the standardised form of the SMLM challenge; anything else would be guesswork
    if count != len(_STANDARDIZED) or dialect not in (None, "challenge"):
        raise InputError(
            f"'{path}' has {count} columns without a header",
            "Write their names into the first line, such as frame,x_nm,y_nm",
        )
    units = [""] * count
    return Layout(DIALECTS["challenge"], list(_STANDARDIZED), units, separator, comments)


def _with_decode_metadata(layout: Layout, skipped: list[str]) -> Layout:
    """Take unit and pixel size from the third comment line of a DECODE file."""
    metadata: dict[str, Any] = {}
    for line in skipped:
        text = line.lstrip("# ")
        if text.startswith("{"):
            try:
                metadata |= json.loads(text)
            except (ValueError, TypeError, RecursionError):
                continue
    return with_decode_units(layout, metadata.get("xy_unit"), metadata.get("px_size"))


def with_decode_units(layout: Layout, unit: Any, size: Any) -> Layout:
    """Enter what a file of DECODE says of its lengths: their unit, and the size of a pixel."""
    units = dict.fromkeys(_DECODE_LENGTHS, str(unit or "px"))
    layout = replace(layout, dialect=replace(layout.dialect, units=units))
    try:
        rows, columns = (float(value) for value in size)
    except (TypeError, ValueError):
        return layout
    # stated in the order of DECODE's coordinates, which we exchange
    return replace(layout, pixel_size_nm=(columns, rows))


def _cells(line: str, separator: str) -> list[str]:
    """Split a line; a spreadsheet may have put quotes around the whole of it."""
    line = line.strip("\r\n")
    cells = next(csv.reader(io.StringIO(line), delimiter=separator), [])
    if len(cells) == 1 and separator in cells[0]:
        cells = next(csv.reader(io.StringIO(cells[0]), delimiter=separator))
    return [cell.strip().strip("\"'`") for cell in cells]


def _name_and_unit(cell: str) -> tuple[str, str]:
    unit = _BRACKETS.search(cell)
    name = _BRACKETS.sub("", cell).strip().lower()
    return name, unit.group(1).strip() if unit else ""


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
