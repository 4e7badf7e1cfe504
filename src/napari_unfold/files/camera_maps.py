"""Calibrations of a camera, one number a pixel: reading what others write, and writing ours.

Offset in grey values (ADU), gain in ADU per photon, variance of a dark pixel in ADU squared. A file
holds one map (TIFF or NumPy), or several one after the other in the layout of storm-analysis:
offset, variance, gain, relative quantum efficiency. Such a file is given once, for any of its maps.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.files.atomic import replacing
from napari_unfold.files.result_folder import ResultFolder
from napari_unfold.files.results import save_set
from napari_unfold.files.tiff import read_picture
from napari_unfold.settings.microscope import Camera

Map = NDArray[np.float32]

SETTINGS = {"offset": "offset_map", "variance": "variance_map", "gain": "gain_map"}
"""The setting of the camera that names the file of each map."""

LARGEST = 1e9


@dataclass(frozen=True, eq=False)
class CameraMaps:
    """Maps of a camera, as far as there are any.

    Attributes
    ----------
    offset : array (Y, X), optional
        Grey value of a dark pixel, in ADU.
    variance : array (Y, X), optional
        Of a dark pixel, in ADU squared.
    gain : array (Y, X), optional
        ADU per photon.
    """

    FILES: ClassVar = ("offset.tif", "variance.tif", "gain.tif")

    offset: Map | None = None
    variance: Map | None = None
    gain: Map | None = None

    @property
    def given(self) -> dict[str, Map]:
        """The maps that there are, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: values for name, values in found.items() if values is not None}

    @property
    def transposed(self) -> CameraMaps:
        """The same with rows and columns exchanged."""
        return replace(self, **{name: values.T for name, values in self.given.items()})

    def save(self, folder: Path | ResultFolder) -> list[Path]:
        """Write ``offset.tif``, ``variance.tif`` and ``gain.tif``, as far as there are any.

        Raises
        ------
        InputError
            If the folder cannot be written.
        """
        files = {f"{name}.tif": partial(_write, values) for name, values in self.given.items()}
        return save_set(folder, files)


def _write(values: Map, path: Path) -> None:
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, values, photometric="minisblack")


def read_camera_maps(camera: Camera) -> CameraMaps:
    """Read the maps that the settings of a camera name.

    Maps that are not named, but stand in a file that is, are taken from there.

    Raises
    ------
    InputError
        If a file cannot be read, or holds values that cannot be.
    """
    paths = {name: getattr(camera, setting) for name, setting in SETTINGS.items()}
    files = {
        name: _read(path, f"camera.{SETTINGS[name]}")
        for name, path in paths.items()
        if path is not None
    }
    found: dict[str, Map] = {}
    for layout in files.values():
        found |= {name: values for name, values in layout.items() if name != "only"}
    for name, layout in files.items():
        if "only" in layout:
            found[name] = layout["only"]
        elif name in layout:
            found[name] = layout[name]
        else:
            raise InputError(
                f"'{paths[name]}' holds no {name} map", "Choose another file", _field(name)
            )
    for name, values in found.items():
        _check(name, values)
    return CameraMaps(**found)


def _field(name: str) -> str:
    return f"camera.{SETTINGS[name]}"


def _read(path: Path, field: str) -> Mapping[str, Map]:
    """Return the maps of a file by name, or the only one."""
    array = _read_npy(path, field) if path.suffix.lower() == ".npy" else read_picture(path, field)
    if array.dtype.kind not in "iuf":
        raise InputError(
            f"'{path}' holds values of the type {array.dtype}", "Save numbers", field=field
        )
    with np.errstate(over="ignore"):
        maps = array.astype(np.float32)
    if maps.ndim == 2:
        return {"only": maps}
    if maps.ndim == 3 and 2 <= len(maps) <= 5:
        names = ("offset", "variance", "gain", "efficiency")
        found = dict(zip(names, maps, strict=False))
        efficiency = found.pop("efficiency", None)
        if efficiency is not None:
            found["gain"] = found["gain"] * efficiency  # grey values per photon, not electron
        return found
    raise InputError(
        f"'{path}' has the shape {' x '.join(map(str, array.shape))}, which is not that of a map",
        "Give one number per camera pixel, or offset, variance and gain one after the other",
        field=field,
    )


def _read_npy(path: Path, field: str) -> NDArray[np.generic]:
    if not os.path.isfile(path):  # noqa: PTH113 (never raises)
        raise InputError(f"there is no file {path}", "Check the path", field)
    try:
        array: NDArray[np.generic] = np.load(path, allow_pickle=False)
    except Exception as error:  # a damaged header fails anywhere in its parser
        if "Object arrays" in str(error):
            raise InputError(
                f"'{path}' holds Python objects, which may contain programs and are not opened",
                "Save its maps again as one array of numbers: "
                "numpy.save(file, numpy.stack([offset, variance, gain]))",
                field=field,
            ) from error
        raise InputError(
            f"'{path}' is damaged, or is not an array of numbers",
            "Save it again with numpy.save",
            field=field,
        ) from error
    return array


def _check(name: str, values: Map) -> None:
    """Refuse values that no camera has."""
    whole = f"the {name} map of the camera"
    bad = ~np.isfinite(values) | (np.abs(values) > LARGEST)
    if bad.any():
        raise InputError(
            f"{whole} has {np.count_nonzero(bad)} values that are not finite numbers",
            "Fill these pixels first",
            _field(name),
        )
    if name == "gain" and not (values > 0).all():
        raise InputError(
            f"{whole} has {np.count_nonzero(values <= 0)} pixels of zero or less ADU per photon",
            "Fill these pixels first, or check which map this is",
            _field(name),
        )
    if name == "variance" and not (values >= 0).all():
        raise InputError(
            f"{whole} has {np.count_nonzero(values < 0)} negative values, which no variance has",
            "Check which map this is: it holds ADU squared",
            _field(name),
        )
