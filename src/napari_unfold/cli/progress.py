"""Showing a job on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

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
        run = _run_with_bar if sys.stderr.isatty() else _run_with_notes
        return run(job, on_event)
    finally:
        job.close()  # an interrupted job removes what it had begun to write


def _run_with_notes(job: jobs.Job[T], on_event: OnEvent | None) -> T:
    def show(event: jobs.Event) -> None:
        if isinstance(event, jobs.Note):
            typer.echo(f"Note: {event.text}", err=True)
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
    if metrics.psf_sigma_px is not None:
        numbers["PSF sigma (pixels)"] = metrics.psf_sigma_px
    return ", ".join(f"{title} {value:.4g}" for title, value in numbers.items())
