"""Images out: TIFF files that ImageJ and napari open with the right pixel size."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

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
