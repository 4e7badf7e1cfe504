"""The command *reconstruct*."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_unfold.cli.options import (
    ChannelOption,
    DeviceOption,
    FramesOption,
    OutFolder,
    PlaneOption,
    StackArgument,
    Stated,
    frames_of,
    opened,
    takes_settings,
)
from napari_unfold.cli.progress import run_with_progress, say


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
    save_frames: Annotated[
        bool, typer.Option("--save-frames", help="Also write every frame to frames.tif.")
    ] = False,
) -> None:
    """Reconstruct and localize a stack: reconstruction.tif, localizations.csv, run.json.

    Upsampling and the settings of the localization are the preset's, unless stated.
    """
    from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
    from napari_unfold.files.result_folder import ResultFolder, keep_apart
    from napari_unfold.reconstruction.reconstruct import Reconstruction
    from napari_unfold.reconstruction.reconstruct import reconstruct as job

    outputs = [out / name for name in Reconstruction.FILES]
    keep_apart([stack, Path(preset or "none"), *stated.files], outputs)
    with opened(stack, channel, plane) as movie:
        keep_apart(movie.files, outputs)
        chosen = None if preset == "none" else load_preset(preset or DEFAULT_PRESET)
        known = {"optics": {"pixel_size_nm": movie.pixel_size_nm}}
        if chosen:
            known["solver"] = {"upsampling": chosen.upsampling}
            known["localization"] = chosen.localization.model_dump()
        recipe = stated.recipe(known)
        span = frames_of(frames)
        with ResultFolder(out) as folder:
            frames_path = folder.file("frames.tif") if save_frames else None
            result = run_with_progress(
                job(movie, recipe, chosen, frames=span, device=device, save_frames=frames_path)
            )
            result.save(folder)
    count = len(result.localizations)
    say(f"{count} localizations, written to {out}", localizations=count, folder=out)
