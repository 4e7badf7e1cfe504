"""TIFF files of all kinds as stacks, with a sharp eye for truncated ones."""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_unfold.errors import InputError
from napari_unfold.files.stacks import (
    Reader,
    Stack,
    ambiguous_error,
    colour_error,
    flat_error,
    stack_error,
)

_NM_PER_UNIT = {
    "pm": 1e-3,
    "å": 0.1,
    "nm": 1.0,
    "nanometer": 1.0,
    "um": 1e3,
    "µm": 1e3,  # micro sign
    "μm": 1e3,  # greek letter mu
    "\\u00b5m": 1e3,  # as ImageJ escapes it
    "micron": 1e3,
    "microns": 1e3,
    "micrometer": 1e3,
    "mm": 1e6,
    "cm": 1e7,
    "inch": 2.54e7,
    "m": 1e9,
}
_PLAUSIBLE_NM = (1.0, 10_000.0)
_RESOLUTION_UNITS = {2: "inch", 3: "cm"}


def open_tiff(path: Path) -> Stack:
    """Open a TIFF stack; see `napari_unfold.files.opening.open_stack`.

    Raises
    ------
    InputError
        If the file is damaged or is not a stack of grey-value frames.
    """
    with _quiet():
        try:
            tiff = tifffile.TiffFile(path)
        except Exception as error:  # a damaged file fails anywhere in the parser
            raise _truncated(path) from error
        try:
            return _stack_of(tiff, path)
        except InputError:
            tiff.close()
            raise
        except Exception as error:
            tiff.close()
            raise _truncated(path) from error


def read_picture(path: Path, field: str) -> np.ndarray:
    """Read a single image, such as a bead or a background map.

    Parameters
    ----------
    path : Path
    field : str
        The setting that names the file, for the error.

    Raises
    ------
    InputError
        If the file is not there, or is not a whole TIFF image.
    """
    if not Path(path).is_file():
        raise InputError(f"there is no file {path}", "Check the path", field)
    with _quiet():
        try:
            with tifffile.TiffFile(path) as tiff:
                _check_chain(tiff, Path(path))
                return np.squeeze(np.asarray(tiff.series[0].asarray()))
        except Exception as error:  # a damaged file fails anywhere in the parser
            raise InputError(
                f"'{path}' is not a TIFF image, or is damaged", "Save it again as TIFF", field
            ) from error


def _stack_of(tiff: Any, path: Path) -> Stack:
    if len(tiff.pages) == 0:
        raise stack_error(f"'{path}' holds no image", "Copy or export the file again")
    _check_chain(tiff, path)
    series, pages = _find_stack(tiff, path)
    shape, axes = tuple(series.shape), series.axes
    if "S" in axes:
        raise colour_error(path.name)
    frames = [n for n, axis in zip(shape, axes, strict=True) if axis not in "YX"]
    if axes[-2:] != "YX" or sum(n > 1 for n in frames) > 1:
        raise ambiguous_error(path.name, shape)
    count = len(pages) if len(tiff.series) > 1 else math.prod(frames)
    _check_announced(tiff, path, count)
    if not frames and count == 1:
        raise flat_error(path.name)
    if any(page is None for page in pages):
        raise stack_error(
            f"frames of '{path}' are missing",
            "Keep all files of a multi-file OME-TIFF in one folder, or export it again",
        )
    full = (count, *shape[-2:])
    contiguous = series.dataoffset is not None and len(tiff.series) == 1
    reader = _mapped(tiff, series, path, full) if contiguous else _paged(pages, path, full)
    return Stack(path.name, full, series.dtype, reader, _pixel_size_nm(tiff), tiff.close)


def _find_stack(tiff: Any, path: Path) -> tuple[Any, Sequence[Any]]:
    """Return the series that is the stack, and its pages."""
    every = list(tiff.series)
    first = every[0]
    if len(every) == 1:
        return first, first.pages
    # written one by one, as separate images of one shape
    if all(s.axes == "YX" and s.shape == first.shape and s.dtype == first.dtype for s in every):
        return first, [s.pages[0] for s in every]
    # next to a stack there may be a thumbnail or a label
    stacks = [s for s in every if len(s.shape) > 2]
    if len(stacks) != 1:
        raise stack_error(
            f"'{path}' holds {len(every)} different images",
            "Save the one with the frames as a file of its own",
        )
    return stacks[0], stacks[0].pages


def _mapped(tiff: Any, series: Any, path: Path, shape: tuple[int, int, int]) -> Reader:
    """Read frames that lie one after the other, uncompressed."""
    dtype = series.dtype.newbyteorder(tiff.byteorder)
    if series.dataoffset + math.prod(shape) * dtype.itemsize > path.stat().st_size:
        raise _truncated(path)
    array = np.memmap(path, dtype, mode="r", offset=series.dataoffset, shape=shape)
    return lambda start, stop: array[start:stop]


def _paged(pages: Sequence[Any], path: Path, shape: tuple[int, int, int]) -> Reader:
    """Read and decompress frames one by one."""
    if len(pages) != shape[0]:
        raise _truncated(path)

    def reader(start: int, stop: int) -> np.ndarray:
        with _quiet():
            frames = [_frame(pages[i], i, path, shape[1:]) for i in range(start, stop)]
        return np.stack(frames) if frames else np.empty((0, *shape[1:]))

    return reader


def _frame(page: Any, index: int, path: Path, shape: tuple[int, int]) -> np.ndarray:
    # data that was never written would be decoded to zeros
    if not all(page.dataoffsets) or not all(page.databytecounts):
        raise _damaged(path, index)
    try:
        with _open(page.parent.filehandle):
            frame = np.asarray(page.asarray())
    except Exception as error:  # every codec has errors of its own
        raise _damaged(path, index) from error
    if frame.size != math.prod(shape):
        raise _damaged(path, index)
    return frame.reshape(shape)


@contextmanager
def _open(file: Any) -> Iterator[None]:
    """Open a further file of a multi-file stack, which tifffile keeps closed."""
    if not file.closed:
        yield
        return
    file.open()
    try:
        yield
    finally:
        file.close()


def _check_chain(tiff: Any, path: Path) -> None:
    """Refuse a file whose last readable page points to a further one."""
    layout, file = tiff.tiff, tiff.filehandle
    file.seek(tiff.pages[-1].offset)
    (tags,) = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))
    file.seek(tags * layout.tagsize, 1)
    link = file.read(layout.offsetsize)
    if len(link) < layout.offsetsize or struct.unpack(layout.offsetformat, link)[0] != 0:
        raise _truncated(path)


def _check_announced(tiff: Any, path: Path, count: int) -> None:
    """Refuse a file with fewer frames than its header says."""
    announced = (tiff.imagej_metadata or {}).get("images", 1)
    if count < announced:
        raise _truncated(path)
    shaped = tiff.shaped_metadata
    if shaped and len(shaped) == 1 and count < math.prod(shaped[0]["shape"][:-2]):
        raise _truncated(path)


def _pixel_size_nm(tiff: Any) -> float | None:
    """Pixel size in nm, if the file has a plausible one."""
    if tiff.is_ome:
        return _ome_pixel_size_nm(tiff.ome_metadata)
    resolution = tiff.pages[0].tags.get("XResolution")
    if resolution is None:
        return None
    if tiff.is_imagej:
        unit = str(tiff.imagej_metadata.get("unit", ""))
    else:
        tag = tiff.pages[0].tags.get("ResolutionUnit")
        unit = _RESOLUTION_UNITS.get(int(tag.value) if tag else 2, "")
    pixels, units = resolution.value
    return _plausible(units / pixels if pixels else math.inf, unit)


def _ome_pixel_size_nm(xml: str) -> float | None:
    try:
        for element in ElementTree.fromstring(xml).iter():
            if element.tag.rpartition("}")[2] == "Pixels" and "PhysicalSizeX" in element.attrib:
                size = float(element.attrib["PhysicalSizeX"])
                return _plausible(size, element.attrib.get("PhysicalSizeXUnit", "µm"))
    except (ElementTree.ParseError, ValueError):
        pass  # the frames are good all the same
    return None


def _plausible(size: float, unit: str) -> float | None:
    size_nm = size * _NM_PER_UNIT.get(unit.strip().lower(), math.nan)
    low, high = _PLAUSIBLE_NM
    # 72 dots per inch and the like describe paper, not a sample
    return size_nm if low <= size_nm <= high else None


def _truncated(path: Path) -> InputError:
    return stack_error(
        f"'{path}' is damaged or truncated: it ends before its last frame",
        "Copy or export the file again",
    )


def _damaged(path: Path, index: int) -> InputError:
    return stack_error(
        f"frame {index + 1} of '{path}' is damaged or truncated", "Copy or export the file again"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep tifffile from logging what is reported as one error anyway."""
    logger = logging.getLogger("tifffile")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
