"""Localization tables that are no text: HDF5 files of Picasso and DECODE, ShareLoc, Parquet."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from napari_unfold.errors import InputError
from napari_unfold.files.binary import yaml_documents
from napari_unfold.files.containers import HDF5_SUFFIXES, needed
from napari_unfold.files.dialects import DIALECTS, DialectName, Layout, with_decode_units
from napari_unfold.files.smlm import read_smlm

LARGEST_METADATA_BYTES = 2**22


def read_hdf5(path: Path) -> tuple[Layout, pd.DataFrame]:
    """Read the table of Picasso or of DECODE in an HDF5 file.

    Raises
    ------
    InputError
        If the file is damaged, or holds neither.
    """
    h5py = needed("h5py", "hdf5", path)
    try:
        with h5py.File(path, "r") as file:
            if isinstance(file.get("locs"), h5py.Dataset):
                return _read_picasso(path, file)
            if isinstance(file.get("data"), h5py.Group) and "xyz" in file["data"]:
                return _read_decode(file)
    except InputError:
        raise
    except Exception as error:  # a damaged file fails anywhere
        raise _damaged(path) from error
    raise InputError(
        f"'{path}' holds no localization table that is known",
        "Known are those of Picasso (dataset 'locs') and DECODE (group 'data')",
    )


def holds_table(path: Path) -> bool:
    """Whether a file looks like a table that can be read here."""
    if path.suffix.lower() not in HDF5_SUFFIXES:
        return path.suffix.lower() in BINARY
    try:
        with needed("h5py", "hdf5", path).File(path, "r") as file:
            return "locs" in file or "data/xyz" in file
    except (InputError, OSError):
        return False


def _read_picasso(path: Path, file: Any) -> tuple[Layout, pd.DataFrame]:
    locs = file["locs"][()]
    raw = pd.DataFrame({name: locs[name] for name in locs.dtype.names}, dtype=np.float64)
    if {"sx", "sy"} <= {*raw}:
        raw["sigma"] = np.sqrt(raw["sx"] * raw["sy"])
    if {"lpx", "lpy"} <= {*raw}:
        raw["lp"] = np.sqrt((raw["lpx"] ** 2 + raw["lpy"] ** 2) / 2)
    sizes = [
        float(step[key])
        for step in (*_side_steps(path), *_embedded_steps(file))
        for key in ("Pixelsize", "Camera.Pixelsize")
        if isinstance(step.get(key), int | float) and 0 < step[key] < 1e6
    ]
    return _layout("picasso-hdf5", raw, (sizes[0], sizes[0]) if sizes else None)


def _side_steps(path: Path) -> list[Mapping[str, Any]]:
    """Return what the file beside a table says, one step of its making after the other."""
    side = path.with_suffix(".yaml")
    try:
        return yaml_documents(side) if side.is_file() else []
    except Exception:  # the embedded ones, or the user, may know better
        return []


def _embedded_steps(file: Any) -> list[Mapping[str, Any]]:
    embedded = file.get("metadata")
    if embedded is None or embedded.nbytes > LARGEST_METADATA_BYTES:
        return []
    try:
        return [step for step in json.loads(embedded[()]) if isinstance(step, Mapping)]
    except (ValueError, TypeError, RecursionError):
        return []


def _read_decode(file: Any) -> tuple[Layout, pd.DataFrame]:
    data = file["data"]
    columns: dict[str, Any] = {}
    for name in ("frame_ix", "phot", "bg", "prob", "phot_sig"):
        if name in data and data[name].shape:
            columns[name] = data[name][()]
    for name, ending in (("xyz", ""), ("xyz_sig", "_sig")):
        if name in data and data[name].shape:
            values = data[name][()]
            columns |= {f"x{ending}": values[:, 0], f"y{ending}": values[:, 1]}
    layout, raw = _layout("decode", pd.DataFrame(columns, dtype=np.float64))
    stated = dict(file["meta"].attrs) if "meta" in file else {}
    return with_decode_units(layout, stated.get("xy_unit"), stated.get("px_size")), raw


def read_parquet(path: Path) -> tuple[Layout, pd.DataFrame]:
    """Read a plain table in a Parquet file.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    parquet = needed("pyarrow.parquet", "parquet", path)
    try:
        with parquet.ParquetFile(path, memory_map=False) as file:
            return _layout("plain", file.read().to_pandas())
    except Exception as error:  # a damaged file fails anywhere
        raise _damaged(path) from error


def _layout(
    dialect: DialectName, raw: pd.DataFrame, pixel_size_nm: tuple[float, float] | None = None
) -> tuple[Layout, pd.DataFrame]:
    names = [str(name).lower() for name in raw]
    raw = raw.set_axis(range(len(names)), axis="columns")
    raw.index += 1
    layout = Layout(DIALECTS[dialect], names, [""] * len(names), "", 0, pixel_size_nm)
    return layout, raw


def _damaged(path: Path) -> InputError:
    return InputError(
        f"'{path}' is damaged, or is not what its name says", "Copy or export it again"
    )


BINARY: dict[str, Callable[[Path], tuple[Layout, pd.DataFrame]]] = {
    **dict.fromkeys(HDF5_SUFFIXES, read_hdf5),
    ".parquet": read_parquet,
    ".smlm": read_smlm,
}
"""By suffix; all other tables are text."""
