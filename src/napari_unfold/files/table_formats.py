"""Localization tables out: which name makes which kind of file, and what is in it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

import napari_unfold
from napari_unfold.errors import InputError
from napari_unfold.files.atomic import replacing
from napari_unfold.files.containers import needed
from napari_unfold.files.dialects import DIALECTS, FRAME_NUMBERS
from napari_unfold.files.results import Write, save_together
from napari_unfold.files.smlm import write_smlm
from napari_unfold.tables.columns import COLUMNS, validate


@dataclass(frozen=True)
class Movie:
    """What other programs want to know of the stack that a table was made from.

    Attributes
    ----------
    pixel_size_nm : float, optional
        Side of a camera pixel.
    shape : tuple of int, optional
        ``(T, Y, X)``.
    """

    pixel_size_nm: float | None = None
    shape: tuple[int, int, int] | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Return what the record of a result says of its stack."""
        try:
            frames, height, width = map(int, record["stack"]["shape"])
            return cls(float(record["recipe"]["optics"]["pixel_size_nm"]), (frames, height, width))
        except (KeyError, TypeError, ValueError):
            return cls()

    def need_pixel_size(self, program: str) -> float:
        """Return the pixel size; raises `InputError` if it is not known."""
        if self.pixel_size_nm is None:
            raise InputError(
                f"a table for {program} cannot be written without the size of a camera pixel",
                "Give it in nm",
                field="camera_pixel_nm",
            )
        return self.pixel_size_nm

    def covering(self, table: pd.DataFrame) -> tuple[int, int, int]:
        """Return ``(T, Y, X)``; where it is not known, the least that holds all localizations."""
        size = self.need_pixel_size("Picasso")
        if self.shape is not None:
            return self.shape
        if not len(table):
            return 1, 1, 1
        frames, y_nm, x_nm = (float(table[name].max()) for name in ("frame", "y_nm", "x_nm"))
        return int(frames) + 1, *(max(1, math.ceil(side / size)) for side in (y_nm, x_nm))  # type: ignore[return-value]


_WriteTable = Callable[[pd.DataFrame, Path, Movie], None]


@dataclass(frozen=True)
class TableFormat:
    """One kind of file for localizations.

    Attributes
    ----------
    title : str
    suffix : str
        How the names of such files end.
    write : callable
        Writes a valid table.
    beside : dict
        Further files that belong to it, by what they have in place of the suffix.
    """

    title: str
    suffix: str
    write: _WriteTable
    beside: Mapping[str, _WriteTable]


def _thunderstorm(table: pd.DataFrame, path: Path, _: Movie) -> None:
    known = [c for c in COLUMNS if c.name in table and (c.required or table[c.name].notna().any())]
    output = table[[column.name for column in known]].replace([np.inf, -np.inf], np.nan)
    for name in FRAME_NUMBERS & set(output):
        output[name] += 1
    output.insert(0, "id", np.arange(1, len(output) + 1))
    header = ",".join(f'"{name}"' for name in ("id", *(c.thunderstorm for c in known)))
    _write_text(output, path, header)


def _challenge(table: pd.DataFrame, path: Path, _: Movie) -> None:
    output = pd.DataFrame(
        {
            "index": np.arange(1, len(table) + 1),
            "frame": table["frame"] + 1,
            "xnano": table["x_nm"],
            "ynano": table["y_nm"],
            "znano": 0.0,
            "intensity": table.get("photons", math.nan),
        }
    )
    _write_text(output, path, "Ground-truth,frame,xnano,ynano,znano,intensity")


def _smap(table: pd.DataFrame, path: Path, movie: Movie) -> None:
    dialect = DIALECTS["smap"]
    shift_nm = (dialect.first_center_px - 0.5) * movie.need_pixel_size("SMAP")
    ours = {name: header for header, name in dialect.columns.items() if name in table}
    output = table[[*ours]].rename(columns=ours).rename(columns={"psfxnm": "PSFxnm"})
    output["frame"] += dialect.first_frame
    output[["xnm", "ynm"]] += shift_nm
    _write_text(output, path, ",".join(map(str, output)))


def _write_text(output: pd.DataFrame, path: Path, header: str) -> None:
    whole = [np.issubdtype(kind, np.integer) for kind in output.dtypes]
    # ThunderSTORM takes 1e-05 for 1, and refuses empty cells
    line = ",".join("%d" if is_whole else "%.5f" for is_whole in whole) + "\n"
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as f:
        f.write(header + "\n")
        # many times faster than pandas, which formats every cell by itself
        for start in range(0, len(output), _LINES):
            some = (output[name].to_numpy()[start : start + _LINES].tolist() for name in output)
            f.write("".join([line % row for row in zip(*some, strict=True)]).replace("nan", "NaN"))


_LINES = 2**14
"""Written at a time."""


def _picasso(table: pd.DataFrame, path: Path, movie: Movie) -> None:
    h5py = needed("h5py", "hdf5", path)
    size = movie.need_pixel_size("Picasso")
    precision = [
        table.get(f"uncertainty_{axis}_nm", table.get("uncertainty_nm")) for axis in ("x", "y")
    ]
    if any(column is None or not np.isfinite(column).all() for column in precision):
        raise InputError(
            "Picasso needs the uncertainty of every localization, which this table does not have",
            "Choose another kind of table",
        )
    columns: dict[str, Any] = {
        "frame": table["frame"].astype(np.uint32),
        "x": table["x_nm"] / size - 0.5,
        "y": table["y_nm"] / size - 0.5,
        "photons": table.get("photons"),
        "sx": table["sigma_nm"] / size if "sigma_nm" in table else None,
        "sy": table["sigma_nm"] / size if "sigma_nm" in table else None,
        "bg": table.get("background_photons"),
        "lpx": precision[0] / size,  # type: ignore[operator]
        "lpy": precision[1] / size,  # type: ignore[operator]
    }
    # Picasso drops rows in which a number is missing
    kept = {n: c for n, c in columns.items() if c is not None and np.isfinite(c).all()}
    locs = np.empty(len(table), [(n, "<u4" if n == "frame" else "<f4") for n in kept])
    for name, column in kept.items():
        locs[name] = column
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file["locs"] = locs
        file["metadata"] = json.dumps([_picasso_metadata(table, movie)])


def _picasso_yaml(table: pd.DataFrame, path: Path, movie: Movie) -> None:
    import yaml

    with replacing(path) as temporary:
        temporary.write_text(yaml.safe_dump(_picasso_metadata(table, movie)), "utf-8")


def _picasso_metadata(table: pd.DataFrame, movie: Movie) -> dict[str, Any]:
    frames, height, width = movie.covering(table)
    return {
        "Generated by": f"napari-unfold {napari_unfold.__version__}",
        "Frames": frames,
        "Height": height,
        "Width": width,
        "Pixelsize": movie.need_pixel_size("Picasso"),
    }


def _parquet(table: pd.DataFrame, path: Path, _: Movie) -> None:
    needed("pyarrow.parquet", "parquet", path)
    output = table.copy()
    for name in FRAME_NUMBERS & set(output):
        output[name] += DIALECTS["plain"].first_frame
    with replacing(path) as temporary:
        output.to_parquet(temporary, engine="pyarrow", index=False)


FORMATS = (
    TableFormat("ThunderSTORM", ".csv", _thunderstorm, {}),
    TableFormat("Picasso", ".hdf5", _picasso, {".yaml": _picasso_yaml}),
    TableFormat("SMLM challenge", ".challenge.csv", _challenge, {}),
    TableFormat("SMAP", ".smap.csv", _smap, {}),
    TableFormat("ShareLoc", ".smlm", write_smlm, {}),
    TableFormat("Parquet", ".parquet", _parquet, {}),
)
"""All kinds; the first one is the usual one."""


def format_of(path: Path) -> TableFormat:
    """Return the kind of table that a file name asks for; text of any other name is ThunderSTORM.

    Raises
    ------
    InputError
        If such files can be read at best.
    """
    name = path.name.lower()
    fitting = [form for form in FORMATS if name.endswith(form.suffix)]
    if not fitting and path.suffix.lower() in (".h5", ".hdf", ".json", ".tif", ".tiff", ".npy"):
        raise InputError(
            f"no localization table is written into a file like '{path}'",
            "Choose a name that ends in " + ", ".join(f"{f.suffix} ({f.title})" for f in FORMATS),
        )
    return max(fitting, key=lambda form: len(form.suffix)) if fitting else FORMATS[0]


def table_files(
    table: pd.DataFrame, path: Path, movie: Movie | None = None
) -> dict[Path | None, Write]:
    """Return the files for a table, and what writes each of them.

    Raises
    ------
    InputError
        If the table is not valid, or files of that name cannot be written.
    """
    form, table, movie = format_of(path), validate(table), movie or Movie()
    files: dict[Path | None, Write] = {path: lambda target: form.write(table, target, movie)}
    for place, write in zip(paths_of(path)[1:], form.beside.values(), strict=True):
        files[place] = partial(_write_beside, write, table, movie)
    return files


def _write_beside(write: _WriteTable, table: pd.DataFrame, movie: Movie, path: Path) -> None:
    write(table, path, movie)


def paths_of(path: Path) -> list[Path]:
    """Return the files that a table of this name consists of."""
    form = format_of(path)
    stem = path.name[: -len(form.suffix)]
    return [path, *(path.with_name(stem + suffix) for suffix in form.beside)]


def write_localizations(table: pd.DataFrame, path: str | Path, movie: Movie | None = None) -> None:
    """Write a table; the end of the name tells which kind.

    ``.csv`` makes a ThunderSTORM table, which most programs of the field read: frames count from
    1, positions in nm from the outer corner of the top-left pixel; optional columns that are absent
    or hold no value at all are left out. ``.hdf5`` makes a table of Picasso and the ``.yaml`` that
    belongs to it, ``.challenge.csv`` one of the SMLM challenge, ``.smap.csv`` one of SMAP,
    ``.smlm`` one of ShareLoc, ``.parquet`` our own columns, with frames from 1.

    Parameters
    ----------
    table : DataFrame
    path : Path
    movie : Movie, optional
        What is known of the stack; Picasso and SMAP need its pixel size.

    Raises
    ------
    InputError
        If the table is not valid, something is not known, or the file cannot be written.
    """
    save_together(table_files(table, Path(path), movie))
