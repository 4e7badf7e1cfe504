"""Open a recording with what its file says of the pixel size."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari_unfold.files.stacks import Stack
    from napari_unfold.plugin.layers import LayerData

IN_MEMORY_BYTES = 2**27
"""Longer recordings stay on the disk, and frames are read as they are looked at."""

_LOOKED_AT = 5
"""Frames that tell the contrast."""


def stack_layer(path: Path) -> LayerData:
    """Layer data of a recording; in nm, if the file states its pixel size.

    Raises
    ------
    InputError
        If the file is no stack of grey-value frames.
    """
    from napari_unfold.files.opening import open_stack

    stack = open_stack(path)
    numbers = np.unique(np.linspace(0, len(stack) - 1, _LOOKED_AT).astype(int))
    seen = np.concatenate([stack.read(t, t + 1, finite=False) for t in numbers])
    low, high = np.nanpercentile(seen, (0.1, 99.9))
    layer: dict[str, Any] = {
        "name": path.name.split(".")[0],
        "contrast_limits": (float(low), float(max(high, low + 1))),
        "axis_labels": ("t", "y", "x"),
    }
    if stack.pixel_size_nm is not None:
        layer["scale"] = (1.0, stack.pixel_size_nm, stack.pixel_size_nm)
        layer["units"] = ("pixel", "nm", "nm")
    return _frames(stack), layer, "image"


def _frames(stack: Stack) -> Any:
    if np.prod(stack.shape) * stack.dtype.itemsize <= IN_MEMORY_BYTES:
        with stack:
            return stack.read(0, len(stack), finite=False).astype(stack.dtype)
    from dask import array

    return array.from_array(
        _OnDisk(stack), chunks=(1, *stack.shape[1:]), name=False, meta=np.empty(0, stack.dtype)
    )


class _OnDisk:
    """Frames of a stack as dask wants to see them."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        weakref.finalize(self, stack.close)  # when its layer is gone
        self.shape, self.dtype, self.ndim = stack.shape, stack.dtype, 3

    def __getitem__(self, index: tuple[slice | int, slice, slice]) -> np.ndarray:
        t, *yx = index
        start, stop, _ = (slice(t, t + 1) if isinstance(t, int) else t).indices(len(self._stack))
        frames = self._stack.read(start, stop, finite=False).astype(self.dtype)
        return frames[(0 if isinstance(t, int) else slice(None), *yx)]
