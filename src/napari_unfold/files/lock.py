"""One writer at a time: a file that the operating system locks, and unlocks when its owner dies."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from napari_unfold.errors import InputError
from napari_unfold.files.atomic import cannot_write

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        os.lseek(file, 2**30, os.SEEK_SET)  # beyond the text, which others may read
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Lock:
    """A lock file with the number of the process that holds it.

    A process that ends, however it ends, loses the lock; the file that it may leave is taken over.

    Parameters
    ----------
    path : Path
    problem : str
        What to say when somebody else has it.
    """

    def __init__(self, path: Path, problem: str) -> None:
        self._path = path
        self._problem = problem
        self._file: int | None = None

    def take(self) -> None:
        """Take the lock.

        Raises
        ------
        InputError
            If another process, or another job of this one, has it, or its file cannot be written.
        """
        while self._file is None:
            try:
                file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:  # that of another user
                raise cannot_write(self._path, error) from error
            try:
                _lock(file)
            except (BlockingIOError, PermissionError) as error:
                owner = os.read(file, 20).decode("ascii", "replace").strip()
                os.close(file)
                raise InputError(
                    f"{self._problem}{f' (process {owner})' if owner else ''}",
                    "Wait for its end, or choose another folder",
                ) from error
            except OSError:
                pass  # a disk without locks: nothing better is to be had
            if self._is_current(file):
                self._file = file
            else:  # its owner removed it meanwhile
                os.close(file)
        os.ftruncate(self._file, 0)
        os.write(self._file, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Give the lock back and remove its file."""
        if self._file is not None:
            with suppress(OSError):  # Windows removes no open file
                self._path.unlink()
            os.close(self._file)
            self._file = None

    def _is_current(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            return False
