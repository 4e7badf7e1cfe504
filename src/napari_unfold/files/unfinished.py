"""What a run keeps of itself beside its results, so that it can be gone on with if it is ended.

Arrays and numbers are replaced as a whole; tables, which only grow, are appended to files. What is
kept always is one consistent state, the last one that reached the disk.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import time
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

SHARE = 0.05
"""Of the time of a run that keeping its state may take."""

_ENDS_BYTES = 2**16
"""Looked at, from the start and the end of a file, to know it again."""

_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged state raises."""

State = Mapping[str, NDArray[Any]]
Tables = Mapping[str, Sequence["pd.DataFrame"]]


class Unfinished:
    """The state of one run, known again by all that its results depend on.

    Parameters
    ----------
    folder : Path
        In which every run has a folder of its own; see `ResultFolder.unfinished`.
    asked : mapping
        What the results depend on, ready for JSON.

    Attributes
    ----------
    folder : Path
        For the files of this run; not there before something is kept.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any]) -> None:
        text = json.dumps(asked, sort_keys=True, default=str)
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:16]
        self._files: dict[str, tuple[int, int, int]] = {}  # tables, bytes and checksum of each
        self._next = 0.0

    @property
    def key(self) -> str:
        """Tells this run from those with other settings or of other stacks."""
        return self.folder.name

    @property
    def done(self) -> int:
        """How many frames are finished in what was kept last."""
        try:
            with self._state.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                return int(file["done"])
        except _DAMAGE:
            return 0

    @property
    def others(self) -> int:
        """How many runs with other settings, or of another stack, are kept in the folder."""
        with suppress(OSError):
            return sum(path != self.folder for path in self.folder.parent.iterdir())
        return 0

    def load(self) -> tuple[State, Tables] | None:
        """Return what was kept; None if there is nothing.

        Raises
        ------
        ValueError
            If it is damaged.
        """
        if not self._state.exists():
            return None
        try:
            with self._state.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                state = {name: file[name] for name in file.files}
            of_tables = {n.removeprefix("file."): v for n, v in state.items() if n[:5] == "file."}
            self._files = {n: (int(v[0]), int(v[1]), int(v[2])) for n, v in of_tables.items()}
            tables = {name: self._tables(name) for name in self._files}
        except _DAMAGE as error:
            self._files = {}
            raise ValueError("it is damaged") from error
        return state, tables

    @property
    def is_due(self) -> bool:
        """Whether to keep the state now: the more time it takes, the more seldom."""
        return time.monotonic() >= self._next

    def keep(self, state: State, tables: Tables) -> None:
        """Keep a state in place of the one before.

        Parameters
        ----------
        state : mapping
            Arrays by name, among them ``done``.
        tables : mapping
            Sequences of tables of numbers that only get longer.

        Raises
        ------
        OSError
            If it cannot be written; the state before is then as it was.
        """
        begun = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {name: self._appended(name, parts) for name, parts in tables.items()}
        of_tables = {f"file.{name}": np.array(known) for name, known in files.items()}
        new = self.folder / "new.npz"
        with new.open("wb") as file:
            kept: dict[str, Any] = {**state, **of_tables}
            np.savez(file, **kept)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._state)
        self._files = files
        now = time.monotonic()
        self._next = now + (now - begun) / SHARE

    def tidy(self) -> None:
        """Remove what cannot be gone on with."""
        if not self._state.exists():
            self.remove()

    def remove(self) -> None:
        """Forget what was kept of this run."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()  # unless others are in it
        self._files = {}

    @property
    def _state(self) -> Path:
        return self.folder / "state.npz"

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.tables"

    def _appended(self, name: str, tables: Sequence[pd.DataFrame]) -> tuple[int, int, int]:
        count, size, checksum = self._files.get(name, (0, 0, 0))
        if count == len(tables):
            return count, size, checksum
        new = io.BytesIO()
        for table in tables[count:]:
            np.save(new, table.to_records(), allow_pickle=False)
        content = new.getbuffer()
        with self._path(name).open("r+b" if size else "wb") as file:
            file.truncate(size)  # what a killed run wrote after its last state
            file.seek(size)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return len(tables), size + len(content), zlib.crc32(content, checksum)

    def _tables(self, name: str) -> list[pd.DataFrame]:
        import pandas as pd

        count, size, checksum = self._files[name]
        content = self._path(name).read_bytes()[:size] if count else b""
        if len(content) != size or zlib.crc32(content) != checksum:
            raise ValueError("the tables are not those of the state")
        file = io.BytesIO(content)
        read = (np.load(file, allow_pickle=False) for _ in range(count))
        return [pd.DataFrame.from_records(r, index="index").rename_axis(None) for r in read]


def identity(files: Iterable[Path]) -> list[list[Any]]:
    """Return what tells files from others, and from what they were before they were changed.

    Parameters
    ----------
    files : iterable of Path
        Of folders, all files within count. One that cannot be read is known by its name alone.
    """
    return [[path.name, *_identity(path)] for path in files]


def _identity(path: Path) -> list[Any]:
    try:
        if path.is_dir():
            found = [p.stat() for p in path.rglob("*")]
            kept = [s for s in found if stat.S_ISREG(s.st_mode)]
            latest = max((s.st_mtime_ns for s in kept), default=0)
            return [str(path.resolve()), len(kept), sum(s.st_size for s in kept), latest]
        if not path.is_file():  # a pipe would wait for somebody to write
            return []
        size = path.stat().st_size
        with path.open("rb") as file:
            ends = hashlib.sha256(file.read(_ENDS_BYTES))
            file.seek(max(0, size - _ENDS_BYTES))
            ends.update(file.read(_ENDS_BYTES))
        return [str(path.resolve()), size, path.stat().st_mtime_ns, ends.hexdigest()]
    except (OSError, ValueError):  # a ValueError is a name that no file can have
        return []
