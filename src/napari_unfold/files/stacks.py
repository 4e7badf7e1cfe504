"""Frame stacks from arrays and files, read a few frames at a time."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from napari_unfold.errors import InputError

Reader = Callable[[int, int], Any]


class Stack:
    """Frames of a camera that are read when they are needed.

    Parameters
    ----------
    name : str
        How messages call the stack.
    shape : tuple of int
        Frames and camera pixels, ``(T, Y, X)``.
    dtype : dtype
        Type of the stored grey values.
    reader : callable
        ``reader(start, stop)`` returns these frames as an array-like.
    pixel_size_nm : float, optional
        Side of a camera pixel, where it is known.
    close : callable, optional
        Releases the file.
    files : sequence of Path
        What it is read from.
    notes : sequence of str
        What is to be said of it.

    Raises
    ------
    InputError
        If there are no frames, or the grey values are not real numbers.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, int, int],
        dtype: Any,
        reader: Reader,
        pixel_size_nm: float | None = None,
        close: Callable[[], None] | None = None,
        files: Sequence[Path] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.pixel_size_nm = pixel_size_nm
        self._reader = reader
        self._close = close
        self.files = tuple(files)
        self.notes = tuple(notes)
        self._unchanged: Callable[[], None] = lambda: None
        if self.dtype.kind not in "iuf":
            raise stack_error(
                f"'{name}' has pixels of the type {self.dtype}",
                "Grey values must be whole or decimal numbers; convert it to 16 or 32 bit",
            )
        if 0 in shape:
            raise stack_error(
                f"'{name}' is empty: {shape[0]} frames of {shape[1]} x {shape[2]} pixels",
                "Choose a stack with at least one frame",
            )

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int, stop: int, finite: bool = True) -> np.ndarray:
        """Read the frames from `start` up to, but not including, `stop`.

        Parameters
        ----------
        start, stop : int
        finite : bool
            Refuse pixels that are not finite numbers.

        Returns
        -------
        array, shape (T', Y, X), float32
            Grey values in ADU.

        Raises
        ------
        InputError
            If a frame is damaged or has a pixel that is not a finite number.
        """
        start, stop, _ = slice(start, stop).indices(len(self))
        if start >= stop:
            return np.empty((0, *self.shape[1:]), np.float32)
        with np.errstate(over="ignore"):
            frames = np.asarray(self._read(start, stop)).astype(np.float32)
        frames = frames.reshape(-1, *self.shape[1:])
        if finite and self.dtype.kind == "f":
            bad = ~np.isfinite(frames).all(axis=(1, 2))
            if bad.any():
                raise stack_error(
                    f"frame {start + int(bad.argmax()) + 1} of '{self.name}' has pixels that are "
                    "not finite numbers (NaN or infinity)",
                    "Crop the stack or fill these pixels first",
                )
        return frames

    def _read(self, start: int, stop: int) -> Any:
        try:
            frames = self._reader(start, stop)
        except (InputError, OSError) as error:
            self._unchanged()  # which would be the better reason
            if isinstance(error, InputError):
                raise
            raise stack_error(
                f"'{self.name}' cannot be read any more ({error.strerror or error})",
                "Check the disk or the connection to it",
            ) from error
        self._unchanged()
        return frames

    def watched(self) -> Self:
        """Refuse to read on when one of the files was changed or removed meanwhile."""
        before = {path: _fingerprint(path) for path in self.files}

        def check() -> None:
            for path, known in before.items():
                now = _fingerprint(path)
                if now != known:
                    raise stack_error(
                        f"'{path}' was {'changed' if now else 'removed'} while it was read",
                        "Wait until nothing writes to it any more, then start again",
                    )

        self._unchanged = check
        return self

    def close(self) -> None:
        """Release the file; frames cannot be read any more."""
        if self._close is not None:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _fingerprint(path: Path) -> tuple[int, ...]:
    """Return what changes with a file; nothing if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ()
    if stat.S_ISDIR(found.st_mode):  # in which anything may come and go
        return (0,)
    return (found.st_size, found.st_mtime_ns)


def as_stack(array: Any, name: str = "array", pixel_size_nm: float | None = None) -> Stack:
    """Make a stack of an array; of a lazy one (dask), only the frames asked for are computed.

    Parameters
    ----------
    array : array-like, shape (T, Y, X) or (Y, X)
        Grey values in ADU. Further axes of length 1 are ignored.
    name : str
        How messages call the stack.
    pixel_size_nm : float, optional
        Side of a camera pixel.

    Raises
    ------
    InputError
        If it is not a stack of grey-value frames.
    """
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        array = np.asarray(array)
    shape = tuple(int(n) for n in array.shape)
    if len(shape) < 2:
        raise stack_error(f"'{name}' is no image", "Choose a stack with the axes (frame, y, x)")
    if len(shape) >= 3 and shape[-1] in (3, 4):
        raise colour_error(name)
    # a stack of one frame keeps its frame axis, but any other axis of length 1 is no axis
    extra = [n for n in shape[:-2] if n != 1]
    if len(extra) > 1:
        raise ambiguous_error(name, shape)
    full = (extra[0] if extra else 1, shape[-2], shape[-1])
    axis = next((i for i, n in enumerate(shape[:-2]) if n != 1), 0)

    def reader(start: int, stop: int) -> Any:
        index = tuple(slice(start, stop) if i == axis else 0 for i in range(len(shape) - 2))
        return array[index] if index else np.asarray(array)[None][start:stop]

    return Stack(name, full, array.dtype, reader, pixel_size_nm)


def stack_error(problem: str, remedy: str) -> InputError:
    """Return an error that a form shows beside the choice of the stack."""
    return InputError(problem, remedy, field="stack")


def truncated(path: Path) -> InputError:
    """Return the error for a file that is shorter than it says."""
    return stack_error(
        f"'{path}' is damaged or truncated: it ends before its last frame",
        "Copy or export the file again",
    )


def colour_error(name: str) -> InputError:
    """Return the error for RGB and RGBA images."""
    return stack_error(
        f"'{name}' is a colour (RGB) image, grey values of a camera are needed",
        "Choose the raw recording, or convert it to one channel; three or four grey frames have "
        "to be saved as grey values (photometric 'minisblack')",
    )


def ambiguous_error(
    name: str, shape: tuple[int, ...], axes: str = "", options: Sequence[str] = ()
) -> InputError:
    """Return the error for more than one axis besides y and x.

    Parameters
    ----------
    name : str
    shape : tuple of int
    axes : str
        One letter for each of `shape`, if they are known.
    options : sequence of str
        Options of the command line that choose from one of them.
    """
    names = axes if len(axes) == len(shape) else "?" * len(shape)
    lengths = " x ".join(f"{n}{'' if a in 'Q?' else ' ' + a}" for n, a in zip(shape, names))  # noqa: B905
    return stack_error(
        f"'{name}' has more than one axis besides y and x ({lengths})",
        "Choose one channel, plane or position, so that (frame, y, x) is left"
        + (f" (options {' and '.join(options)})" if options else ""),
    )
