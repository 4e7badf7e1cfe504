"""Opening a stack by its file name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_unfold.files.stacks import Stack, as_stack, stack_error
from napari_unfold.files.tiff import open_tiff


def open_stack(path: str | Path) -> Stack:
    """Open a stack of frames: TIFF, OME-TIFF, ImageJ TIFF, BigTIFF, or NumPy ``.npy``.

    Frames are read from the disk when they are needed, so that the memory used does not depend
    on the length of the stack.

    Raises
    ------
    InputError
        If the file is missing, damaged, or not a stack of grey-value frames.
    """
    path = Path(path)
    if path.is_dir():
        raise stack_error(f"'{path}' is a folder", "Choose the file with the stack")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(4)
    except FileNotFoundError as error:
        raise stack_error(f"there is no file '{path}'", "Check the name and folder") from error
    except OSError as error:
        raise stack_error(
            f"'{path}' cannot be opened ({error.strerror})", "Check that you may read the file"
        ) from error
    if size == 0:
        raise stack_error(f"'{path}' is empty", "Copy or export the file again")
    if path.suffix.lower() == ".npy":
        return _open_npy(path)
    if start[:2] not in (b"II", b"MM"):
        raise stack_error(
            f"'{path}' is not a TIFF file", "Open it in Fiji (Bio-Formats) and save it as TIFF"
        )

    return open_tiff(path)


def _open_npy(path: Path) -> Stack:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise stack_error(
            f"'{path}' is damaged, or is not an array of numbers", "Save it again with numpy.save"
        ) from error
    return as_stack(array, name=path.name)
