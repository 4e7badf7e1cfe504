"""Opening a stack by its name: which kind of file is read by what."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from napari_unfold.files.axes import Selection
from napari_unfold.files.binary import open_dax, open_npy, open_raw, open_spe
from napari_unfold.files.containers import HDF5_SUFFIXES, open_hdf5, open_zarr
from napari_unfold.files.microscopes import open_czi, open_nd2
from napari_unfold.files.sequences import TIFF_SUFFIXES, natural_order, open_folder
from napari_unfold.files.stacks import Stack, stack_error
from napari_unfold.files.tiff import open_tiff

FORMATS: dict[str, Callable[[Path, Selection], Stack]] = {
    ".npy": open_npy,
    ".raw": open_raw,
    ".dax": open_dax,
    ".spe": open_spe,
    ".nd2": open_nd2,
    ".czi": open_czi,
    ".zarr": open_zarr,
    **dict.fromkeys(HDF5_SUFFIXES, open_hdf5),
}
"""By suffix; what is not listed is a TIFF file, or none that is known."""

_ZARR_SIGNS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


def open_stack(path: str | Path, *, channel: int | None = None, plane: int | None = None) -> Stack:
    """Open a stack of frames of any known kind.

    These are TIFF (ImageJ, OME, BigTIFF; also a folder of them, in natural order), NumPy ``.npy``,
    OME-Zarr, HDF5, Picasso ``.raw``, ``.dax``, ``.spe``, ``.nd2``, ``.czi``. Frames are read from
    the disk when they are needed, so that the memory used does not depend on the length of the
    stack.

    Parameters
    ----------
    path : Path
    channel, plane : int, optional
        Which one of several to take, counted from 0.

    Raises
    ------
    InputError
        If the file is missing, damaged, or not a stack of grey-value frames.
    """
    path = Path(path)
    selection = Selection(channel, plane)
    try:
        return _opener(path)(path, selection).watched()
    except FileNotFoundError as error:
        raise stack_error(f"there is no file '{path}'", "Check the name and folder") from error
    except (OSError, ValueError) as error:  # a ValueError is a name that no file can have
        reason = error.strerror if isinstance(error, OSError) else error
        raise stack_error(
            f"'{path}' cannot be opened ({reason})", "Check that you may read the file"
        ) from error


def find_stacks(places: Sequence[Path], apart_from: Iterable[Path] = ()) -> list[Path]:
    """Return the stacks among files and folders, each once, as a person would order them.

    Parameters
    ----------
    places : sequence of Path
        Files are taken as they are; of folders, what lies directly in them and has the ending of a
        known kind of stack.
    apart_from : iterable of Path
        Files that are no stacks, such as maps of the camera.

    Raises
    ------
    InputError
        If a place is missing, or there is no stack at all.
    """
    others = {path.resolve() for path in apart_from}
    found: dict[Path, Path] = {}
    for place in places:
        if not place.exists():
            raise stack_error(f"there is no file or folder '{place}'", "Check the name and folder")
        is_one = place.is_file() or _opener(place) is not open_folder
        for path in [place] if is_one else natural_order(place.iterdir()):
            known = path.suffix.lower() in {*FORMATS, *TIFF_SUFFIXES} and path.name[0] != "."
            if (is_one or known) and path.resolve() not in others:
                found.setdefault(path.resolve(), path)
    if not found:
        names = ", ".join(f"'{place}'" for place in places)
        raise stack_error(f"there are no stacks in {names}", "Choose the folder they lie in")
    return list(found.values())


def _opener(path: Path) -> Callable[[Path, Selection], Stack]:
    inside = next((p for p in path.parents if p.suffix.lower() in HDF5_SUFFIXES), None)
    if inside is not None and inside.is_file():
        return open_hdf5
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        is_zarr = path.suffix.lower() == ".zarr" or any((path / n).is_file() for n in _ZARR_SIGNS)
        return open_zarr if is_zarr else open_folder
    if not stat.S_ISREG(found.st_mode):
        raise stack_error(f"'{path}' is a device or a pipe", "Save the stack as a file first")
    if found.st_size == 0:
        raise stack_error(f"'{path}' is empty", "Copy or export the file again")
    if path.suffix.lower() in FORMATS:
        return FORMATS[path.suffix.lower()]
    with path.open("rb") as file:
        if file.read(2) not in (b"II", b"MM"):
            raise stack_error(
                f"'{path}' is not a TIFF file", "Open it in Fiji (Bio-Formats) and save it as TIFF"
            )
    return open_tiff
