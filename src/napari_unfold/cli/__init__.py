"""The command line: the same jobs as in napari, with the same settings."""

from __future__ import annotations

import sys

import typer

from napari_unfold.cli import tables
from napari_unfold.cli.commands import app
from napari_unfold.cli.estimate import estimate
from napari_unfold.cli.fluctuation import fluctuation
from napari_unfold.cli.options import FLAGS
from napari_unfold.cli.train import train
from napari_unfold.errors import UnfoldError

tables.add_to(app)
app.command()(train)
app.command()(estimate)
app.command()(fluctuation)

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; errors of the user end with one sentence and exit status 2."""
    try:
        app()
    except UnfoldError as error:
        flag = FLAGS.get(error.field or "")
        typer.echo(f"Error: {error}" + (f" (option {flag})" if flag else ""), err=True)
        sys.exit(2)
