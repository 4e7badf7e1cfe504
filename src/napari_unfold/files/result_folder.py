"""A folder of results that is one consistent set of files at every moment, the old or the new.

No file system replaces several files at once. But it can replace one link: while the results are
published, each visible name is a link through a hidden link ``set``, which leads to the old files
until it is replaced, in one step, by one that leads to the new files. Afterwards the files take
the places of their links. A run that was killed anywhere in between leaves one set to be seen; the
next run into the folder tidies up.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from napari_unfold.errors import InputError
from napari_unfold.files.atomic import cannot_write, handed_out, output_folder
from napari_unfold.files.lock import Lock

WORK = ".napari-unfold"
"""Hidden folder for what is not yet a result."""
UNFINISHED = ".napari-unfold-unfinished"
LOCK = ".napari-unfold.lock"
RECORD = "run.json"
_LARGEST_RECORD_BYTES = 2**24


class ResultFolder:
    """Where one run writes its files; they appear together when its block ends without an error.

    Use as a context manager. Files of the earlier set that the new one does not have are removed,
    as far as its record lists them; all others are left alone.

    Parameters
    ----------
    path : Path
        Created if need be.

    Attributes
    ----------
    obsolete : list of Path
        Folders to remove once the new files are there.

    Raises
    ------
    InputError
        If the folder cannot be written, or another run is writing into it.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.obsolete: list[Path] = []

    def __enter__(self) -> Self:
        output_folder(self.path)
        self._lock = Lock(self.path / LOCK, f"another run is writing into '{self.path}'")
        self._lock.take()
        try:
            settle(self.path)
            self._new.mkdir(parents=True)
        except BaseException as error:
            self._lock.release()
            if isinstance(error, OSError):
                raise cannot_write(self.path, error) from error
            raise
        return self

    @property
    def unfinished(self) -> Path:
        """Hidden folder for what runs keep that are ended early."""
        return self.path / UNFINISHED

    def file(self, name: str) -> Path:
        """Return where to write the file that will be called `name`.

        Raises
        ------
        InputError
            If there is a folder of that name.
        """
        if (self.path / name).is_dir():
            raise cannot_write(self.path / name, OSError(errno.EISDIR, "is a folder"))
        path = self._new / name
        handed_out.add(path)
        return path

    @property
    def names(self) -> list[str]:
        """The files written so far."""
        return sorted(path.name for path in self._new.iterdir())

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            if error is None:
                self._publish()
                for folder in self.obsolete:
                    shutil.rmtree(folder, ignore_errors=True)
        except OSError as failure:
            error = failure
        finally:
            handed_out.difference_update(p for p in tuple(handed_out) if p.parent == self._new)
            with suppress(OSError):
                settle(self.path)
            self._lock.release()
        if isinstance(error, OSError) and (error.filename is None or self._is_mine(error)):
            raise cannot_write(self.path, error) from error

    @property
    def _new(self) -> Path:
        return self.path / WORK / "new"

    def _is_mine(self, error: OSError) -> bool:
        return not {WORK, UNFINISHED}.isdisjoint(Path(os.fsdecode(error.filename)).parts)

    def _publish(self) -> None:
        names = self.names
        for name in names:
            _flush(self._new / name)
        earlier = recorded_files(self.path)
        old = [n for n in {*names, *earlier} if (self.path / n).is_file()]
        try:
            _switch(self.path, old, [*{*names, *old}])
        except (OSError, NotImplementedError):  # a disk or a system without links
            settle(self.path, keep_work=True)
            for name in names:
                os.replace(self._new / name, self.path / name)  # noqa: PTH105
            for name in set(old) - {*names}:
                (self.path / name).unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Let a file reach the disk before it takes the place of another one."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _switch(folder: Path, old: Iterable[str], names: Iterable[str]) -> None:
    """Let all names lead to the old files, then all at once to the new ones."""
    work = folder / WORK
    (work / "old").mkdir()
    for name in old:
        (work / "old" / name).hardlink_to(folder / name)
    link = work / "link"
    (work / "set").symlink_to("old", target_is_directory=True)
    for name in names:
        link.symlink_to(_through_set(name))
        link.replace(folder / name)
    link.symlink_to("new", target_is_directory=True)
    link.replace(work / "set")  # the moment at which the new set takes the place of the old one


def settle(folder: Path, keep_work: bool = False) -> None:
    """Put files into the places of their links, and remove what a run left behind.

    Parameters
    ----------
    folder : Path
    keep_work : bool
        Whether the hidden folder is still needed.
    """
    work = folder / WORK
    for entry in folder.iterdir():
        if entry.is_symlink() and entry.readlink() == Path(_through_set(entry.name)):
            file = work / "set" / entry.name
            if file.exists():
                file.replace(entry)
            else:
                entry.unlink()
    if not keep_work:
        shutil.rmtree(work, ignore_errors=True)


def _through_set(name: str) -> str:
    return os.path.join(WORK, "set", name)  # noqa: PTH118 (text of a link, not a path from here)


def recorded_files(folder: Path) -> list[str]:
    """Return the files in a folder that its record lists as one result."""
    files = read_record(folder).get("files")
    names = files if isinstance(files, list) else []  # earlier versions list none
    return [name for name in names if isinstance(name, str) and Path(name).name == name]


def read_record(folder: Path) -> dict[str, Any]:
    """Return how the result in a folder came about; empty if there is none."""
    record = folder / RECORD
    try:
        if record.stat().st_size > _LARGEST_RECORD_BYTES:
            return {}
        content = json.loads(record.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def keep_apart(inputs: Iterable[Path | None], outputs: Iterable[Path | None]) -> None:
    """Refuse to write over what is read, and to write two things into one file.

    Raises
    ------
    InputError
        If an output is an input, lies in a folder that is read as one, or is named twice.
    """
    read = [Path(path) for path in inputs if path is not None]
    written = [Path(path) for path in outputs if path is not None]
    for i, output in enumerate(written):
        if any(_same(output, other) for other in written[:i]):
            raise InputError(f"'{output}' is named twice as an output", "Choose another file name")
        for path in read:
            if _same(output, path):
                raise InputError(
                    f"'{output}' is read and would be overwritten",
                    "Choose another folder or file name for the results",
                )
            if os.path.isdir(path) and _is_inside(output, path):  # noqa: PTH112 (never raises)
                raise InputError(
                    f"'{output}' would be written into '{path}', which is read",
                    "Choose another folder for the results",
                )


def _is_inside(output: Path, folder: Path) -> bool:
    return folder.resolve() in output.resolve().parents


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there yet
        return os.path.normcase(one.resolve()) == os.path.normcase(other.resolve())
