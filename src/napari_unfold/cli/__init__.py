"""The command line: the same jobs as in napari, with the same settings."""

from __future__ import annotations

import sys

import typer

from napari_unfold.cli import table_commands
from napari_unfold.cli.calibrate_command import calibrate_camera
from napari_unfold.cli.demo_command import demo
from napari_unfold.cli.estimate_command import estimate
from napari_unfold.cli.evaluate_command import evaluate
from napari_unfold.cli.fluctuation_command import fluctuation
from napari_unfold.cli.measure_psf_command import measure_psf
from napari_unfold.cli.options import flag_of
from napari_unfold.cli.presets_command import presets_app
from napari_unfold.cli.reconstruct_command import reconstruct
from napari_unfold.cli.simulate_command import simulate
from napari_unfold.cli.train_command import train
from napari_unfold.errors import UnfoldError

__all__ = ["app", "main"]

app = typer.Typer(
    name="napari-unfold",
    help="Super-resolution microscopy: frame stacks become images and localizations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # units stand in square brackets, which rich would take for markup
)
for command in (reconstruct, simulate, evaluate, demo):
    app.command()(command)
app.add_typer(presets_app, name="presets")
table_commands.add_to(app)
for command in (train, estimate, measure_psf, calibrate_camera, fluctuation):
    app.command()(command)


def main() -> None:
    """Run the command line; errors of the user end with one sentence and exit status 2."""
    try:
        app()
    except UnfoldError as error:
        flag = flag_of(error.field)
        typer.echo(f"Error: {error}" + (f" (option {flag})" if flag else ""), err=True)
        sys.exit(2)
