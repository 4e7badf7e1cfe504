"""The command *train*."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_unfold import jobs
from napari_unfold.cli.options import (
    AduPerPhoton,
    CameraOffset,
    CameraOption,
    DeviceOption,
    ExcessNoise,
    FidelityOption,
    FramesOption,
    PixelSize,
    PsfFwhm,
    PsfSigma,
    ReadNoise,
    UpsamplingOption,
    acquisition,
    background_of,
    frames_of,
    help_of,
    number_or,
    settings_checked,
)
from napari_unfold.cli.progress import run_with_progress
from napari_unfold.errors import InputError
from napari_unfold.settings.microscope import Background
from napari_unfold.settings.recipe import Penalty, Recipe, Solver
from napari_unfold.settings.training import LossName, SceneName, Training

DEFAULTS = Training()


def train(
    out: Annotated[Path, typer.Option("--out", help="Preset to write (.json).")],
    stack: Annotated[Path | None, typer.Argument(help="Stack of your microscope.")] = None,
    truth: Annotated[
        Path | None, typer.Argument(help="Its true molecules (CSV), if they are known.")
    ] = None,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate",
            help="Learn from simulated frames; brightness and background as in STACK, if given.",
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the parameters in the file --out.")
    ] = False,
    loss: Annotated[
        LossName, typer.Option("--loss", help=help_of(Training, "loss"))
    ] = DEFAULTS.loss,
    steps: Annotated[
        int, typer.Option("--steps", help=help_of(Training, "outer_iterations"))
    ] = DEFAULTS.outer_iterations,
    training_frames: Annotated[
        int, typer.Option("--training-frames", help=help_of(Training, "frames"))
    ] = DEFAULTS.frames,
    scene: Annotated[
        SceneName, typer.Option("--scene", help=help_of(Training, "scene"))
    ] = DEFAULTS.scene,
    density: Annotated[
        float, typer.Option("--density", help=help_of(Training, "density_per_um2"))
    ] = DEFAULTS.density_per_um2,
    steepness: Annotated[
        float, typer.Option("--steepness", help=help_of(Training, "steepness"))
    ] = DEFAULTS.steepness,
    huber_width: Annotated[
        float, typer.Option("--huber-width", help=help_of(Training, "huber_width"))
    ] = DEFAULTS.huber_width,
    full_pixel: Annotated[
        float, typer.Option("--full-pixel", help=help_of(Training, "full_pixel"))
    ] = DEFAULTS.full_pixel,
    pixel_size_nm: PixelSize = None,
    psf_fwhm_nm: PsfFwhm = None,
    psf_sigma_nm: PsfSigma = None,
    camera: CameraOption = None,
    camera_offset: CameraOffset = None,
    adu_per_photon: AduPerPhoton = None,
    excess_noise: ExcessNoise = None,
    read_noise_photons: ReadNoise = None,
    background: Annotated[
        str, typer.Option("--background", help=help_of(Background, "photons"))
    ] = "auto",
    molecule_photons: Annotated[
        str, typer.Option("--molecule-photons", help=help_of(Solver, "molecule_photons"))
    ] = "auto",
    fidelity: FidelityOption = "gaussian",
    penalty: Annotated[
        Penalty, typer.Option("--penalty", help=help_of(Solver, "penalty"))
    ] = "log-sum",
    iterations: Annotated[
        int, typer.Option("--iterations", help=help_of(Solver, "iterations"))
    ] = 200,
    upsampling: UpsamplingOption = 4,
    frames: FramesOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Learn a preset from a stack with known molecules, or from simulated frames."""
    from napari_unfold.files.localizations import read_localizations
    from napari_unfold.files.opening import open_stack
    from napari_unfold.files.presets import load_preset, save_preset
    from napari_unfold.learning.learn import Learned, learn

    if not simulate and truth is None:
        raise InputError(
            "there is nothing to learn from",
            "Give a stack and its true molecules, or --simulate",
        )
    opened = None if stack is None else open_stack(stack)
    with settings_checked():
        known_size = opened.pixel_size_nm if opened and pixel_size_nm is None else pixel_size_nm
        recipe = Recipe.model_validate(
            {
                **acquisition(
                    known_size,
                    psf_fwhm_nm,
                    psf_sigma_nm,
                    camera,
                    camera_offset,
                    adu_per_photon,
                    excess_noise,
                    read_noise_photons,
                ),
                "background": {"photons": background_of(background)},
                "solver": {
                    "fidelity": fidelity,
                    "penalty": penalty,
                    "iterations": iterations,
                    "upsampling": upsampling,
                    "molecule_photons": number_or("auto", molecule_photons, "--molecule-photons"),
                },
            }
        )
        training = Training(
            loss=loss,
            outer_iterations=steps,
            frames=training_frames,
            scene=scene,
            density_per_um2=density,
            steepness=steepness,
            huber_width=huber_width,
            full_pixel=full_pixel,
        )
    name = "".join(c if c.isalnum() else "-" for c in out.stem.lower()).strip("-") or "trained"

    def keep(event: jobs.Event) -> None:
        # an interrupted training leaves the best so far, from which it can be resumed
        if isinstance(event, jobs.Checkpoint | jobs.Result):
            save_preset(event.value.preset, out)

    job = learn(
        recipe,
        training,
        name=name,
        stack=opened,
        truth=None if simulate or truth is None else read_localizations(truth),
        frames=frames_of(frames),
        resume=load_preset(out) if resume else None,
        device=device,
    )
    learned: Learned = run_with_progress(job, keep)
    first, best = learned.history[0], learned.preset.scores[1].value
    typer.echo(
        f"{loss} loss {first['validation loss']:.4g} before, {best:.4g} after "
        f"{len(learned.history) - 1} steps ({learned.outcome}), written to {out}"
    )
