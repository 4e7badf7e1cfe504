"""Showing a job on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

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


def run_with_progress(job: jobs.Job, on_event: OnEvent | None = None) -> Any:
    """Run a job to its end, with a progress bar on a terminal and silently otherwise.

    Parameters
    ----------
    job : Job
    on_event : callable, optional
        Called with every event.

    Returns
    -------
    object
        The value of the job's `jobs.Result`.

    Raises
    ------
    typer.Exit
        With status 130 when the user interrupts.
    """
    try:
        on_terminal = sys.stderr.isatty()
        return _run_with_bar(job, on_event) if on_terminal else jobs.run_to_end(job, on_event)
    except KeyboardInterrupt:
        # closing the job removes what it had begun to write
        job.close()
        typer.echo("Cancelled; earlier results are as they were.", err=True)
        raise typer.Exit(130) from None


def _run_with_bar(job: jobs.Job, on_event: OnEvent | None) -> Any:
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
            numbers = ", ".join(f"{name} {value:.4g}" for name, value in event.values.items())
            bar.console.print(f"{event.iteration:4d}  {numbers}")
        if on_event is not None:
            on_event(event)

    with bar:
        return jobs.run_to_end(job, show)
