"""Another program that tells of its job in lines of JSON, as a job of this one."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any

from napari_unfold.errors import UnfoldError
from napari_unfold.jobs import (
    SECONDS_BETWEEN_EVENTS,
    Checkpoint,
    Event,
    Job,
    Note,
    Progress,
    Pulse,
    Stage,
)

_SAID = "Error: "
_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)


class Program:
    """One program at a time, in a process of its own; the window never waits for it."""

    def __init__(self) -> None:
        self._reader: threading.Thread | None = None

    def job(self, command: Sequence[str]) -> Job[int]:
        """Run a command to its end; closing the job asks the program to end.

        Parameters
        ----------
        command : sequence of str
            The program and its arguments.

        Yields
        ------
        Event
            Among them a `Checkpoint` for every result it tells of, with its values as a dict.

        Returns
        -------
        int
            The exit status, 0 or 1.

        Raises
        ------
        UnfoldError
            If it ends with another status; with its own sentence, if it said one.
        """
        while self._reader is not None and self._reader.is_alive():  # the one before is ending
            yield Pulse()
            time.sleep(SECONDS_BETWEEN_EVENTS)
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, encoding="utf-8", errors="replace", creationflags=_NO_WINDOW,
        )  # fmt: skip
        lines: SimpleQueue[str | None] = SimpleQueue()
        self._reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
        self._reader.start()
        last = ""  # what it said in words after its last event
        try:
            while True:
                try:
                    line = lines.get(timeout=SECONDS_BETWEEN_EVENTS)
                except Empty:
                    yield Pulse()
                    continue
                if line is None:
                    break
                event = _event(line)
                if event is None:
                    last = last if last.startswith(_SAID) else line.strip()
                else:
                    last = ""
                    yield event
        finally:
            if process.poll() is None:
                process.terminate()
        return _status(process.wait(), last)


def _read(process: subprocess.Popen[str], lines: SimpleQueue[str | None]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.put(line)
    process.wait()
    lines.put(None)


def _event(line: str) -> Event | None:
    try:
        told: Any = json.loads(line)
        kind = told["event"]
        if kind == "stage":
            return Stage(told["text"])
        if kind == "note":
            return Note(told["text"])
        if kind == "progress":
            return Progress(told["done"], told["total"])
    except (ValueError, KeyError, TypeError):
        return None
    return Checkpoint(told) if kind == "result" else Pulse()


def _status(status: int, last: str) -> int:
    if status == 0 or (status == 1 and not last):  # a crash has the status 1 too, and says more
        return status
    if last.startswith(_SAID):
        raise UnfoldError(last.removeprefix(_SAID).rstrip("."))
    raise UnfoldError(
        f"the process that computes has ended with status {status} ({last})",
        "Start it again, and it goes on where it was; please report this if it ends again",
    )
