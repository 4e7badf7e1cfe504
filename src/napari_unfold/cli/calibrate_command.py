"""The command *calibrate-camera*."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from napari_unfold.cli.options import (
    ChannelOption,
    PlaneOption,
    Stated,
    flag_of,
    opened,
    takes_settings,
)
from napari_unfold.cli.progress import run_with_progress, say
from napari_unfold.settings.microscope import Camera


@takes_settings("camera.type", "camera.excess_noise")
def calibrate_camera(
    stated: Stated,
    dark: Annotated[Path, typer.Argument(help="Stack of dark frames, the more the better.")],
    flats: Annotated[
        list[Path] | None,
        typer.Argument(help="Stacks that are evenly lit, each at another level."),
    ] = None,
    channel: ChannelOption = None,
    plane: PlaneOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the maps.")] = Path("maps"),
) -> None:
    """Make camera maps: offset and variance of dark pixels, and with lit stacks the gain.

    Writes offset.tif (ADU), variance.tif (ADU²) and gain.tif (ADU/photon). The excess noise is
    that of an sCMOS camera unless another one is stated.
    """
    from napari_unfold.estimation.calibrate_camera import calibrate_camera as job
    from napari_unfold.files.camera_maps import SETTINGS, CameraMaps
    from napari_unfold.files.result_folder import ResultFolder, keep_apart

    camera = stated.section(Camera)
    keep_apart([dark, *(flats or ())], [out / name for name in CameraMaps.FILES])
    with ExitStack() as files:
        first, *others = (
            files.enter_context(opened(p, channel, plane)) for p in (dark, *(flats or ()))
        )
        folder = files.enter_context(ResultFolder(out))
        maps = run_with_progress(job(first, others, camera.known_excess_noise or 1.0))
        paths = maps.save(folder)
    options = [
        f"{flag_of(f'camera.{SETTINGS[name]}')} {path}"
        for name, path in zip(maps.given, paths, strict=True)
    ]
    say(f"Options for reconstruct: {' '.join(options)}", files=paths)
