"""Tables of ShareLoc, ``.smlm``: a ZIP archive of packed rows, and a manifest that describes them.

Format: specification of version 0.2 by the authors of ShareLoc. It states neither where positions
count from nor the number of the first frame; its plug-in for ThunderSTORM passes that program's
numbers on (from the outer corner, frames from 1), and so do we.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import napari_unfold
from napari_unfold.errors import InputError
from napari_unfold.files.atomic import replacing
from napari_unfold.files.dialects import DIALECTS, FRAME_NUMBERS, Layout
from napari_unfold.tables.columns import COLUMNS

if TYPE_CHECKING:
    from napari_unfold.files.table_formats import Movie

MANIFEST, TABLE, FORMAT = "manifest.json", "table.bin", "smlm-table(binary)"
LARGEST_MANIFEST_BYTES, LARGEST_TABLE_BYTES = 2**24, 2**32
"""Beyond which nothing is unpacked into memory."""
NUMBERS = {"int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"}
_UNITS = {"nm": "nm", "photons": "photon", "photons/pixel": "photon"}


def write_smlm(table: pd.DataFrame, path: Path, _: Movie | None = None) -> None:
    """Write a valid table."""
    units = {column.name: _UNITS.get(column.unit, "") for column in COLUMNS}
    headers = {ours: header for header, ours in DIALECTS["smlm"].columns.items()}
    names = [name for name in headers if name in table]
    output = table[names].copy()
    for name in FRAME_NUMBERS & set(names):
        output[name] += DIALECTS["smlm"].first_frame
    kinds = ["<u4" if output[name].dtype.kind == "i" else "<f8" for name in names]
    rows = np.empty(len(output), [(headers[n], k) for n, k in zip(names, kinds, strict=True)])
    for name in names:
        rows[headers[name]] = output[name]
    known = {
        "name": FORMAT, "type": "table", "mode": "binary", "extension": ".bin",
        "columns": len(kinds), "headers": list(rows.dtype.names or ()),
        "dtype": [np.dtype(kind).name for kind in kinds], "shape": [1] * len(kinds),
        "units": ["frame" if name in FRAME_NUMBERS else units[name] for name in names],
    }  # fmt: skip
    file = {
        "name": TABLE, "type": "table", "format": FORMAT, "channel": "default",
        "rows": len(rows), "offset": {},
    }  # fmt: skip
    manifest = {
        "format_version": "0.2", "formats": {FORMAT: known}, "files": [file], "name": path.stem,
        "description": f"Written by napari-unfold {napari_unfold.__version__}", "tags": [],
    }  # fmt: skip
    with (
        replacing(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.writestr(MANIFEST, json.dumps(manifest, indent=1))
        archive.writestr(TABLE, rows.tobytes())


def read_smlm(path: Path) -> tuple[Layout, pd.DataFrame]:
    """Read the first table in a file.

    Raises
    ------
    InputError
        If the file is damaged, or its table is of a kind that the format does not describe.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(_content(archive, MANIFEST, LARGEST_MANIFEST_BYTES))
            file = next(one for one in manifest["files"] if one["type"] == "table")
            known = manifest["formats"][file["format"]]
            rows = _rows(_content(archive, file["name"], LARGEST_TABLE_BYTES), known, file)
    except Exception as error:  # a damaged file fails anywhere
        raise InputError(
            f"'{path}' is damaged, or holds no binary table as ShareLoc describes it",
            "Copy or export it again, or export it as CSV",
        ) from error
    headers = [str(header).lower() for header in known["headers"]]
    stated = [str(unit) for unit in known.get("units", [""] * len(headers))]
    units = [
        unit if header in _LENGTHS else "" for header, unit in zip(headers, stated, strict=True)
    ]
    rows.index += 1
    dialect = DIALECTS["smlm"]
    if "frame" in headers and (rows[headers.index("frame")] == 0).any():
        dialect = replace(dialect, first_frame=0)
    return Layout(dialect, headers, units, "", 0), rows


_LENGTHS = {h for h, ours in DIALECTS["smlm"].columns.items() if ours.endswith("_nm")}


def _content(archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    if archive.getinfo(name).file_size > largest:
        raise ValueError(f"{name} is too large")
    return archive.read(name)


def _rows(content: bytes, known: Mapping[str, Any], file: Mapping[str, Any]) -> pd.DataFrame:
    """Return the columns by number, values of more than one number left out."""
    if known["mode"] != "binary" or not set(known["dtype"]) <= NUMBERS:
        raise ValueError("the table is not binary")
    sizes = [math.prod(np.ravel(shape).astype(int).tolist()) for shape in known["shape"]]
    parts = zip(range(len(sizes)), known["dtype"], sizes, strict=True)
    kind = np.dtype([(str(i), np.dtype(d).newbyteorder("<"), (n,)) for i, d, n in parts])
    rows = np.frombuffer(content, kind, int(file["rows"]))
    offset = file.get("offset") or {}
    columns = {}
    for i, header in enumerate(known["headers"]):
        single = rows[str(i)][:, 0] if sizes[i] == 1 else np.full(len(rows), np.nan)
        columns[i] = single.astype(np.float64) + float(offset.get(header, 0.0))
    return pd.DataFrame(columns)
