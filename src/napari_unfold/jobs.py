"""What every long computation has in common: its events, its errors, its device.

A job is a generator of events that returns its result. Whoever runs it (the napari widgets, the
command line, a test) shows the events and may stop at any moment by closing the generator; the job
then leaves no half-written file behind.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from napari_unfold.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch

Device = Literal["auto", "cpu", "cuda"]
T = TypeVar("T")
E = TypeVar("E")

SECONDS_BETWEEN_EVENTS = 0.1
"""Often enough for a bar that moves and for stopping at once."""


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
class Metrics:
    """What is known of a network after a learning step.

    Attributes
    ----------
    validation_loss, training_loss : float
        Over the frames that are held out, and over those that are learned from.
    jaccard : float
        Mean Jaccard index of pixels over some tolerances, 0 to 1.
    filled_pixels : int
        Fine pixels above the threshold.
    weight : float
        Regularisation weight.
    threshold_photons : float
        Fine pixels below it are empty.
    penalty_parameters : dict
        Those of the penalty, by name.
    coupling : float
        Of neighbouring frames.
    psf_sigma_px : float, optional
        In camera pixels, if it is learned.
    """

    validation_loss: float
    jaccard: float = math.nan
    filled_pixels: int = 0
    weight: float = math.nan
    threshold_photons: float = math.nan
    penalty_parameters: Mapping[str, float] = field(default_factory=dict)
    coupling: float = 0.0
    training_loss: float = math.nan
    psf_sigma_px: float | None = None


@dataclass(frozen=True)
class Metric:
    """A learning step was made."""

    iteration: int
    values: Metrics


@dataclass(frozen=True)
class Checkpoint:
    """The best so far, complete and usable if the job is stopped now."""

    value: Any


@dataclass(frozen=True)
class Pulse:
    """The job is at work; nothing new, but it can be stopped here."""


Event: TypeAlias = Stage | Progress | Note | Preview | Metric | Checkpoint | Pulse
Job: TypeAlias = Generator[Event, None, T]
"""Yields events and returns its result."""


def run_to_end(job: Generator[E, None, T], on_event: Callable[[E], None] | None = None) -> T:
    """Run a job, or another generator, to its end and return its result.

    Parameters
    ----------
    job : Job
    on_event : callable, optional
        Called with every event.
    """
    while True:
        try:
            event = next(job)
        except StopIteration as end:
            result: T = end.value
            return result
        if on_event is not None:
            on_event(event)


def translated(
    inner: Generator[E, None, T], translate: Callable[[E], Event | None]
) -> Generator[Event, None, T]:
    """Run a generator as part of a job and return what it returns.

    Parameters
    ----------
    inner : generator
        Such as another job.
    translate : callable
        From what it yields to the event to show instead, None for none.
    """
    try:
        while True:
            try:
                event = translate(next(inner))
            except StopIteration as end:
                result: T = end.value
                return result
            if event is not None:
                yield event
    finally:
        inner.close()


class Throttle:
    """Keeps events apart that would come too often to be seen."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Whether it is time for another event; if so, the next one has to wait again."""
        due = time.monotonic() - self._last > SECONDS_BETWEEN_EVENTS
        if due:
            self._last = time.monotonic()
        return due


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
                    return result.result(timeout=SECONDS_BETWEEN_EVENTS)
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
