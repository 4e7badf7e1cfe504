"""The command *reconstruct*."""

from __future__ import annotations

from typing import Annotated

import typer

from napari_unfold.cli.options import (
    DeviceOption,
    FramesOption,
    OutFolder,
    StackArgument,
    Stated,
    frames_of,
    takes_settings,
)
from napari_unfold.cli.progress import run_with_progress


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
    device: DeviceOption = "auto",
    save_frames: Annotated[
        bool, typer.Option("--save-frames", help="Also write every frame to frames.tif.")
    ] = False,
) -> None:
    """Reconstruct and localize a stack: reconstruction.tif and .png, localizations.csv, run.json.

    Upsampling and the settings of the localization are the preset's, unless stated.
    """
    from napari_unfold.files.atomic import output_folder
    from napari_unfold.files.opening import open_stack
    from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
    from napari_unfold.reconstruction.reconstruct import reconstruct as job

    with open_stack(stack) as opened:
        chosen = None if preset == "none" else load_preset(preset or DEFAULT_PRESET)
        known = {"optics": {"pixel_size_nm": opened.pixel_size_nm}}
        if chosen:
            known["solver"] = {"upsampling": chosen.upsampling}
            known["localization"] = chosen.localization.model_dump()
        recipe = stated.recipe(known)
        span = frames_of(frames)
        output_folder(out)
        frames_path = out / "frames.tif" if save_frames else None
        result = run_with_progress(
            job(opened, recipe, chosen, frames=span, device=device, save_frames=frames_path)
        )
        result.save(out)
    typer.echo(f"{len(result.localizations)} localizations, written to {out}")
