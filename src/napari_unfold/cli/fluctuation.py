"""The command *fluctuation*."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_unfold.cli.options import (
    AduPerPhoton,
    CameraOffset,
    CameraOption,
    DeviceOption,
    ExcessNoise,
    FramesOption,
    PixelSize,
    PsfFwhm,
    PsfSigma,
    ReadNoise,
    StackArgument,
    UpsamplingOption,
    acquisition,
    background_of,
    frames_of,
    help_of,
    settings_checked,
)
from napari_unfold.cli.progress import run_with_progress
from napari_unfold.settings.fluctuation import (
    FLUCTUATION_ITERATIONS,
    Fluctuation,
    FluctuationImageName,
    PSFSource,
)
from napari_unfold.settings.microscope import Background, Optics
from napari_unfold.settings.recipe import Recipe, Solver
from napari_unfold.settings.training import LossName

DEFAULTS = Fluctuation()


def _help(field: str) -> str:
    return help_of(Fluctuation, field)


def fluctuation(
    stack: StackArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.")],
    image: Annotated[
        FluctuationImageName, typer.Option("--image", help=_help("image"))
    ] = DEFAULTS.image,
    psf: Annotated[PSFSource, typer.Option("--psf", help=_help("psf_from"))] = DEFAULTS.psf_from,
    pixel_size_nm: PixelSize = None,
    psf_fwhm_nm: PsfFwhm = None,
    psf_sigma_nm: PsfSigma = None,
    psf_image: Annotated[
        Path | None, typer.Option("--psf-image", help=help_of(Optics, "psf_image"))
    ] = None,
    camera: CameraOption = None,
    camera_offset: CameraOffset = None,
    adu_per_photon: AduPerPhoton = None,
    excess_noise: ExcessNoise = None,
    read_noise_photons: ReadNoise = None,
    background: Annotated[
        str, typer.Option("--background", help=help_of(Background, "photons"))
    ] = "auto",
    upsampling: UpsamplingOption = 4,
    iterations: Annotated[
        int, typer.Option("--iterations", help=help_of(Solver, "iterations"))
    ] = FLUCTUATION_ITERATIONS,
    weight: Annotated[float, typer.Option("--weight", help=_help("weight"))] = DEFAULTS.weight,
    block_frames: Annotated[
        int, typer.Option("--block-frames", help=_help("block_frames"))
    ] = DEFAULTS.block_frames,
    learning_steps: Annotated[
        int, typer.Option("--learning-steps", help=_help("learning_steps"))
    ] = DEFAULTS.learning_steps,
    loss: Annotated[LossName, typer.Option("--loss", help=_help("loss"))] = DEFAULTS.loss,
    frames: FramesOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Sharpen a stack of fluctuating emitters, with a PSF that need not be known.

    Writes mean.tif, variance.tif, reconstruction.tif, psf.tif and run.json.
    """
    from napari_unfold.files.atomic import output_folder
    from napari_unfold.files.opening import open_stack
    from napari_unfold.fluctuation.sharpen import FluctuationResult, unfold_fluctuations

    with settings_checked(), open_stack(stack) as opened:
        recipe = Recipe.model_validate(
            {
                **acquisition(
                    opened.pixel_size_nm if pixel_size_nm is None else pixel_size_nm,
                    psf_fwhm_nm,
                    psf_sigma_nm,
                    camera,
                    camera_offset,
                    adu_per_photon,
                    excess_noise,
                    read_noise_photons,
                    psf_image=psf_image,
                ),
                "background": {"photons": background_of(background)},
                "solver": {"upsampling": upsampling, "iterations": iterations, "penalty": "l1"},
            }
        )
        chosen = Fluctuation(
            image=image,
            psf_from=psf,
            weight=weight,
            block_frames=block_frames,
            learning_steps=learning_steps,
            loss=loss,
        )
        output_folder(out)
        result: FluctuationResult = run_with_progress(
            unfold_fluctuations(opened, recipe, chosen, frames=frames_of(frames), device=device)
        )
        result.save(out)
    for note in result.record["notes"]:
        typer.echo(note)
    typer.echo(
        f"Sharpened the {image} image with a PSF of FWHM {result.fwhm_nm:.1f} nm "
        f"(sigma {result.sigma_nm:.1f} nm), written to {out}"
    )
