"""TIFF files of all kinds as stacks, with a sharp eye for truncated ones."""

from __future__ import annotations

import logging
import math
import os
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.files.axes import NO_SELECTION, Selection, frame_planes
from napari_unfold.files.binary import Frames
from napari_unfold.files.stacks import (
    Stack,
    ambiguous_error,
    colour_error,
    stack_error,
    truncated,
)

_Reader: TypeAlias = Callable[[NDArray[np.intp]], np.ndarray]
"""Returns the planes with the given numbers."""

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
_LOSSY = {6: "JPEG", 7: "JPEG", 33007: "JPEG", 34892: "JPEG", 33003: "JPEG 2000",
          33004: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34927: "WebP",
          50001: "WebP", 22610: "JPEG XR", 34934: "JPEG XR", 50002: "JPEG XL",
          52546: "JPEG XL", 34887: "LERC"}  # fmt: skip
_RESOLUTION_UNITS = {2: "inch", 3: "cm"}


def open_tiff(path: Path, selection: Selection = NO_SELECTION, alone: bool = False) -> Stack:
    """Open a TIFF stack; see `napari_unfold.files.opening.open_stack`.

    Parameters
    ----------
    path : Path
    selection : Selection
    alone : bool
        Leave out what other files of a multi-file OME-TIFF hold.

    Raises
    ------
    InputError
        If the file is damaged or is not a stack of grey-value frames.
    """
    with _quiet():
        try:
            tiff = tifffile.TiffFile(path, is_ome=False if alone else None)
        except Exception as error:  # a damaged file fails anywhere in the parser
            raise truncated(path) from error
        try:
            return _stack_of(tiff, path, selection)
        except InputError:
            tiff.close()
            raise
        except Exception as error:
            tiff.close()
            raise truncated(path) from error


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
    if not os.path.isfile(path):  # noqa: PTH113 (never raises)
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


def _stack_of(tiff: Any, path: Path, selection: Selection) -> Stack:
    if len(tiff.pages) == 0:
        raise stack_error(f"'{path}' holds no image", "Copy or export the file again")
    _check_chain(tiff, path)
    series, pages = _find_stack(tiff, path)
    shape, axes = tuple(series.shape), series.axes
    if "S" in axes:
        raise colour_error(path.name)
    if axes[-2:] != "YX":
        raise ambiguous_error(path.name, shape, axes)
    one_by_one = len(tiff.series) > 1 and len(pages) > 1 and len(shape) == 2
    if one_by_one:
        axes, shape = "T" + axes, (len(pages), *shape)
    count = math.prod(shape[:-2])
    _check_announced(tiff, path, count)
    if any(page is None for page in pages):
        raise stack_error(
            f"frames of '{path}' are missing",
            "Keep all files of a multi-file OME-TIFF in one folder, or export it again",
        )
    numbers, notes = frame_planes(path.name, axes[:-2], shape[:-2], selection)
    full = (count, *shape[-2:])
    contiguous = series.dataoffset is not None and len(tiff.series) == 1
    reader = _contiguous(tiff, series, path, full) if contiguous else _paged(pages, path, full)
    return Stack(
        path.name,
        (len(numbers), *shape[-2:]),
        series.dtype,
        lambda start, stop: reader(numbers[start:stop]),
        pixel_size_nm(tiff, path),
        tiff.close,
        files=_files(tiff, path),
        notes=[*notes, *_losses(pages[0], path)],
    )


def _files(tiff: Any, path: Path) -> list[Path]:
    """Return all files of a stack; those of a multi-file OME-TIFF are named in its metadata."""
    others = re.findall(r'FileName="([^"]+)"', tiff.ome_metadata or "") if tiff.is_ome else []
    found = {path, *(path.with_name(Path(name).name) for name in others)}
    return sorted(file for file in found if file.is_file())


def _losses(page: Any, path: Path) -> list[str]:
    name = _LOSSY.get(int(page.compression))
    return (name and [
        f"'{path.name}' is compressed as {name}, which changes the noise of the camera where it is "
        "not lossless: use the raw recording if there is one"
    ]) or []  # fmt: skip


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


def _contiguous(tiff: Any, series: Any, path: Path, shape: tuple[int, int, int]) -> _Reader:
    """Read frames that lie one after the other, uncompressed."""
    frames = Frames(path, shape, series.dtype.newbyteorder(tiff.byteorder), series.dataoffset)
    frames.check()
    return frames.read


def _paged(pages: Sequence[Any], path: Path, shape: tuple[int, int, int]) -> _Reader:
    """Read and decompress frames one by one."""
    if len(pages) != shape[0]:
        raise truncated(path)

    def reader(numbers: NDArray[np.intp]) -> np.ndarray:
        with _quiet():
            return np.stack([_frame(pages[i], i, path, shape[1:]) for i in numbers])

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
        raise truncated(path)


def _check_announced(tiff: Any, path: Path, count: int) -> None:
    """Refuse a file with fewer frames than its header says."""
    announced = (tiff.imagej_metadata or {}).get("images", 1)
    if count < announced:
        raise truncated(path)
    shaped = tiff.shaped_metadata
    if shaped and len(shaped) == 1 and count < math.prod(shaped[0]["shape"][:-2]):
        raise truncated(path)


def pixel_size_nm(tiff: Any, path: Path) -> float | None:
    """Return the size of a pixel, if the file has a plausible one.

    Raises
    ------
    InputError
        If the pixels are not square.
    """
    sides = _ome_sides(tiff.ome_metadata) if tiff.is_ome else _tag_sides(tiff)
    return square(path.name, *sides)


def square(name: str, x_nm: float | None, y_nm: float | None) -> float | None:
    """Return the side of a pixel in nm; raises `InputError` if its sides differ."""
    if x_nm is None or y_nm is None or math.isclose(x_nm, y_nm, rel_tol=0.01):
        return x_nm
    raise stack_error(
        f"the pixels of '{name}' are not square ({x_nm:.4g} x {y_nm:.4g} nm)",
        "Correct the pixel size in its metadata (Fiji: Image > Properties) if it is wrong, or "
        "record without binning of one direction",
    )


def _tag_sides(tiff: Any) -> list[float | None]:
    tags = tiff.pages[0].tags
    if tiff.is_imagej:
        unit = str(tiff.imagej_metadata.get("unit", ""))
    else:
        tag = tags.get("ResolutionUnit")
        unit = _RESOLUTION_UNITS.get(int(tag.value) if tag else 2, "")
    sides: list[float | None] = []
    for name in ("XResolution", "YResolution"):
        pixels, units = tags[name].value if name in tags else (0, 0)
        sides.append(plausible_nm(units / pixels if pixels else math.inf, unit))
    return sides


def _ome_sides(xml: str) -> list[float | None]:
    try:
        for element in ElementTree.fromstring(xml).iter():
            if element.tag.rpartition("}")[2] == "Pixels" and "PhysicalSizeX" in element.attrib:
                known = element.attrib
                return [
                    plausible_nm(float(known[size]), known.get(f"{size}Unit", "µm"))
                    for size in ("PhysicalSizeX", "PhysicalSizeY")
                    if size in known
                ] * (1 if "PhysicalSizeY" in known else 2)
    except (ElementTree.ParseError, ValueError):
        pass  # the frames are good all the same
    return [None, None]


def plausible_nm(size: float, unit: str) -> float | None:
    """Return a length in nm, if the unit is known and a pixel can be of that size."""
    size_nm = size * _NM_PER_UNIT.get(unit.strip().lower(), math.nan)
    low, high = _PLAUSIBLE_NM
    # 72 dots per inch and the like describe paper, not a sample
    return size_nm if low <= size_nm <= high else None


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
