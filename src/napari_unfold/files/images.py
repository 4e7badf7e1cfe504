"""Images out: TIFF files that ImageJ and napari open with the right pixel size."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_unfold.files.atomic import replacing

NM_PER_CM = 1e7


def write_image(image: NDArray[np.generic], path: Path, pixel_size_nm: float) -> None:
    """Write a 2-D image ``(Y, X)`` or a stack ``(T, Y, X)`` as an ImageJ TIFF.

    Parameters
    ----------
    image : array, uint8, uint16 or float32
    path : Path
    pixel_size_nm : float
    """
    micrometres = pixel_size_nm / 1000.0
    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            image,
            imagej=True,
            photometric="minisblack",  # three frames are not a colour image
            resolution=(1.0 / micrometres, 1.0 / micrometres),
            metadata={"unit": "um", "axes": "TYX"[-image.ndim :]},
        )


def write_ome_image(
    image: NDArray[np.generic], path: Path, pixel_size_nm: float | None, description: str
) -> None:
    """Write an image ``(Y, X)`` or a stack ``(T, Y, X)`` as an OME-TIFF with its pixel size in nm.

    Parameters
    ----------
    image : array
    path : Path
    pixel_size_nm : float, optional
    description : str
        Kept in the file, see `description_of`.
    """
    sizes: dict[str, float | str] = {}
    if pixel_size_nm is not None:
        for axis in "XY":
            sizes[f"PhysicalSize{axis}"] = pixel_size_nm
            sizes[f"PhysicalSize{axis}Unit"] = "nm"
    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            image,
            ome=True,
            photometric="minisblack",
            metadata={"axes": "TYX"[-image.ndim :], "Description": description, **sizes},
        )


def description_of(path: Path) -> str:
    """Return the description in an OME-TIFF; raises ValueError if there is none."""
    with tifffile.TiffFile(path) as tiff:
        xml = tiff.ome_metadata
    found = None if xml is None else ElementTree.fromstring(xml).find(".//{*}Description")
    if found is None or not found.text:
        raise ValueError(f"{path} has no description")
    return found.text


class FrameWriter:
    """Writes a stack frame by frame; the file appears when the last one is written.

    Use as a context manager. BigTIFF, so that it may grow beyond 4 GB.

    Parameters
    ----------
    path : Path
    pixel_size_nm : float
    """

    def __init__(self, path: Path, pixel_size_nm: float) -> None:
        per_cm = NM_PER_CM / pixel_size_nm
        self._path = path
        self._tags = {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}

    def __enter__(self) -> Self:
        self._open = ExitStack()
        temporary = self._open.enter_context(replacing(self._path))
        self._tiff = self._open.enter_context(tifffile.TiffWriter(temporary, bigtiff=True))
        return self

    def __exit__(self, *exception: Any) -> bool | None:
        return self._open.__exit__(*exception)

    def write(self, frames: NDArray[np.float32]) -> None:
        """Append frames ``(T, Y, X)``."""
        for frame in frames:
            self._tiff.write(frame, contiguous=True, metadata={"axes": "TYX"}, **self._tags)
