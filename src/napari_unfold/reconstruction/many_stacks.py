"""One recipe for many stacks, in turn: a bad one is listed and does not stop the rest."""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from napari_unfold.errors import DeviceLostError, InputError, as_unfold_error
from napari_unfold.files.atomic import output_folder, replacing
from napari_unfold.files.stacks import Stack
from napari_unfold.jobs import Checkpoint, Device, Event, Job, Note, Preview, Stage, translated
from napari_unfold.reconstruction.into_folder import FolderRun, Request

SUMMARY = "batch.csv"

Outcome = Literal["waiting", "done", "done earlier", "part of another", "interrupted", "failed"]


@dataclass(frozen=True)
class Entry:
    """What became of one stack; a row of ``batch.csv``.

    Attributes
    ----------
    file, folder : Path
        The stack and its results.
    outcome : str
    localizations : int, optional
        One per molecule and frame.
    verdict : str
        Whether the result can be trusted, in one sentence.
    seconds : float, optional
        That it took.
    error : str
        Why there is no result, in one sentence.
    """

    file: Path
    folder: Path
    outcome: Outcome = "waiting"
    localizations: int | None = None
    verdict: str = ""
    seconds: float | None = None
    error: str = ""


class ManyStacks:
    """Reconstruct stacks one after the other, each into a folder of its own.

    The table ``batch.csv`` in the folder for the results is written anew after each of them.

    Parameters
    ----------
    stacks : sequence of Path
    out : Path
        Folder for the folders with results, which are called as the stacks.
    open_one : callable
        Opens a stack.
    request_for : callable
        Says what is asked of a stack; may raise `InputError`.
    device : {"auto", "cpu", "cuda"}

    Attributes
    ----------
    entries : list of Entry
        In the order of the stacks.

    Raises
    ------
    InputError
        If two stacks have the same name, or `out` cannot be written.
    """

    def __init__(
        self,
        stacks: Sequence[Path],
        out: Path,
        open_one: Callable[[Path], Stack],
        request_for: Callable[[Stack], Request],
        device: Device = "auto",
    ) -> None:
        names = _folder_names(stacks)
        self.entries = [Entry(s, out / name) for s, name in zip(stacks, names, strict=True)]
        self._table = output_folder(out) / SUMMARY
        self._open_one, self._request_for, self._device = open_one, request_for, device
        self._read_with: dict[Path, str] = {}  # files of earlier stacks, and the names of these

    def job(self, number: int) -> Job[Entry]:
        """Reconstruct one of the stacks, unless its folder holds just that result already.

        What goes wrong with it is in the entry that is returned.

        Raises
        ------
        DeviceLostError
            If the GPU has failed, with which no other stack can be computed either.
        """
        entry, started = self.entries[number], time.monotonic()
        name = f"{entry.file.name} ({number + 1} of {len(self.entries)})"
        ended = replace(entry, outcome="interrupted")
        try:
            yield Stage(f"{name}: opening")
            ended = yield from translated(self._answered(entry), lambda event: _of(name, event))
        except Exception as error:
            told = as_unfold_error(error)
            ended = replace(entry, outcome="failed", error=str(told))
            if isinstance(told, DeviceLostError):
                raise told from error
        finally:
            if ended.outcome != "done earlier":
                ended = replace(ended, seconds=round(time.monotonic() - started, 1))
            self.entries[number] = ended
            self._write_table()
        return ended

    def _answered(self, entry: Entry) -> Job[Entry]:
        whole = self._read_with.get(entry.file.resolve())
        if whole is not None:
            return replace(
                entry, outcome="part of another", verdict=f"Read together with '{whole}'"
            )
        with self._open_one(entry.file) as stack:
            self._read_with |= {path.resolve(): entry.file.name for path in stack.files}
            for note in stack.notes:
                yield Note(f"{note}.")
            run = FolderRun(entry.folder, stack, self._request_for(stack))
            record = run.answer
            if record is not None:
                return _done(entry, "done earlier", record)
            result = yield from run.job(self._device)
            return _done(entry, "done", result.record)

    def _write_table(self) -> None:
        # with the mark by which spreadsheets know the encoding
        with (
            replacing(self._table) as temporary,
            temporary.open("w", encoding="utf-8-sig", newline="") as file,
        ):
            table = csv.DictWriter(file, [field.name for field in fields(Entry)])
            table.writeheader()
            table.writerows(asdict(entry) for entry in self.entries)


def _done(entry: Entry, outcome: Outcome, record: Mapping[str, Any]) -> Entry:
    """Return an entry with what the record of its result tells."""
    verdict = record["verdict"]["summary"]
    count, seconds = record["localizations"], record["seconds"]
    return replace(entry, outcome=outcome, localizations=count, verdict=verdict, seconds=seconds)


def _of(name: str, event: Event) -> Event | None:
    """Return an event of one stack as one of many."""
    if isinstance(event, Stage):
        return Stage(f"{name}: {event.text}")
    if isinstance(event, Note):
        return Note(f"{name}: {event.text}")
    return None if isinstance(event, Checkpoint | Preview) else event


def _folder_names(stacks: Sequence[Path]) -> list[str]:
    """Return a name for the results of each stack, without the ending where that tells them apart.

    Raises
    ------
    InputError
        If two stacks have the same name.
    """
    short = [path.name.removesuffix(path.suffix).removesuffix(".ome") for path in stacks]
    often = Counter(name.casefold() for name in short)
    names = [
        name if often[name.casefold()] == 1 else path.name
        for name, path in zip(short, stacks, strict=True)
    ]
    for name, count in Counter(name.casefold() for name in names).items():
        if count > 1:
            raise InputError(
                f"{count} stacks have the name '{name}', and so would their results",
                "Start one batch for each folder, with a folder for the results of its own",
            )
    return names
