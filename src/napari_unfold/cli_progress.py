"""Showing a job on a terminal."""

from __future__ import annotations

import sys
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


def run_with_progress(job: jobs.Job) -> Any:
    """Run a job to its end, with a progress bar on a terminal and silently otherwise.

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
        return jobs.run_to_end(job) if not sys.stderr.isatty() else _run_with_bar(job)
    except KeyboardInterrupt:
        # closing the job removes what it had begun to write
        job.close()
        typer.echo("Cancelled; earlier results are as they were.", err=True)
        raise typer.Exit(130) from None


def _run_with_bar(job: jobs.Job) -> Any:
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

    with bar:
        return jobs.run_to_end(job, show)
