"""The command *batch*."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_unfold.cli.options import (
    SECTIONS,
    ChannelOption,
    DeviceOption,
    FramesOption,
    PlaneOption,
    SaveFramesOption,
    Stated,
    frames_of,
    known_of,
    takes_settings,
)
from napari_unfold.cli.progress import run_with_progress, say
from napari_unfold.errors import InputError

if TYPE_CHECKING:
    from napari_unfold.files.records import Repeat
    from napari_unfold.files.stacks import Stack
    from napari_unfold.reconstruction.many_stacks import Entry

_SETTINGS = ("optics", "camera", "background", "solver", "localization")
_SAME_PIXEL = 0.01
"""Pixel sizes that differ by less, relatively, are the same."""


@takes_settings(*_SETTINGS)
def batch(
    stated: Stated,
    stacks: Annotated[
        list[Path],
        typer.Argument(help="Folders and stacks; of a folder, all stacks that lie directly in it."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for a folder of results per stack.")],
    recipe: Annotated[
        Path | None,
        typer.Option(
            "--recipe",
            help="The run.json of an earlier run, or an image saved with its recipe: its settings "
            "hold where no option says otherwise.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="Name or .json file of a preset; 'none' for classical, untrained parameters, "
            "with --penalty and --iterations. Default: that of the recipe, else dense-smlm.",
        ),
    ] = None,
    frames: FramesOption = None,
    channel: ChannelOption = None,
    plane: PlaneOption = None,
    device: DeviceOption = "auto",
    save_frames: SaveFramesOption = False,
) -> None:
    """Reconstruct many stacks with one recipe, each into its own folder; batch.csv tells of all.

    A stack that cannot be used is listed and does not stop the rest. The same command again skips
    what is done, and goes on with what was interrupted. The exit status is 1 if a stack failed.
    """
    from napari_unfold.files.opening import find_stacks, open_stack
    from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
    from napari_unfold.jobs import choose_device
    from napari_unfold.reconstruction.into_folder import Request
    from napari_unfold.reconstruction.many_stacks import SUMMARY, ManyStacks

    earlier = None if recipe is None else _earlier(recipe)
    for name in _SETTINGS:
        if name != "optics":  # whose PSF cannot be judged before the size of the pixels is known
            stated.section(SECTIONS[name])
    usual = DEFAULT_PRESET if earlier is None else earlier.preset or "none"
    chosen = None if (preset or usual) == "none" else load_preset(preset or usual)
    span = frames_of(frames)
    choose_device(device)

    def request_for(stack: Stack) -> Request:
        known = known_of(stack, chosen)
        if earlier is not None:
            if "pixel_size_nm" not in stated.values.get("optics", {}):
                _check_pixel_size(stack, earlier)
            for name, values in earlier.recipe.model_dump().items():
                known[name] = {**known.get(name, {}), **values}
        return Request(stated.recipe(known), chosen, span, channel, plane, save_frames)

    def open_one(path: Path) -> Stack:
        return open_stack(path, channel=channel, plane=plane)

    found = find_stacks(stacks, stated.files)
    many = ManyStacks(found, out, open_one, request_for, device)
    say(f"{len(found)} stack{'s' if len(found) > 1 else ''}", files=found)
    for number in range(len(found)):
        _say_entry(run_with_progress(many.job(number)))
    failed = [entry.file.name for entry in many.entries if entry.outcome == "failed"]
    text = f"{len(found) - len(failed)} of {len(found)} stacks are done; see {out / SUMMARY}"
    say(text + (f". Failed: {', '.join(failed)}" if failed else ""), failed=failed, folder=out)
    if failed:
        raise typer.Exit(1)


def _earlier(path: Path) -> Repeat:
    from napari_unfold.files.records import read_record, repeat_of

    return repeat_of(read_record(path), f"'{path}'")


def _check_pixel_size(stack: Stack, earlier: Repeat) -> None:
    """Refuse to guess which of two pixel sizes is right."""
    of_file, of_recipe = stack.pixel_size_nm, earlier.recipe.optics.pixel_size_nm
    if of_file is not None and abs(of_file / of_recipe - 1) > _SAME_PIXEL:
        raise InputError(
            f"'{stack.name}' states pixels of {of_file:g} nm, the recipe {of_recipe:g} nm",
            "Say which is right: --pixel-size-nm on the command line, or the box in the window",
            field="optics.pixel_size_nm",
        )


def _say_entry(entry: Entry) -> None:
    text = f"{entry.file.name}: {entry.outcome}"
    if entry.outcome == "done earlier":
        text += " with the same settings"
    if entry.localizations is not None:
        text += f", {entry.localizations} localizations"
    values = {name: value for name, value in vars(entry).items() if name != "file"}
    text += "".join(f". {said}" for said in (entry.verdict, entry.error) if said)
    say(text, file=entry.file, **values)
