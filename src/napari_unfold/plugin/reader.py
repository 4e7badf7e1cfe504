"""Open localization tables as Points layers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_unfold.plugin.layers import LayerData, Placement

_BINARY_SUFFIXES = (".hdf5", ".h5", ".parquet", ".smlm")
_SNIFFED_BYTES = 16384
_NAPARIS_OWN = re.compile(r"index,(shape-type,vertex-index,)?axis-0,")
_POINT_SIZE_NM = 100.0


def get_reader(path: str | list[str]) -> Callable[[str], list[LayerData]] | None:
    """Return a reader if the file is a localization table, judged by its header; else None.

    napari's own Points and Shapes are given to napari. Other CSV and HDF5 files are left to other
    readers, and so are columns of bare numbers: they could be anything.
    """
    from napari_unfold.errors import InputError
    from napari_unfold.files.dialects import recognize

    if not isinstance(path, str) or not os.path.isfile(path):  # noqa: PTH113 (never raises)
        return None
    if Path(path).suffix.lower() in _BINARY_SUFFIXES:
        from napari_unfold.files.binary_tables import holds_table

        return read_points if holds_table(Path(path)) else None
    try:
        with Path(path).open("rb") as file:
            text = file.read(_SNIFFED_BYTES).decode("utf-8-sig", errors="replace")
        if _NAPARIS_OWN.match(text):
            from napari_builtins.io import napari_get_reader  # type: ignore[import-untyped]

            naparis: Callable[[str], list[LayerData]] = napari_get_reader(path)
            return naparis
        layout = recognize(Path(path), text.splitlines()[:20])
    except (OSError, InputError):
        return None
    has_names = layout.header_lines > 0
    has_position = {"x_nm", "y_nm"} <= {layout.dialect.columns.get(name) for name in layout.names}
    return read_points if has_names and has_position else None


def read_points(path: str) -> list[LayerData]:
    """Read a localization table as a Points layer.

    Tables count from the outer corner of the first pixel, napari from its centre. If the current
    viewer shows a stack with a pixel size, the points are laid over it; otherwise the corner is
    at the origin of the world.

    Raises
    ------
    InputError
        If the table cannot be read; the message names the line.
    """
    from napari_unfold.files.localizations import read_localizations
    from napari_unfold.plugin.layers import points_layer

    placement, pixel_size = _open_stack() or (_corner_at_origin(), 1.0)
    known_size = pixel_size if placement.name else None
    table = read_localizations(path, pixel_size_nm=known_size)
    name = Path(path).name.split(".")[0]
    size = {} if placement.name else {"size": _POINT_SIZE_NM}
    return [points_layer(table, placement, pixel_size, name=name, **size)]


def _open_stack() -> tuple[Placement, float] | None:
    """Return the placement and pixel size in nm of the topmost stack of the current viewer."""
    from napari import current_viewer
    from napari.layers import Image
    from napari.utils.notifications import show_info

    from napari_unfold.errors import InputError
    from napari_unfold.plugin.layers import Placement, pixel_size_nm

    viewer = current_viewer()
    layers = reversed(viewer.layers if viewer is not None else [])
    stacks = [layer for layer in layers if isinstance(layer, Image) and layer.ndim > 2]
    for layer in stacks:
        try:
            size = pixel_size_nm(layer)
        except InputError:
            continue
        if size is not None:
            return Placement.of(layer), size
    if stacks:
        # points in nm beside a stack in pixels are drawn at unrelated sizes
        show_info(
            f"'{stacks[0].name}' has no pixel size, so the localizations cannot lie over it. "
            "Enter it in 'Unfold: reconstruct', press 'Apply to layer', then open the table again."
        )
    return None


def _corner_at_origin() -> Placement:
    import numpy as np

    from napari_unfold.plugin.layers import Placement

    # pixels of 1 nm, the corner of the first one at 0
    return Placement(
        name="",
        scale=np.ones(3),
        translate=np.array([0.0, 0.5, 0.5]),
        rotate=np.eye(3),
        shear=np.eye(3),
        affine=np.eye(4),
        units=("pixel", "nm", "nm"),
    )
