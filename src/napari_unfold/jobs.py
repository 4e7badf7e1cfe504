"""What every long computation has in common: its events, its errors, its device.

A job is a generator of events. Whoever runs it (the napari widgets, the command line, a test)
iterates it, shows the events, and may stop at any moment by closing the generator; the job then
leaves no half-written file behind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from napari_unfold.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch

Device = Literal["auto", "cpu", "cuda"]
T = TypeVar("T")

SECONDS_BETWEEN_PULSES = 0.1


@dataclass(frozen=True)
class Stage:
    """The job enters a new stage, such as ``"Estimating the background"``."""

    text: str


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units of the present stage are finished."""

    done: float
    total: float


@dataclass(frozen=True)
class Note:
    """Something the user should know: a value that was estimated, a setting that was adapted."""

    text: str


@dataclass(frozen=True)
class Preview:
    """The result so far, worth a look."""

    image: np.ndarray


@dataclass(frozen=True)
class Metric:
    """Numbers to follow over the course of a job, such as the loss of a training."""

    iteration: int
    values: dict[str, float]


@dataclass(frozen=True)
class Checkpoint:
    """The best so far, complete and usable if the job is stopped now."""

    value: Any


@dataclass(frozen=True)
class Pulse:
    """The job is at work; nothing new, but it can be stopped here."""


@dataclass(frozen=True)
class Result:
    """The job is complete; always the last event."""

    value: Any


Event = Stage | Progress | Note | Preview | Metric | Checkpoint | Pulse | Result
Job = Generator[Event, None, None]


def run_to_end(job: Iterator[Event], on_event: Callable[[Event], None] | None = None) -> Any:
    """Run a job to its end and return the value of its `Result`.

    Parameters
    ----------
    job : iterator of events
    on_event : callable, optional
        Called with every event, the `Result` included.
    """
    value = None
    for event in job:
        if on_event is not None:
            on_event(event)
        if isinstance(event, Result):
            value = event.value
    return value


Check = Callable[[], None]
"""Called now and then by work that may be stopped; raises to stop it."""


def in_background(work: Callable[[Check], T]) -> Generator[Event, None, T]:
    """Do one long piece of work in a thread, with a `Pulse` every tenth of a second.

    Parameters
    ----------
    work : callable
        Is given a function that it calls often; when the generator is closed that function
        raises, and the work ends.

    Returns
    -------
    object
        What `work` returns; what it raises is raised here.
    """
    stopped = threading.Event()

    def check() -> None:
        if stopped.is_set():
            raise _StoppedError

    with ThreadPoolExecutor(max_workers=1) as pool:
        result = pool.submit(work, check)
        try:
            while True:
                try:
                    return result.result(timeout=SECONDS_BETWEEN_PULSES)
                except TimeoutError:
                    if result.done():
                        raise
                yield Pulse()
        finally:
            stopped.set()


class _StoppedError(Exception):
    """Ends work whose job was closed; never seen outside."""


def choose_device(device: Device = "auto") -> torch.device:
    """Return the device to compute on.

    Raises
    ------
    InputError
        If ``"cuda"`` is asked for and there is no usable NVIDIA GPU.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "no CUDA GPU can be used on this computer",
            "Choose the device 'auto' or 'cpu', or install a CUDA build of PyTorch",
            field="device",
        )
    return torch.device(device)
