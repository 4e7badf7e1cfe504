"""A folder of TIFF files as one stack."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np

from napari_unfold.files.axes import NO_SELECTION, Selection
from napari_unfold.files.stacks import Stack, stack_error
from napari_unfold.files.tiff import open_tiff

TIFF_SUFFIXES = (".tif", ".tiff", ".btf")


def tiff_files(folder: Path) -> list[Path]:
    """Return the TIFF files in a folder, in natural order."""
    files = (p for p in folder.iterdir() if p.suffix.lower() in TIFF_SUFFIXES and p.name[0] != ".")
    return natural_order(files)


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Order paths by their names as a person would count them: 2 before 10."""
    return sorted(paths, key=lambda path: _natural(path.name))


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.findall(r"\d+|\D+", name)
    return [(int(p), "") if p.isdecimal() and len(p) < 4000 else (-1, p.lower()) for p in parts]


def open_folder(folder: Path, selection: Selection = NO_SELECTION) -> Stack:
    """Open the TIFF files of a folder, one after the other, as one stack.

    Raises
    ------
    InputError
        If there are none, or one of them is damaged or not as the first one.
    """
    files = tiff_files(folder)
    if not files:
        raise stack_error(f"'{folder}' is a folder without TIFF files", "Choose a stack")
    lengths, first = [], None
    for file in files:
        with open_tiff(file, selection, alone=True) as stack:
            first = first or stack
            lengths.append(len(stack))
            if (stack.shape[1:], stack.dtype) != (first.shape[1:], first.dtype):
                raise stack_error(
                    f"'{file}' is not of the size and type of '{first.name}' before it",
                    "Leave only the frames of one recording in the folder",
                )
    assert first is not None
    return Stack(
        folder.name,
        (sum(lengths), *first.shape[1:]),
        first.dtype,
        _Reader(files, lengths, selection),
        first.pixel_size_nm,
        files=[folder],
        notes=[f"{len(files)} files of '{folder}' are read as one stack, from '{files[0].name}' "
               f"to '{files[-1].name}'", *first.notes],
    )  # fmt: skip


class _Reader:
    """Reads frames that are spread over files."""

    def __init__(self, files: Sequence[Path], lengths: Sequence[int], selection: Selection) -> None:
        self._files = files
        self._starts = [0, *accumulate(lengths)]
        self._selection = selection
        self._times = [file.stat().st_mtime_ns for file in files]

    def __call__(self, start: int, stop: int) -> np.ndarray:
        found = []
        for i, (first, after) in enumerate(pairwise(self._starts)):
            low, high = max(start, first), min(stop, after)
            if low < high:
                found.append(self._read(i, low - first, high - first))
            if after >= stop:
                break
        return np.concatenate(found)

    def _read(self, i: int, start: int, stop: int) -> np.ndarray:
        file = self._files[i]
        if not file.is_file() or file.stat().st_mtime_ns != self._times[i]:
            raise stack_error(
                f"'{file}' was changed or removed while it was read",
                "Wait until nothing writes to the folder any more, then start again",
            )
        with open_tiff(file, self._selection, alone=True) as stack:
            return stack.read(start, stop, finite=False)
