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
    StackArgument,
    Stated,
    frames_of,
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
    save_frames: Annotated[
        bool, typer.Option("--save-frames", help="Also write every frame to frames.tif.")
    ] = False,
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
    import torch

    import napari_unfold
    from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
    from napari_unfold.files.result_folder import ResultFolder, keep_apart
    from napari_unfold.files.unfinished import Unfinished, identity
    from napari_unfold.reconstruction.reconstruct import reconstruct as job
    from napari_unfold.reconstruction.result import Reconstruction

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
            asked = {
                "recipe": recipe.model_dump(mode="json"),
                "preset": chosen.model_dump(mode="json") if chosen else None,
                "frames": [span.start, span.stop],
                "selection": [channel, plane],
                "save_frames": save_frames,
                "stack": [movie.name, movie.shape, str(movie.dtype)],
                "files": identity([*movie.files, *stated.files]),
                "software": [napari_unfold.__version__, torch.__version__],
            }
            unfinished = Unfinished(folder.unfinished, asked)
            folder.obsolete.append(folder.unfinished)
            if anew:
                unfinished.remove()
            if unfinished.others:
                say_note(
                    "An interrupted run with other settings, or of another stack, is kept in this "
                    "folder until a run succeeds; its own command goes on with it."
                )
            frames_path = folder.file("frames.tif") if save_frames else None
            steps = job(
                movie, recipe, chosen, frames=span, device=device, save_frames=frames_path,
                unfinished=unfinished,
            )  # fmt: skip
            try:
                result = run_with_progress(steps)
            except BaseException:
                unfinished.tidy()
                if done := unfinished.done:
                    with suppress(OSError):  # the terminal may be gone
                        say_note(
                            f"{done} frames are finished and kept: the same command goes on there."
                        )
                raise
            result.save(folder)
    count = len(result.localizations)
    say(f"{count} localizations, written to {out}", localizations=count, folder=out)
