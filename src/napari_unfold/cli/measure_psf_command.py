"""The command *measure-psf*."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from napari_unfold.cli.progress import run_with_progress, say
from napari_unfold.errors import UnfoldError
from napari_unfold.settings.microscope import FWHM_PER_SIGMA

if TYPE_CHECKING:
    from napari_unfold.files.stacks import Stack
    from napari_unfold.settings.recipe import Recipe


@takes_settings("optics.pixel_size_nm", "optics.psf_sigma_nm", "camera", "background")
def measure_psf(
    stated: Stated,
    stack: StackArgument,
    out: Annotated[
        Path | None, typer.Option("--out", help="TIFF file for the image of the PSF.")
    ] = None,
    learn: Annotated[
        bool,
        typer.Option(
            "--learn",
            help="Learn the width of the PSF from a stack of blinking molecules, whose camera is "
            "known; a PSF that is stated is where to start.",
        ),
    ] = False,
    frames: FramesOption = None,
    channel: ChannelOption = None,
    plane: PlaneOption = None,
) -> None:
    """Average the beads of a recording into an image of the PSF, for --psf-image.

    With --learn, learn its width from a stack of blinking molecules instead.
    """
    from napari_unfold.files.result_folder import keep_apart

    if out is not None and out.suffix.lower() not in {".tif", ".tiff"}:
        raise UnfoldError(f"'{out}' does not end in .tif", "Give the image a name such as psf.tif")
    keep_apart([stack, *stated.files], [out])
    with opened(stack, channel, plane) as movie:
        recipe = stated.recipe({"optics": {"pixel_size_nm": movie.pixel_size_nm}})
        if learn:
            _learn(movie, recipe, frames_of(frames), out)
        elif out is None:
            raise UnfoldError(
                "there is no name for the image of the beads",
                "Give one with --out, or --learn for a stack of blinking molecules",
            )
        else:
            _average(movie, recipe, frames_of(frames), out)


def _average(movie: Stack, recipe: Recipe, frames: slice, out: Path) -> None:
    """Average the beads of a recording."""
    from napari_unfold.estimation.beads import measure_beads
    from napari_unfold.estimation.sample import frame_range
    from napari_unfold.files.images import write_image

    first, last = frame_range(frames, movie.shape[0])
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


def _learn(movie: Stack, recipe: Recipe, frames: slice, out: Path | None) -> None:
    """Learn the width of the PSF from molecules."""
    from napari_unfold.estimation.learn_psf_width import learn_psf_width
    from napari_unfold.files.images import write_image
    from napari_unfold.imaging.psf import GaussianPSF, psf_image

    found = run_with_progress(learn_psf_width(movie, recipe, frames))
    if found.sigma_px is None or found.doubt is not None:
        raise found.doubt or UnfoldError("the width of the PSF cannot be learned")
    pixel_nm = recipe.optics.pixel_size_nm
    fwhm = found.sigma_px * (FWHM_PER_SIGMA * pixel_nm)
    say(
        f"{found.comparison(pixel_nm)}.",
        fwhm_nm=fwhm.value,
        fwhm_error_nm=fwhm.standard_error,
        fwhm_from_data_nm=found.from_data_px
        and found.from_data_px.value * FWHM_PER_SIGMA * pixel_nm,
        molecules=found.molecules,
    )
    if out is not None:
        write_image(psf_image(GaussianPSF(found.sigma_px.value), FINER), out, pixel_nm / FINER)
        say(f"Its image is written to {out}", file=out)
    say(f"Option for reconstruct: --psf-fwhm-nm {fwhm.rounded():g}")


FINER = 4
"""Pixels of the image of a learned PSF per camera pixel."""
