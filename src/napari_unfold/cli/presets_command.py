"""The command *presets*."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

presets_app = typer.Typer(help="List, show and manage the presets.", no_args_is_help=True)


NameArgument = Annotated[str, typer.Argument(help="Name of a preset.")]
NewTitle = Annotated[str | None, typer.Option("--title", help="A title for people.")]


@presets_app.command("list")
def presets_list() -> None:
    """List the presets by name."""
    from napari_unfold.files.presets import find_presets

    found = find_presets()
    for preset in found.presets:
        own = ", your own" if preset.name in found.own else ""
        typer.echo(f"{preset.name:20s} {preset.title} ({', '.join(preset.networks)}{own})")
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


@presets_app.command("import")
def presets_import(
    file: Annotated[Path, typer.Argument(help="A .json file that was saved as a preset.")],
    name: Annotated[str | None, typer.Option("--name", help="Another name for it.")] = None,
    title: NewTitle = None,
) -> None:
    """Copy a preset from a file among your own, so that it is known by its name."""
    from napari_unfold.files.presets import add_preset, load_preset, named

    preset = named(load_preset(file), name, title)
    typer.echo(f"{preset.name}, in {add_preset(preset)}")


@presets_app.command("export")
def presets_export(
    name: NameArgument, file: Annotated[Path, typer.Argument(help="The .json file to write.")]
) -> None:
    """Write a preset to a file, for another computer."""
    from napari_unfold.files.presets import load_preset, save_preset

    save_preset(load_preset(name), file)
    typer.echo(f"{name}, written to {file}")


@presets_app.command("rename")
def presets_rename(
    name: NameArgument,
    new_name: Annotated[str, typer.Argument(help="Small letters, digits and hyphens.")],
    title: NewTitle = None,
) -> None:
    """Give one of your own presets another name."""
    from napari_unfold.files.presets import load_preset, named, rename_preset

    path = rename_preset(name, named(load_preset(name), new_name, title))
    typer.echo(f"{name} is now {new_name}, in {path}")


@presets_app.command("delete")
def presets_delete(name: NameArgument) -> None:
    """Delete one of your own presets."""
    from napari_unfold.files.presets import delete_preset

    typer.echo(f"{delete_preset(name)} is deleted")
