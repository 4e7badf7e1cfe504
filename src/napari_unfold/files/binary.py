"""Stacks whose frames lie uncompressed in a file: NumPy, Picasso raw, dax and spe.

Frames are read from their place, never through a memory map: a map of a file that somebody
shortens ends the whole program.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from napari_unfold.files.axes import NO_SELECTION, Selection, frame_planes
from napari_unfold.files.stacks import Stack, colour_error, stack_error, truncated

LARGEST_TEXT_BYTES = 2**18
"""Of a file that describes another one."""

_Description: TypeAlias = tuple[tuple[int, int, int], "np.dtype[Any]", float | None]
"""Shape and type of the frames, and the size of a pixel in nm if it is known."""

_SPE_HEADER_BYTES = 4100
_SPE_FIELDS = ((42, "<H"), (108, "<h"), (656, "<H"), (678, "<Q"), (1446, "<i"), (1992, "<f"))
_SPE_TYPES = {0: "<f4", 1: "<i4", 2: "<i2", 3: "<u2", 8: "<u4"}


@dataclass(frozen=True)
class Frames:
    """Where the frames lie in a file.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        ``(T, Y, X)``.
    dtype : dtype
    first : int
        Bytes before the first frame.
    stride : int, optional
        Bytes from one frame to the next, if there is something in between.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    first: int = 0
    stride: int | None = None

    @property
    def frame_bytes(self) -> int:
        """Size of one frame."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def check(self) -> None:
        """Refuse a file that is too short for its frames, and numbers that cannot be."""
        count, height, width = self.shape
        stride = self.stride or self.frame_bytes
        if min(self.shape) < 1 or stride < self.frame_bytes or self.first < 0:
            raise stack_error(
                f"'{self.path}' is said to hold {count} frames of {height} x {width} pixels",
                "Export it again",
            )
        if self.first + (count - 1) * stride + self.frame_bytes > self.path.stat().st_size:
            raise truncated(self.path)

    def read(self, numbers: NDArray[np.intp]) -> NDArray[Any]:
        """Return the frames of these numbers, ``(T', Y, X)``."""
        frames = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        whole = self.stride is None and len(numbers) > 1 and (np.diff(numbers) == 1).all()
        with self.path.open("rb") as file:
            for target, number in [(frames, numbers[0])] if whole else zip(frames, numbers):  # noqa: B905
                file.seek(self.first + int(number) * (self.stride or self.frame_bytes))
                if file.readinto(target.view(np.uint8).data) != target.nbytes:
                    raise truncated(self.path)
        return frames

    def stack(
        self,
        pixel_size_nm: float | None = None,
        numbers: NDArray[np.intp] | None = None,
        files: tuple[Path, ...] = (),
    ) -> Stack:
        """Return the stack of all frames, or of those with the given numbers."""
        self.check()
        chosen = np.arange(self.shape[0]) if numbers is None else numbers
        return Stack(
            self.path.name,
            (len(chosen), *self.shape[1:]),
            self.dtype,
            lambda start, stop: self.read(chosen[start:stop]),
            pixel_size_nm,
            files=(self.path, *files),
        )


def open_npy(path: Path, selection: Selection = NO_SELECTION) -> Stack:
    """Open an array that was saved with `numpy.save`.

    Raises
    ------
    InputError
        If it is damaged, holds something else than numbers, or has too many axes.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = (np.lib.format.read_array_header_1_0 if version == (1, 0)
                    else np.lib.format.read_array_header_2_0)  # fmt: skip
            shape, by_columns, dtype = read(file)
            first = file.tell()
        size = math.prod(shape) * dtype.itemsize
    except OSError:
        raise
    except Exception as error:  # a damaged header fails anywhere in its parser
        raise stack_error(
            f"'{path}' is damaged, or is not an array of numbers", "Save it again with numpy.save"
        ) from error
    if dtype.hasobject or len(shape) < 2 or (by_columns and size):
        raise stack_error(
            f"'{path}' is not an array of frames (frame, y, x) in that order",
            "Save numpy.ascontiguousarray(frames) with numpy.save",
        )
    if len(shape) >= 3 and shape[-1] in (3, 4):
        raise colour_error(path.name)
    *leading, height, width = shape
    numbers, _ = frame_planes(path.name, "?" * len(leading), leading, selection)
    if not size:
        return Stack(path.name, (len(numbers), height, width), dtype, lambda *_: np.empty(0))
    frames = Frames(path, (math.prod(leading), height, width), dtype, first)
    return frames.stack(numbers=numbers)


def open_raw(path: Path, selection: Selection = NO_SELECTION) -> Stack:
    """Open a movie of Picasso: numbers in ``.raw``, described by a ``.yaml`` of the same name."""

    def parse(side: Path) -> _Description:
        content = yaml_documents(side)[0]
        shape = (int(content["Frames"]), int(content["Height"]), int(content["Width"]))
        dtype = np.dtype(str(content["Data Type"])).newbyteorder(content.get("Byte Order", "<"))
        size = content.get("Pixelsize", content.get("Camera.Pixelsize"))
        return shape, dtype, float(size) if isinstance(size, int | float) and size > 0 else None

    return _described(path, ".yaml", parse, selection)


def open_dax(path: Path, selection: Selection = NO_SELECTION) -> Stack:
    """Open a movie of storm-analysis: ``.dax``, described by an ``.inf`` of the same name."""

    def parse(side: Path) -> _Description:
        with side.open("rb") as file:
            text = file.read(LARGEST_TEXT_BYTES).decode("utf-8", "replace")
        size = re.search(r"^frame dimensions = (\d{1,9}) x (\d{1,9})", text, re.MULTILINE)
        count = re.search(r"^number of frames = (\d{1,9})", text, re.MULTILINE)
        if size is None or count is None:
            raise ValueError
        dtype = np.dtype("<u2" if " little endian" in text else ">u2")
        return (int(count[1]), int(size[2]), int(size[1])), dtype, None

    return _described(path, ".inf", parse, selection)


def _described(
    path: Path, suffix: str, parse: Callable[[Path], _Description], selection: Selection
) -> Stack:
    """Open a movie that a text file beside it describes."""
    side = path.with_suffix(suffix)
    if not side.is_file():
        raise stack_error(
            f"there is no '{side.name}' beside '{path}', which tells the size of its frames",
            "Copy both files into one folder",
        )
    try:
        shape, dtype, pixel_size_nm = parse(side)
        if dtype.hasobject:
            raise TypeError
    except Exception as error:  # a damaged text fails anywhere in its parser
        raise stack_error(
            f"'{side}' does not tell the size and type of the frames of '{path.name}'",
            "Copy or export both files again",
        ) from error
    return _only_frames(Frames(path, shape, dtype), selection, pixel_size_nm, side)


def open_spe(path: Path, selection: Selection = NO_SELECTION) -> Stack:
    """Open a movie of Princeton Instruments' cameras: WinView (2.x) and LightField (3.x)."""
    with path.open("rb") as file:
        header = file.read(_SPE_HEADER_BYTES)
        if len(header) < _SPE_HEADER_BYTES:
            raise truncated(path)
        width, kind, height, footer, count, version = (
            struct.unpack_from(kind, header, place)[0] for place, kind in _SPE_FIELDS
        )
        if kind not in _SPE_TYPES:
            raise stack_error(f"'{path}' has pixels of an unknown type ({kind})", "Save it as TIFF")
        stride = None
        if version >= 3 and 0 < footer < path.stat().st_size:
            file.seek(footer)
            stride = _spe_stride(path, file.read(LARGEST_TEXT_BYTES))
    frames = Frames(
        path, (count, height, width), np.dtype(_SPE_TYPES[kind]), _SPE_HEADER_BYTES, stride
    )
    return _only_frames(frames, selection)


def _spe_stride(path: Path, footer: bytes) -> int | None:
    """Bytes from one frame to the next, as the footer of LightField says."""
    try:
        blocks = list(ElementTree.fromstring(footer.rstrip(b"\0")).iter())
        frames = [b for b in blocks if b.tag.endswith("DataBlock") and b.get("type") == "Frame"]
        regions = [b for b in blocks if b.tag.endswith("DataBlock") and b.get("type") == "Region"]
        stride = int(frames[0].attrib["stride"]) if frames else None
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise truncated(path) from error
    if len(frames) > 1 or len(regions) > 1:
        raise stack_error(
            f"'{path}' holds several regions of the camera", "Export one of them as TIFF"
        )
    return stride


def _only_frames(
    frames: Frames, selection: Selection, pixel_size_nm: float | None = None, *sides: Path
) -> Stack:
    """Return the stack of a format that has no other axis than time."""
    numbers, _ = frame_planes(frames.path.name, "T", frames.shape[:1], selection)
    return frames.stack(pixel_size_nm, numbers, files=sides)


def yaml_documents(path: Path) -> list[Mapping[str, Any]]:
    """Return the documents of a YAML file; raises some exception if one is no mapping."""
    import yaml

    with path.open("rb") as file:
        text = file.read(LARGEST_TEXT_BYTES).decode("utf-8", "replace")
    # not by the loader in C: lists within lists within lists make it crash
    documents = list(yaml.safe_load_all(text))
    if not documents or not all(isinstance(document, Mapping) for document in documents):
        raise TypeError
    return documents
