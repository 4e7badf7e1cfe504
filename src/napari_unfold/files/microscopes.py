"""Stacks in the files of Nikon (ND2) and Zeiss (CZI) microscopes.

What reads them is imported when such a file is opened; not everybody has it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from napari_unfold.errors import InputError
from napari_unfold.files.axes import NO_SELECTION, Selection, frame_planes
from napari_unfold.files.containers import careful, needed, unreadable
from napari_unfold.files.stacks import Stack, ambiguous_error, colour_error, stack_error, truncated
from napari_unfold.files.tiff import plausible_nm, square


class _Strict(io.RawIOBase):
    """A file that is read from its place, never through a memory map, and never too short.

    nd2 maps what it knows as a file of the system, and takes what is missing for black.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        self.strict = False

    def read(self, size: int = -1, /) -> bytes:
        content = self._file.read(size)
        if self.strict and len(content) < size:
            raise truncated(self._path)
        return content

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


def open_nd2(path: Path, selection: Selection = NO_SELECTION) -> Stack:
    """Open a recording of a Nikon microscope.

    Raises
    ------
    InputError
        If it is damaged, or has more axes than frames, channels and planes.
    """
    nd2 = needed("nd2", "nd2", path)
    file = _Strict(path)
    try:
        recording = nd2.ND2File(file)
        sizes = dict(recording.sizes)
        if "S" in sizes:
            raise colour_error(path.name)
        height, width = sizes.pop("Y"), sizes.pop("X")
        channels = sizes.get("C", 1)
        axes = "".join(axis if len(axis) == 1 else "?" for axis in sizes)
        numbers, notes = frame_planes(path.name, axes, [*sizes.values()], selection)
        if channels > 1 and axes[-1] != "C":
            raise ambiguous_error(path.name, tuple(sizes.values()), axes)
        voxel = recording.voxel_size()
        side = square(path.name, *(plausible_nm(n, "µm") for n in (voxel.x, voxel.y)))
        dtype = recording.dtype
        file.strict = True
    except InputError:
        file.close()
        raise
    except Exception as error:  # a damaged file fails anywhere in the parser
        file.close()
        raise unreadable(path) from error

    def reader(start: int, stop: int) -> Any:
        frames = []
        for number in numbers[start:stop]:
            planes = recording.read_frame(int(number) // channels)
            frames.append(np.reshape(planes, (channels, height, width))[int(number) % channels])
        return np.reshape(frames, (-1, height, width))

    return Stack(
        path.name, (len(numbers), height, width), dtype, careful(reader, path), side,
        recording.close, files=[path], notes=notes,
    )  # fmt: skip


def open_czi(path: Path, selection: Selection = NO_SELECTION) -> Stack:
    """Open a recording of a Zeiss microscope.

    Raises
    ------
    InputError
        If it is damaged, is made of tiles, or has more axes than frames, channels and planes.
    """
    czifile = needed("czifile", "czi", path)
    try:
        recording = czifile.CziFile(path)
    except Exception as error:  # a damaged file fails anywhere in the parser
        raise unreadable(path) from error
    try:
        names, lengths, starts = recording.axes, recording.shape, recording.start
        if lengths[names.index("0")] > 1:
            raise colour_error(path.name)
        kept = [i for i, name in enumerate(names) if name not in "YX0"]
        axes, leading = "".join(names[i] for i in kept), [lengths[i] for i in kept]
        height, width = (lengths[names.index(name)] for name in "YX")
        numbers, notes = frame_planes(path.name, axes, leading, selection)
        blocks = {}
        for block in recording.filtered_subblock_directory:
            if [block.shape[names.index(name)] for name in "YX"] != [height, width]:
                raise stack_error(f"'{path}' is made of tiles", "Export one of them as TIFF")
            blocks[tuple(block.start[i] - starts[i] for i in kept)] = block
        side = square(path.name, *_czi_sides(recording.metadata()))
        size = path.stat().st_size
        if any(block.compression in (1, 4) for block in blocks.values()):
            notes.append(f"'{path.name}' is compressed as JPEG, which may change the noise")
    except InputError:
        recording.close()
        raise
    except Exception as error:
        recording.close()
        raise unreadable(path) from error

    def reader(start: int, stop: int) -> Any:
        places = np.transpose(np.unravel_index(numbers[start:stop], leading))
        segments = [blocks[tuple(map(int, place))].data_segment() for place in places]
        if any(segment.data_size > size for segment in segments):
            raise truncated(path)
        return np.reshape([segment.data() for segment in segments], (-1, height, width))

    return Stack(
        path.name, (len(numbers), height, width), recording.dtype, careful(reader, path), side,
        recording.close, files=[path], notes=notes,
    )  # fmt: skip


def _czi_sides(xml: str) -> tuple[float | None, float | None]:
    """Return width and height of a pixel in nm."""
    found: dict[str, float | None] = {"X": None, "Y": None}
    for element in ElementTree.fromstring(xml or "<none/>").iter("Distance"):
        value = element.findtext("Value")
        if value and element.get("Id") in found:
            found[element.attrib["Id"]] = plausible_nm(float(value), "m")
    return found["X"], found["Y"]
