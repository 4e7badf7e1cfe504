"""Stacks in files that hold many things: OME-Zarr and HDF5.

What reads them is imported when such a file is opened; not everybody has it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from napari_unfold.errors import InputError
from napari_unfold.files.axes import NO_SELECTION, Selection, frame_planes
from napari_unfold.files.stacks import Reader, Stack, ambiguous_error, colour_error, stack_error
from napari_unfold.files.tiff import plausible_nm, square

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")


def needed(package: str, extra: str, path: Path) -> Any:
    """Import what reads or writes a kind of file.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise InputError(
            f"for '{path.name}' the package {package.partition('.')[0]} is needed, which is not "
            "installed",
            f'Install it with: pip install "napari-unfold[{extra}]"',
            field="stack",
        ) from error


def open_zarr(path: Path, selection: Selection = NO_SELECTION) -> Stack:
    """Open an OME-Zarr image (finest level), or a plain Zarr array.

    Raises
    ------
    InputError
        If it is damaged, or holds no stack.
    """
    zarr = needed("zarr", "zarr", path)
    try:
        node = zarr.open(str(path), mode="r")
        attributes = dict(node.attrs)
        if "bioformats2raw.layout" in attributes or "bioformats2raw.layout" in attributes.get(
            "ome", {}
        ):
            node = node["0"]  # the first of the images of one recording
            attributes = dict(node.attrs)
        described = attributes.get("ome", attributes).get("multiscales")
        if described is None and not hasattr(node, "shape"):
            raise stack_error(f"'{path}' holds no image", "Choose the folder of the image in it")
        if described is None:
            array, axes, side = node, "?" * (node.ndim - 2) + "YX", None
        else:
            array, axes, sides = _finest(node, described[0])
            side = square(path.name, *sides)
        there = array.nchunks_initialized
    except InputError:
        raise
    except Exception as error:  # foreign metadata fail anywhere
        raise unreadable(path) from error
    _check_blosc(path / array.path, path)
    stack = _array_stack(path, array, axes, selection, side)
    if there < array.nchunks:
        stack.notes += (
            f"Of '{path}' there are {there} of {array.nchunks} chunks; what is missing is taken "
            f"for {array.fill_value}",
        )
    return stack


def _check_blosc(folder: Path, path: Path) -> None:
    """Refuse chunks that are shorter than they say, which the codec Blosc does not notice."""
    described = [folder / name for name in (".zarray", "zarr.json") if (folder / name).is_file()]
    text = described[0].read_text("utf-8") if described else ""
    if "blosc" not in text or "sharding_indexed" in text:
        return
    for chunk in folder.rglob("*"):
        if chunk.is_file() and chunk not in described and chunk.name[0] != ".":
            with chunk.open("rb") as file:
                header = file.read(16)
            if int.from_bytes(header[12:16], "little") != chunk.stat().st_size:
                raise stack_error(
                    f"the chunk '{chunk.relative_to(path)}' of '{path}' is damaged or truncated",
                    "Copy or export the image again",
                )


def _finest(group: Any, image: Any) -> tuple[Any, str, tuple[float | None, float | None]]:
    """Return the finest level of an OME-Zarr image, its axes, and the sides of its pixels."""
    level = image["datasets"][0]
    axes = image.get("axes") or [*"tczyx"]
    named = [axis if isinstance(axis, dict) else {"name": axis} for axis in axes]
    scale = [1.0] * len(named)
    for change in (*level.get("coordinateTransformations", ()),
                   *image.get("coordinateTransformations", ())):  # fmt: skip
        if change.get("type") == "scale":
            scale = [a * float(b) for a, b in zip(scale, change["scale"], strict=True)]
    x, y = (
        plausible_nm(size, str(axis.get("unit", "")))
        for size, axis in [*zip(scale, named, strict=True)][:-3:-1]
    )
    return group[level["path"]], "".join(axis["name"][:1].upper() for axis in named), (x, y)


def open_hdf5(path: Path, selection: Selection = NO_SELECTION) -> Stack:
    """Open the one stack in an HDF5 file, or that named after it as in ``movie.h5/entry/data``.

    Raises
    ------
    InputError
        If it is damaged, or does not hold just one stack.
    """
    file = next(p for p in (path, *path.parents) if p.suffix.lower() in HDF5_SUFFIXES)
    h5py = needed("h5py", "hdf5", file)
    try:
        opened = h5py.File(file, "r")
    except OSError as error:
        raise unreadable(file) from error
    try:
        wanted = path.relative_to(file).as_posix()
        names = _hdf5_stacks(h5py, opened) if wanted == "." else [wanted]
        if len(names) != 1:
            many = f"several: {', '.join(names[:5])}{', …' if names[5:] else ''}"
            raise stack_error(
                f"'{file}' holds {many if names else 'no stack of frames'}",
                f"Name one as in '{file.name}/{names[0]}'" if names else "Choose another file",
            )
        array = opened.get(names[0])
        if not isinstance(array, h5py.Dataset) or array.ndim < 2:
            raise stack_error(f"'{file}' holds no stack '{names[0]}'", "Check its name")
        axes = "?" * (array.ndim - 2) + "YX"
        return _array_stack(file, array, axes, selection, close=opened.close)
    except InputError:
        opened.close()
        raise
    except Exception as error:  # a damaged file fails anywhere
        opened.close()
        raise unreadable(file) from error


def _hdf5_stacks(h5py: Any, file: Any) -> list[str]:
    found: list[str] = []

    def look(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim >= 3 and item.dtype.kind in "iuf":
            found.append(name)

    file.visititems(look)
    return found


def _array_stack(
    path: Path,
    array: Any,
    axes: str,
    selection: Selection,
    pixel_size_nm: float | None = None,
    close: Callable[[], None] | None = None,
) -> Stack:
    """Return the stack in an array that is read where it is indexed."""
    shape = tuple(int(n) for n in array.shape)
    if len(axes) != len(shape) or axes[-2:] != "YX":
        raise ambiguous_error(path.name, shape, axes)
    if len(shape) >= 3 and shape[-1] in (3, 4) and "?" in axes:
        raise colour_error(path.name)
    *leading, height, width = shape
    numbers, notes = frame_planes(path.name, axes[:-2], leading, selection)

    def reader(start: int, stop: int) -> Any:
        # one axis at most differs between the frames, and by one from each to the next
        places = np.unravel_index(numbers[start:stop], leading) if leading else ()
        index = tuple(_along(int(place[0]), int(place[-1])) for place in places)
        return np.asarray(array[index])

    return Stack(
        path.name, (len(numbers), height, width), array.dtype, careful(reader, path),
        pixel_size_nm, close, files=[path], notes=notes,
    )  # fmt: skip


def _along(first: int, last: int) -> Any:
    return first if first == last else slice(first, last + 1)


def careful(reader: Reader, path: Path) -> Reader:
    """Report what a foreign library says of a damaged frame as damage."""

    def read(start: int, stop: int) -> Any:
        try:
            return reader(start, stop)
        except (InputError, MemoryError):
            raise
        except Exception as error:
            raise stack_error(
                f"frames {start + 1} to {stop} of '{path}' are damaged or missing",
                "Copy or export the file again",
            ) from error

    return read


def unreadable(path: Path) -> InputError:
    """Return the error for a file that its library cannot open."""
    return stack_error(
        f"'{path}' is damaged, or is not what its name says", "Copy or export it again"
    )
