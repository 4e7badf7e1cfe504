"""The command *measure-psf*."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_unfold.cli.options import (
    ChannelOption,
    FramesOption,
    PlaneOption,
    StackArgument,
    Stated,
    frames_of,
    opened,
    takes_settings,
)
from napari_unfold.cli.progress import say
from napari_unfold.errors import UnfoldError
from napari_unfold.settings.microscope import FWHM_PER_SIGMA


@takes_settings("optics.pixel_size_nm")
def measure_psf(
    stated: Stated,
    stack: StackArgument,
    out: Annotated[Path, typer.Option("--out", help="TIFF file for the image of the PSF.")],
    frames: FramesOption = None,
    channel: ChannelOption = None,
    plane: PlaneOption = None,
) -> None:
    """Average the beads of a recording into an image of the PSF, for --psf-image."""
    from napari_unfold.estimation.beads import measure_beads
    from napari_unfold.estimation.sample import frame_range
    from napari_unfold.files.images import write_image
    from napari_unfold.files.result_folder import keep_apart

    if out.suffix.lower() not in {".tif", ".tiff"}:
        raise UnfoldError(f"'{out}' does not end in .tif", "Give the image a name such as psf.tif")
    keep_apart([stack], [out])
    with opened(stack, channel, plane) as movie:
        recipe = stated.recipe({"optics": {"pixel_size_nm": movie.pixel_size_nm}})
        first, last = frame_range(frames_of(frames), movie.shape[0])
        mean = sum(movie.read(t, t + 1)[0].astype(float) for t in range(first, last))
        beads = measure_beads(mean / (last - first))
    pixel_nm = recipe.optics.pixel_size_nm
    write_image(beads.image, out, beads.pixel_size_px * pixel_nm)
    say(
        f"PSF of {beads.count} bead{'s' if beads.count > 1 else ''}: FWHM "
        f"{FWHM_PER_SIGMA * beads.sigma_px * pixel_nm:.1f} nm, written to {out}",
        fwhm_nm=FWHM_PER_SIGMA * beads.sigma_px * pixel_nm,
        file=out,
    )
    say(
        f"Options for reconstruct: --psf-image {out} "
        f"--psf-image-pixel-nm {beads.pixel_size_px * pixel_nm:g}"
    )
