"""The command *presets*."""

from __future__ import annotations

import json
from typing import Annotated

import typer

presets_app = typer.Typer(help="List the presets, or show one.", no_args_is_help=True)


@presets_app.command("list")
def presets_list() -> None:
    """List the presets by name."""
    from napari_unfold.files.presets import find_presets

    found = find_presets()
    for preset in found.presets:
        typer.echo(f"{preset.name:20s} {preset.title} ({', '.join(preset.networks)})")
    for note in found.left_out.values():
        typer.echo(f"Note: {note}", err=True)


@presets_app.command("show")
def presets_show(
    name: Annotated[str, typer.Argument(help="Name or .json file of a preset.")],
) -> None:
    """Show where a preset comes from and how well it did, as JSON."""
    from napari_unfold.files.presets import load_preset

    content = load_preset(name).model_dump(mode="json")
    for network in content["networks"].values():
        steps = network["step_sizes"]
        if len(set(steps)) == 1:
            network["step_sizes"] = f"{steps[0]:g}, {len(steps)} times"
    typer.echo(json.dumps(content, indent=2))
