"""Writing so that a failed or cancelled job leaves the previous file, and no half of a new one."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import socket
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from napari_unfold.errors import InputError

_REASONS = {
    errno.ENOSPC: ("the disk is full", "Free some space, or choose another folder"),
    errno.EDQUOT: ("the disk quota is used up", "Free some space, or choose another folder"),
    errno.EFBIG: ("the file gets too large for this disk", "Choose a folder on another disk"),
    errno.EROFS: ("the disk is read-only", "Choose a folder you can write to"),
    errno.EACCES: ("writing is not permitted there", "Choose a folder you can write to"),
    errno.EPERM: ("writing is not permitted there", "Choose a folder you can write to"),
    errno.ENOENT: ("there is no such folder", "Create the folder, or choose another one"),
    errno.ENOTDIR: ("part of that path is a file, not a folder", "Choose another folder"),
    errno.EEXIST: ("that is a file, not a folder", "Choose another folder"),
    errno.EISDIR: ("that is a folder, not a file", "Choose another file name"),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter name"),
}


handed_out: set[Path] = set()
"""Temporary files that exist at present; writing to one of them needs no other."""

_OWNER = f"{zlib.crc32(socket.gethostname().encode()):08x}"
"""This computer, in the names of temporary files: another one's processes cannot be seen."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it takes the place of `path` when the block succeeds.

    The temporary file lies in the same folder and has the same suffix. It is removed when the
    block fails or is cancelled; what a killed process left is removed when the file is next
    written.

    Parameters
    ----------
    path : Path
        File to create or to replace.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    InputError
        If `path` cannot be written: no such folder, no permission, disk full.
    """
    path = Path(path)
    if path in handed_out:
        yield path
        return
    _check_target(path)
    _remove_abandoned(path)
    temporary = path.with_name(f"{_prefix(path)}{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    handed_out.add(temporary)
    try:
        yield temporary
        os.replace(temporary, path)  # noqa: PTH105 (one name for both systems)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and _concerns(error, temporary):
            raise cannot_write(path, error) from error
        raise
    finally:
        handed_out.discard(temporary)


def _check_target(path: Path) -> None:
    """Refuse here, so that no writer has to report it in its own way."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from error
    if stat.S_ISDIR(mode):
        raise cannot_write(path, OSError(errno.EISDIR, "is a folder"))
    if not stat.S_ISREG(mode):
        raise InputError(
            f"cannot write '{path}': it is a device or a pipe", "Choose the name of a file"
        )
    if not path.parent.is_dir():
        raise cannot_write(path, OSError(errno.ENOENT, "no such folder"))


def _prefix(path: Path) -> str:
    return f".{path.stem[:100]}.{_OWNER}-"


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files for `path` whose process is no more."""
    pattern = re.compile(rf"{re.escape(_prefix(path))}(\d+)-[0-9a-f]+{re.escape(path.suffix)}")
    with contextlib.suppress(OSError):
        for file in path.parent.iterdir():
            ours = pattern.fullmatch(file.name)
            if ours and not psutil.pid_exists(int(ours.group(1))):
                file.unlink()


def _concerns(error: OSError, temporary: Path) -> bool:
    # some writers name the file by its absolute path, or not at all
    return error.filename is None or Path(os.fsdecode(error.filename)).name == temporary.name


def output_folder(path: Path) -> Path:
    """Create a folder, parents included, and make sure that files can be written to it.

    Raises
    ------
    InputError
        If the folder cannot be created or is not writable.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        # trying is the only reliable test: permission bits say nothing about read-only disks
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def cannot_write(path: Path, error: OSError | ValueError) -> InputError:
    """Return the sentence for a file or folder that cannot be written."""
    if not isinstance(error, OSError):  # a zero byte in the name
        return InputError(f"cannot write '{path!r}': {error}", "Choose another name")
    # writers that get fewer bytes onto a full disk than they wanted give no error number
    number = errno.ENOSPC if error.errno is None else error.errno
    reason, remedy = _REASONS.get(
        number, (str(error), "Check that you may write to the folder, or choose another one")
    )
    return InputError(f"cannot write '{path}': {reason}", remedy)
