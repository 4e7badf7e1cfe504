"""Images out: TIFF files that ImageJ and napari open with the right pixel size."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
    kept : Path, optional
        File on the same disk to write to meanwhile, which is not removed.
    """

    def __init__(self, path: Path, pixel_size_nm: float, kept: Path | None = None) -> None:
        per_cm = NM_PER_CM / pixel_size_nm
        self._path, self._kept = path, kept
        self._tags = {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
        self._first, self._count = 0, 0  # where the first frame begins, and how many there are

    def __enter__(self) -> Self:
        self._open = ExitStack()
        temporary = self._open.enter_context(replacing(self._path))
        if self._kept is not None:
            self._kept.parent.mkdir(parents=True, exist_ok=True)
            self._open.push(self._handed_to(temporary))
        self._tiff = self._open.enter_context(
            tifffile.TiffWriter(self._kept or temporary, bigtiff=True)
        )
        return self

    def __exit__(self, *exception: Any) -> bool | None:
        return self._open.__exit__(*exception)

    def write(self, frames: NDArray[np.float32]) -> None:
        """Append frames ``(T, Y, X)``."""
        for frame in frames:
            offset, _ = self._tiff.write(
                frame, contiguous=True, metadata={"axes": "TYX"}, returnoffset=True, **self._tags
            )
            self._first = self._first or offset
            self._count += 1

    def flush(self) -> tuple[int, int]:
        """Let all frames reach the disk; return where they begin in the file, and their number."""
        self._tiff.filehandle.flush()
        os.fsync(self._tiff.filehandle.fileno())
        return self._first, self._count

    def _handed_to(self, path: Path) -> Any:
        def hand(kind: Any, *_: Any) -> None:
            if kind is None and self._kept is not None:
                try:
                    path.hardlink_to(self._kept)  # which so stays until `path` is in its place
                except (OSError, NotImplementedError):  # a disk without links
                    self._kept.replace(path)

        return hand


def frames_in(
    path: Path, offset: int, count: int, shape: tuple[int, int]
) -> Iterator[NDArray[np.float32]]:
    """Yield the frames in a file that a `FrameWriter` has not finished.

    Parameters
    ----------
    path : Path
    offset, count : int
        As returned by `FrameWriter.flush`.
    shape : tuple of int
    """
    with path.open("rb") as file:
        file.seek(offset)
        for _ in range(count):
            yield np.fromfile(file, "=f4", shape[0] * shape[1]).reshape(shape)
