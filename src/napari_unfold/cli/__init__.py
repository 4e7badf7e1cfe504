"""The command line: the same jobs as in napari, with the same settings."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer

from napari_unfold.cli import table_commands
from napari_unfold.cli.batch_command import batch
from napari_unfold.cli.calibrate_command import calibrate_camera
from napari_unfold.cli.demo_command import demo
from napari_unfold.cli.doctor_command import doctor
from napari_unfold.cli.estimate_command import estimate
from napari_unfold.cli.evaluate_command import evaluate
from napari_unfold.cli.fluctuation_command import fluctuation
from napari_unfold.cli.measure_psf_command import measure_psf
from napari_unfold.cli.options import flag_of
from napari_unfold.cli.presets_command import presets_app
from napari_unfold.cli.reconstruct_command import reconstruct
from napari_unfold.cli.simulate_command import simulate
from napari_unfold.cli.train_command import train
from napari_unfold.errors import UnfoldError, explained

__all__ = ["app", "main"]

app = typer.Typer(
    name="napari-unfold",
    help="Super-resolution microscopy: frame stacks become images and localizations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # units stand in square brackets, which rich would take for markup
)
for command in (reconstruct, batch, simulate, evaluate, demo):
    app.command()(command)
app.add_typer(presets_app, name="presets")
table_commands.add_to(app)
for command in (train, estimate, measure_psf, calibrate_camera, fluctuation, doctor):
    app.command()(command)


def main() -> None:
    """Run the command line.

    Errors of the user end with one sentence and exit status 2. Ctrl-C, a request to terminate and
    a closed terminal all cancel the job, which ends with exit status 130.
    """
    try:
        with _interruptible():
            app()
    except (UnfoldError, MemoryError, RuntimeError) as error:
        told = explained(error)
        if told is None:
            raise
        flag = flag_of(told.field)
        typer.echo(f"Error: {told}" + (f" (option {flag})" if flag else ""), err=True)
        sys.exit(2)
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to be said
        typer.echo("Error: the disk is full that the output is sent to. Free some space.", err=True)
        sys.exit(2)
    except _InterruptedError:
        with suppress(OSError):  # the terminal may be gone
            typer.echo("Cancelled; earlier results are as they were.", err=True)
        sys.exit(130)


class _InterruptedError(BaseException):
    """The user wants the program to end; unlike a KeyboardInterrupt it passes through typer."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let signals raise an exception, unless they are to be ignored, as under nohup."""

    def interrupt(*_: object) -> None:
        raise _InterruptedError

    names = ("SIGINT", "SIGTERM", "SIGHUP")
    known = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {one: signal.getsignal(one) for one in known}
    usual = (signal.SIG_DFL, signal.default_int_handler)
    taken = [one for one, handler in before.items() if handler in usual]
    for one in taken:
        signal.signal(one, interrupt)
    try:
        yield
    finally:
        for one in taken:
            signal.signal(one, before[one])
