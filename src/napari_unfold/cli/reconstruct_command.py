"""The command *reconstruct*."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from napari_unfold.cli.options import (
    ChannelOption,
    DeviceOption,
    FramesOption,
    OutFolder,
    PlaneOption,
    SaveFramesOption,
    StackArgument,
    Stated,
    frames_of,
    known_of,
    opened,
    takes_settings,
)
from napari_unfold.cli.progress import run_with_progress, say, say_note


@takes_settings("optics", "camera", "background", "solver", "localization")
def reconstruct(
    stated: Stated,
    stack: StackArgument,
    out: OutFolder,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="Name or .json file of a preset; 'none' for classical, untrained parameters, "
            "with --penalty and --iterations. Default: dense-smlm.",
        ),
    ] = None,
    frames: FramesOption = None,
    channel: ChannelOption = None,
    plane: PlaneOption = None,
    device: DeviceOption = "auto",
    save_frames: SaveFramesOption = False,
    anew: Annotated[
        bool,
        typer.Option(
            "--anew", help="Begin with the first frame, even if an earlier run was interrupted."
        ),
    ] = False,
) -> None:
    """Reconstruct and localize a stack: reconstruction.tif and .png, localizations.csv, run.json.

    Upsampling and the settings of the localization are the preset's, unless stated. The same
    command again goes on with a run that was interrupted.
    """
    from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
    from napari_unfold.files.result_folder import keep_apart
    from napari_unfold.reconstruction.into_folder import FolderRun, Request
    from napari_unfold.reconstruction.result import Reconstruction

    outputs = [out / name for name in Reconstruction.FILES]
    keep_apart([stack, Path(preset or "none"), *stated.files], outputs)
    with opened(stack, channel, plane) as movie:
        chosen = None if preset == "none" else load_preset(preset or DEFAULT_PRESET)
        recipe = stated.recipe(known_of(movie, chosen))
        request = Request(recipe, chosen, frames_of(frames), channel, plane, save_frames)
        run = FolderRun(out, movie, request)
        try:
            result = run_with_progress(run.job(device, anew))
        except BaseException:
            if done := run.frames_kept:
                with suppress(OSError):  # the terminal may be gone
                    say_note(
                        f"{done} frames are finished and kept: the same command goes on there."
                    )
            raise
    count = len(result.localizations)
    say(f"{count} localizations, written to {out}", localizations=count, folder=out)
