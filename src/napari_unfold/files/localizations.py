"""Localization tables in, of any program and in one convention; out they go by `table_formats`."""

from __future__ import annotations

import re
import stat
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from napari_unfold.errors import InputError
from napari_unfold.files.binary_tables import BINARY
from napari_unfold.files.dialects import FRAME_NUMBERS, DialectName, Layout, recognize
from napari_unfold.files.table_formats import write_localizations
from napari_unfold.tables.columns import COLUMNS, REQUIRED, empty_table, validate

__all__ = ["read_localizations", "write_localizations"]

_NM_PER_UNIT = {"": 1.0, "nm": 1.0, "um": 1e3, "µm": 1e3, "μm": 1e3, "\ufffdm": 1e3}
_LENGTHS = {column.name for column in COLUMNS if column.unit == "nm"}
_PHOTONS = {"photons", "background_photons", "noise_photons"}
_COUNTS = {column.name for column in COLUMNS if column.dtype == "int64" and not column.required}
_SURPLUS = "(surplus)"


def read_localizations(
    path: str | Path,
    *,
    pixel_size_nm: float | None = None,
    dialect: DialectName | None = None,
) -> pd.DataFrame:
    """Read a localization table of any known kind.

    Parameters
    ----------
    path : Path
        CSV file (or one with semicolons or tabs), HDF5 file of Picasso or DECODE, ``.smlm`` of
        ShareLoc, or Parquet file with the columns of a plain table.
    pixel_size_nm : float, optional
        Side of a camera pixel, for files in pixels or with the origin at a pixel centre that do
        not state it.
    dialect : str, optional
        For text files, one of `napari_unfold.files.dialects.DIALECTS`; recognised from the file
        if not given.

    Returns
    -------
    DataFrame
        Columns of `napari_unfold.tables.columns.COLUMNS`: nm from the outer corner of the
        top-left pixel, frames from 0. Intensities in ADU are left out.

    Raises
    ------
    InputError
        If the file cannot be read; the message names the line.
    """
    path = Path(path)
    try:
        layout, raw = _read(path, dialect)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"there is no file '{path}'", "Check the name and folder") from error
    except (OSError, ValueError) as error:  # a ValueError is a name that no file can have
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"'{path}' cannot be opened ({reason})", "Check that you may read the file"
        ) from error
    sources = _sources(path, layout)
    table = pd.DataFrame({name: _numbers(path, raw[index]) for name, index in sources.items()})
    _check_rows(path, layout, table)
    for name in FRAME_NUMBERS & set(table):
        table[name] -= layout.dialect.first_frame
    _convert_units(path, layout, sources, table, pixel_size_nm)
    optional = table.columns.difference([*REQUIRED])
    table[optional] = table[optional].replace([np.inf, -np.inf], np.nan)
    _fill_whole_numbers(table)
    return validate(table) if len(table) else empty_table()


def _read(path: Path, dialect: DialectName | None) -> tuple[Layout, pd.DataFrame]:
    """Return how a file is to be read, and the numbers or texts in its columns."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise InputError(f"'{path}' is a folder", "Choose a table in it")
    if not stat.S_ISREG(mode):
        raise InputError(f"'{path}' is a device or a pipe", "Save the table as a file first")
    if path.suffix.lower() in BINARY:
        return BINARY[path.suffix.lower()](path)
    layout = recognize(path, _first_lines(path), dialect)
    return layout, _read_text(path, layout)


def _fill_whole_numbers(table: pd.DataFrame) -> None:
    """Replace what is missing in columns that cannot say so, or leave them out."""
    if "detections" in table:
        table["detections"] = table["detections"].fillna(1)
    if "last_frame" in table:
        table["last_frame"] = table["last_frame"].fillna(table["frame"])
    for name in _COUNTS & set(table):  # tracks make sense for all or none
        if not ((table[name].abs() < 2**53) & (table[name] % 1 == 0)).all():
            del table[name]


def _first_lines(path: Path) -> list[str]:
    with path.open("rb") as file:
        start = file.read(65536)
    if not start.strip():
        raise InputError(f"'{path}' is empty", "Export the localizations again")
    if b"\0" in start:
        raise InputError(
            f"'{path}' is not a text file", "Export the localizations as CSV text (UTF-8)"
        )
    return start.decode("utf-8-sig", errors="replace").splitlines()[:20]


def _sources(path: Path, layout: Layout) -> dict[str, int]:
    """Which column of the file holds which of our columns."""
    sources: dict[str, int] = {}
    for index, (name, unit) in enumerate(zip(layout.names, layout.units, strict=True)):
        ours = layout.dialect.columns.get(name)
        if ours is None or ours in sources or (ours in _PHOTONS and unit.lower() == "adu"):
            continue
        sources[ours] = index
    headers = {ours: header for header, ours in layout.dialect.columns.items()}
    missing = [f"'{headers[name]}'" for name in REQUIRED if name not in sources]
    if missing:
        raise InputError(
            f"'{path}', read as a {layout.dialect.title} file, has no column {', '.join(missing)}",
            "Export it again with the frame and both coordinates",
        )
    return sources


def _read_text(path: Path, layout: Layout) -> pd.DataFrame:
    """Read the columns, indexed by the line in the file from 1."""
    names = [*range(len(layout.names)), _SURPLUS]
    try:
        with warnings.catch_warnings():
            # a line with several cells too many
            warnings.simplefilter("error", pd.errors.ParserWarning)
            raw = pd.read_csv(
                path,
                sep=layout.separator,
                names=names,
                header=None,
                index_col=False,
                skiprows=layout.header_lines,
                skip_blank_lines=False,
                skipinitialspace=True,
                low_memory=False,
                encoding="utf-8-sig",
                encoding_errors="replace",
            )
    except pd.errors.EmptyDataError:
        raw = pd.DataFrame(columns=names)
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError) as error:
        raise _bad_line(path, error) from error
    raw.index += layout.header_lines + 1
    raw = raw.dropna(how="all")
    surplus = raw[_SURPLUS].notna()
    if surplus.any():
        raise InputError(
            f"line {surplus.idxmax()} of '{path}' has more cells than the header",
            "Correct that line, or use a point as the decimal mark",
        )
    return raw


def _numbers(path: Path, cells: pd.Series) -> pd.Series:
    values = pd.to_numeric(cells, errors="coerce")
    wrong = values.isna() & cells.notna()
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise InputError(
            f"line {cells.index[row]} of '{path}': '{str(cells.iloc[row])[:40]}' is not a number",
            "Correct that line; the decimal mark must be a point",
        )
    return values.astype(np.float64)


def _bad_line(path: Path, error: Exception) -> InputError:
    line = re.search(r"line (\d+)", str(error))
    where = f"line {line.group(1)} of '{path}'" if line else f"'{path}'"
    return InputError(
        f"{where} cannot be split into cells", "Correct that line, or export the table again"
    )


def _check_rows(path: Path, layout: Layout, table: pd.DataFrame) -> None:
    """Refuse positions and frames that cannot be."""
    for name in REQUIRED:
        wrong = ~np.isfinite(table[name])
        if wrong.any():
            what = "the frame" if name == "frame" else f"the coordinate {name[0]}"
            raise InputError(
                f"line {wrong.idxmax()} of '{path}': {what} is missing or is not finite",
                "Correct or remove that line",
            )
    first = layout.dialect.first_frame
    wrong = (table["frame"] < first) | (table["frame"] % 1 != 0) | (table["frame"] > 2**53)
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise InputError(
            f"line {table.index[row]} of '{path}': frame {table['frame'].iloc[row]:g} cannot be, "
            f"as frames of {layout.dialect.title} files are whole numbers from {first} on",
            "Correct that line, or say which program wrote the file",
        )


def _convert_units(
    path: Path,
    layout: Layout,
    sources: dict[str, int],
    table: pd.DataFrame,
    pixel_size_nm: float | None,
) -> None:
    """Turn lengths into nm from the corner of the top-left pixel, in place."""
    sizes = layout.pixel_size_nm or (pixel_size_nm, pixel_size_nm)
    for name in _LENGTHS & set(sources):
        index = sources[name]
        unit = layout.units[index] or layout.dialect.units.get(layout.names[index], "")
        size = sizes["y_nm" in name or "_y_" in name]
        shift_px = layout.dialect.first_center_px - 0.5
        centers = shift_px != 0 and name in ("x_nm", "y_nm")
        in_pixels = unit.lower() in ("px", "pixel", "pixels")
        if (centers or in_pixels) and size is None:
            raise InputError(
                f"'{path}' ({layout.dialect.title}) cannot be placed without the pixel size, as "
                + ("it is in pixels" if in_pixels else "it does not count from a pixel's corner"),
                "Give the pixel size in nm",
                field="optics.pixel_size_nm",
            )
        factor = size if in_pixels else _NM_PER_UNIT.get(unit.lower())
        if factor is None:
            raise InputError(
                f"the unit '{unit}' of '{layout.names[index]}' in '{path}' is not known",
                "Use nm, um or px",
            )
        table[name] *= factor
        if centers and size is not None:
            table[name] -= shift_px * size
