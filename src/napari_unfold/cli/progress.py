"""Showing a job on a terminal, or telling a program of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from napari_unfold import jobs

OnEvent = Callable[[jobs.Event], None]
T = TypeVar("T")


_as_lines: ContextVar[bool] = ContextVar("as lines of JSON", default=False)


@contextmanager
def telling(lines: bool) -> Iterator[None]:
    """Tell of everything within the block in lines of JSON, for a program, or in words."""
    token = _as_lines.set(lines)
    try:
        yield
    finally:
        _as_lines.reset(token)


def say(text: str, **values: Any) -> None:
    """Say what came out.

    Parameters
    ----------
    text : str
    **values
        The same in numbers and paths, for a program.
    """
    if _as_lines.get():
        _tell("result", text=text, **values)
    else:
        typer.echo(text)


def say_note(text: str) -> None:
    """Say what a user should know; apart from the results."""
    if _as_lines.get():
        _tell("note", text=text)
    else:
        typer.echo(f"Note: {text}", err=True)


def _tell(event: str, **values: Any) -> None:
    typer.echo(json.dumps({"event": event, **values}, default=str))


def run_with_progress(job: jobs.Job[T], on_event: OnEvent | None = None) -> T:
    """Run a job to its end, with a progress bar on a terminal; a log gets the notes alone.

    Parameters
    ----------
    job : Job
    on_event : callable, optional
        Called with every event.

    Returns
    -------
    object
        What the job returns.
    """
    try:
        if _as_lines.get():
            run = _run_with_lines
        else:
            run = _run_with_bar if sys.stderr.isatty() else _run_with_notes
        return run(job, on_event)
    finally:
        job.close()  # an interrupted job removes what it had begun to write


def _run_with_lines(job: jobs.Job[T], on_event: OnEvent | None) -> T:
    def tell(event: jobs.Event) -> None:
        if isinstance(event, jobs.Stage | jobs.Note | jobs.Progress):
            _tell(type(event).__name__.lower(), **asdict(event))
        elif isinstance(event, jobs.Metric):
            known = {k: v for k, v in asdict(event.values).items() if v is not None and v == v}
            _tell("metric", iteration=event.iteration, **known)
        if on_event is not None:
            on_event(event)

    return jobs.run_to_end(job, tell)


def _run_with_notes(job: jobs.Job[T], on_event: OnEvent | None) -> T:
    def show(event: jobs.Event) -> None:
        if isinstance(event, jobs.Note):
            say_note(event.text)
        if on_event is not None:
            on_event(event)

    return jobs.run_to_end(job, show)


def _run_with_bar(job: jobs.Job[T], on_event: OnEvent | None) -> T:
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("elapsed, left:"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("Starting", total=None)

    def show(event: jobs.Event) -> None:
        if isinstance(event, jobs.Stage):
            bar.update(task, description=event.text)
        elif isinstance(event, jobs.Progress):
            bar.update(task, completed=event.done, total=event.total)
        elif isinstance(event, jobs.Note):
            bar.console.print(event.text)
        elif isinstance(event, jobs.Metric):
            bar.console.print(f"{event.iteration:4d}  {numbers_of(event.values)}")
        if on_event is not None:
            on_event(event)

    with bar:
        return jobs.run_to_end(job, show)


def numbers_of(metrics: jobs.Metrics) -> str:
    """Return what there is to follow of a learning step, in one line."""
    numbers = {
        "training loss": metrics.training_loss,
        "validation loss": metrics.validation_loss,
        "Jaccard index": metrics.jaccard,
        "weight": metrics.weight,
        "threshold": metrics.threshold_photons,
        **metrics.penalty_parameters,
    }
    if metrics.coupling:
        numbers["coupling"] = metrics.coupling
    if metrics.psf_sigma_px is not None:
        numbers["PSF sigma (pixels)"] = metrics.psf_sigma_px
    return ", ".join(f"{title} {value:.4g}" for title, value in numbers.items())
