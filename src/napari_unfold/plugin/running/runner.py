"""Run a job in a background thread and tell its story in the main thread.

The worker is napari's own, so that closing napari asks about a running job and cancels it. Two
of its habits are worked around here: it swallows a `RuntimeError` (which every torch error is,
out of memory included), and it never closes the generator of a cancelled job.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, Signal

from napari_unfold.errors import UnfoldError, as_unfold_error
from napari_unfold.jobs import Event, Job

if TYPE_CHECKING:
    from napari.qt.threading import GeneratorWorker

T = TypeVar("T")
State = Literal["idle", "running", "cancelling"]


@dataclass(frozen=True)
class Outcome:
    """How a job ended, and with what.

    Attributes
    ----------
    kind : {"done", "cancelled", "failed"}
    value : object, optional
        What the job returned, if done.
    error : UnfoldError, optional
        What went wrong, if failed; ``__cause__`` holds the original exception.
    """

    kind: Literal["done", "cancelled", "failed"]
    value: Any = None
    error: UnfoldError | None = None


class JobRunner(QObject):
    """One job at a time, in a background thread.

    Parameters
    ----------
    parent : QObject, optional
    title : str
        What napari calls the job when its window is closed meanwhile.

    Signals
    -------
    event : Event
        Every event of the job.
    ended : Outcome
        Exactly once for each job, after its generator was closed.
    """

    event = Signal(object)
    ended = Signal(object)

    def __init__(self, parent: QObject | None = None, title: str = "a computation") -> None:
        super().__init__(parent)
        self._title = title
        self._worker: GeneratorWorker | None = None
        self._job: Job[Any] | None = None
        self._error: UnfoldError | None = None
        self._returned: list[Any] = []
        self._cancelling = False

    @property
    def state(self) -> State:
        """What the runner does at present."""
        if self._worker is None:
            return "idle"
        return "cancelling" if self._cancelling else "running"

    def start(self, job: Job[Any]) -> None:
        """Run `job` to its end in the background.

        Raises
        ------
        UnfoldError
            If another job is still running.
        """
        if self._worker is not None:
            raise UnfoldError("a job is still running", "Cancel it, or wait until it is done")
        self._job, self._error, self._returned, self._cancelling = job, None, [], False
        self._worker = create_worker(
            _Named(self._title),
            job,
            _connect={
                "yielded": self._on_event,
                "returned": self._on_returned,
                "errored": self._on_error,
                "finished": self._on_finished,
            },
        )
        # nobody waits for a job whose widget is gone
        self.destroyed.connect(self._worker.quit)

    def cancel(self) -> None:
        """Ask the job to stop; it does so at its next event."""
        if self._worker is not None and not self._cancelling:
            self._cancelling = True
            self._worker.quit()

    def _on_event(self, event: Event) -> None:
        if not self._cancelling:
            self.event.emit(event)

    def _on_returned(self, value: Any) -> None:
        self._returned = [value]

    def _on_error(self, error: Exception) -> None:
        self._error = as_unfold_error(error)

    def _on_finished(self) -> None:
        worker, job = self._worker, self._job
        assert worker is not None and job is not None  # noqa: PT018
        outcome = self._outcome(cancelled=worker.abort_requested)
        self.destroyed.disconnect(worker.quit)
        job.close()  # runs its `finally` blocks if it was cancelled half-way
        self._worker = self._job = self._error = None
        self._returned = []
        _free_gpu_memory()
        self.ended.emit(outcome)

    def _outcome(self, cancelled: bool) -> Outcome:
        if self._error is not None:
            return Outcome("failed", error=self._error)
        if cancelled or not self._returned:
            return Outcome("cancelled")
        return Outcome("done", self._returned[0])


def guarded(job: Job[T]) -> Job[T]:
    """Yield the events of `job`; whatever it raises leaves as an `UnfoldError`."""
    try:
        return (yield from job)
    except UnfoldError:
        raise
    except Exception as error:
        raise as_unfold_error(error) from error


class _Named(partial[Any]):
    """`guarded` under a name for people: napari asks about it before its window closes."""

    title: str

    def __new__(cls, title: str) -> Self:
        """Name a job."""
        self = super().__new__(cls, guarded)
        self.title = title
        return self

    def __str__(self) -> str:
        """Return the name."""
        return self.title


def _free_gpu_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
