"""The commands; each is a thin shell around the job of the same name."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from napari_unfold.cli.options import (
    DEFAULT_PIXEL_SIZE_NM,
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
    StackArgument,
    UpsamplingOption,
    acquisition,
    background_of,
    frames_of,
    help_of,
    number_or,
    settings_checked,
)
from napari_unfold.cli.progress import run_with_progress
from napari_unfold.errors import UnfoldError
from napari_unfold.settings.microscope import Background, Optics
from napari_unfold.settings.recipe import Recipe, Solver

app = typer.Typer(
    name="napari-unfold",
    help="Super-resolution microscopy: frame stacks become images and localizations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # units stand in square brackets, which rich would take for markup
)
DEFAULT_PSF_FWHM_NM = 258.0

presets_app = typer.Typer(help="List the presets, or show one.", no_args_is_help=True)
app.add_typer(presets_app, name="presets")


@app.command()
def reconstruct(
    stack: StackArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.")],
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="Name or .json file of a preset; 'none' for classical, untrained parameters. "
            "Default: dense-smlm.",
        ),
    ] = None,
    pixel_size_nm: PixelSize = None,
    psf_fwhm_nm: PsfFwhm = None,
    psf_sigma_nm: PsfSigma = None,
    psf_image: Annotated[
        Path | None, typer.Option("--psf-image", help=help_of(Optics, "psf_image"))
    ] = None,
    psf_image_pixel_nm: Annotated[
        float | None,
        typer.Option(
            "--psf-image-pixel-nm",
            help=help_of(Optics, "psf_image_pixel_nm", " Default: the camera's."),
        ),
    ] = None,
    camera: CameraOption = None,
    camera_offset: CameraOffset = None,
    adu_per_photon: AduPerPhoton = None,
    excess_noise: ExcessNoise = None,
    read_noise_photons: ReadNoise = None,
    background: Annotated[
        str, typer.Option("--background", help=help_of(Background, "photons"))
    ] = "auto",
    fidelity: FidelityOption = "gaussian",
    upsampling: UpsamplingOption = 4,
    iterations: Annotated[
        int,
        typer.Option(
            "--iterations", help=help_of(Solver, "iterations", " Only with --preset none.")
        ),
    ] = 400,
    molecule_photons: Annotated[
        str, typer.Option("--molecule-photons", help=help_of(Solver, "molecule_photons"))
    ] = "auto",
    frames: FramesOption = None,
    device: DeviceOption = "auto",
    save_frames: Annotated[
        bool, typer.Option("--save-frames", help="Also write every frame to frames.tif.")
    ] = False,
) -> None:
    """Reconstruct and localize a stack: reconstruction.tif, localizations.csv, run.json."""
    from napari_unfold.files.atomic import output_folder
    from napari_unfold.files.opening import open_stack
    from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
    from napari_unfold.reconstruction.reconstruct import reconstruct as job

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
                    psf_image_pixel_nm=psf_image_pixel_nm,
                ),
                "background": {"photons": background_of(background)},
                "solver": {
                    "fidelity": fidelity,
                    "upsampling": upsampling,
                    "iterations": iterations,
                    "molecule_photons": number_or("auto", molecule_photons, "--molecule-photons"),
                },
            }
        )
        chosen = None if preset == "none" else load_preset(preset or DEFAULT_PRESET)
        if chosen:
            recipe.localization = chosen.localization
        output_folder(out)
        frames_path = out / "frames.tif" if save_frames else None
        result = run_with_progress(
            job(
                opened, recipe, chosen, frames=frames_of(frames), device=device,
                save_frames=frames_path,
            )
        )  # fmt: skip
        result.save(out)
    typer.echo(f"{len(result.localizations)} localizations, written to {out}")


@app.command()
def simulate(
    out: Annotated[
        Path, typer.Argument(help="TIFF file to write; the truth goes to OUT_truth.csv.")
    ],
    scene: Annotated[
        Literal["filaments", "random"],
        typer.Option("--scene", help="Molecules on curved filaments, or anywhere."),
    ] = "filaments",
    frames: Annotated[int, typer.Option("--frames", help="Number of frames.")] = 50,
    size: Annotated[int, typer.Option("--size", help="Side of a frame. [pixels]")] = 64,
    density: Annotated[
        float, typer.Option("--density", help="Molecules in a frame. [per square micrometre]")
    ] = 3.0,
    molecule_photons: Annotated[
        float, typer.Option("--molecule-photons", help="Mean light of a molecule. [photons/frame]")
    ] = 1500.0,
    brightness_spread: Annotated[
        float,
        typer.Option("--brightness-spread", help="Standard deviation of the light over its mean."),
    ] = 0.2,
    background: Annotated[
        float, typer.Option("--background", help="Light without any molecule. [photons/pixel]")
    ] = 20.0,
    pixel_size_nm: Annotated[
        float,
        typer.Option("--pixel-size-nm", help=help_of(Optics, "pixel_size_nm")),
    ] = DEFAULT_PIXEL_SIZE_NM,
    psf_fwhm_nm: PsfFwhm = None,
    psf_sigma_nm: PsfSigma = None,
    camera: CameraOption = None,
    camera_offset: CameraOffset = None,
    adu_per_photon: AduPerPhoton = None,
    excess_noise: ExcessNoise = None,
    read_noise_photons: ReadNoise = None,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same stack.")] = 0,
) -> None:
    """Simulate a stack with known truth (PSF FWHM 258 nm unless given)."""
    from napari_unfold.files.images import write_image
    from napari_unfold.files.localizations import write_localizations
    from napari_unfold.simulation.scenes import simulate as run

    with settings_checked():
        if psf_fwhm_nm is None and psf_sigma_nm is None:
            psf_fwhm_nm = DEFAULT_PSF_FWHM_NM
        recipe = Recipe.model_validate(
            acquisition(
                pixel_size_nm,
                psf_fwhm_nm,
                psf_sigma_nm,
                camera,
                camera_offset,
                adu_per_photon,
                excess_noise,
                read_noise_photons,
            )
        )
    simulation = run(
        scene,
        frames=frames,
        shape=(size, size),
        density_per_um2=density,
        molecule_photons=molecule_photons,
        brightness_spread=brightness_spread,
        background_photons=background,
        recipe=recipe,
        seed=seed,
    )
    if out.suffix.lower() not in {".tif", ".tiff"}:
        raise UnfoldError(
            f"'{out}' does not end in .tif", "Give the stack a name such as cells.tif"
        )
    truth = out.with_name(f"{out.stem}_truth.csv")
    write_image(simulation.stack, out, pixel_size_nm)
    write_localizations(simulation.truth, truth)
    typer.echo(f"{len(simulation.truth)} molecules in {frames} frames, written to {out}, {truth}")


@app.command()
def evaluate(
    localizations: Annotated[Path, typer.Argument(help="Localization table (CSV).")],
    truth: Annotated[Path, typer.Argument(help="True molecules (CSV, any known layout).")],
    tolerance_nm: Annotated[
        list[float] | None,
        typer.Option("--tolerance-nm", help="Largest distance of a pair; repeatable. [nm]"),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option("--frames", help="A:B compares the frames from A up to, not including, B."),
    ] = None,
    pixel_size_nm: Annotated[
        float | None,
        typer.Option("--pixel-size-nm", help="For tables in pixels: side of a camera pixel. [nm]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Compare localizations with the true molecules."""
    from napari_unfold.files.localizations import read_localizations
    from napari_unfold.tables.evaluate import evaluate as run

    for tolerance in tolerance_nm or ():
        if not 0 < tolerance < float("inf"):
            raise UnfoldError(
                f"--tolerance-nm: {tolerance:g} nm cannot be", "Give a positive number"
            )
    found = read_localizations(localizations, pixel_size_nm=pixel_size_nm)
    true = read_localizations(truth, pixel_size_nm=pixel_size_nm)
    compared = None
    if frames is not None:
        last = int(max(found["frame"].max(), true["frame"].max())) + 1
        compared = range(*frames_of(frames).indices(last))
    scores = [asdict(s) for s in run(found, true, tolerance_nm or (50.0, 100.0, 250.0), compared)]
    if as_json:
        for score in scores:
            typer.echo(json.dumps({k: None if v != v else v for k, v in score.items()}))
        return
    names = list(scores[0])
    typer.echo("  ".join(names))
    for score in scores:
        cells = (f"{score[n]:{len(n)}d}" if isinstance(score[n], int) else
                 f"{score[n]:{len(n)}.3f}" for n in names)  # fmt: skip
        typer.echo("  ".join(cells))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.")] = Path(
        "unfold-demo"
    ),
    gui: Annotated[bool, typer.Option("--gui", help="Show the result in napari.")] = False,
    device: DeviceOption = "auto",
) -> None:
    """Simulate, reconstruct, localize and evaluate: the whole job in under a minute."""
    from napari_unfold.reconstruction.demo import demo as job

    result = run_with_progress(job(out, device=device))
    for score in result.report["scores"]:
        typer.echo(
            f"Jaccard index {score['jaccard']:.3f} at {score['tolerance_nm']:g} nm "
            f"(precision {score['precision']:.3f}, recall {score['recall']:.3f}, "
            f"RMSE {score['rmse_nm']:.1f} nm)"
        )
    typer.echo(f"Written to {out}; look at {out / 'figure.png'}")
    if gui:
        from napari_unfold.plugin.show import show

        show(result.simulation, result.reconstruction)


@presets_app.command("list")
def presets_list() -> None:
    """List the presets by name."""
    from napari_unfold.files.presets import list_presets

    for preset in list_presets():
        typer.echo(f"{preset.name:20s} {preset.title} ({', '.join(preset.networks)})")


@presets_app.command("show")
def presets_show(
    name: Annotated[str, typer.Argument(help="Name or .json file of a preset.")],
) -> None:
    """Show where a preset comes from and how well it did, as JSON."""
    from napari_unfold.files.presets import load_preset

    content = load_preset(name).model_dump(mode="json")
    for network in content["networks"].values():
        steps = network["step_sizes"]
        if len(set(steps)) == 1:
            network["step_sizes"] = f"{steps[0]:g}, {len(steps)} times"
    typer.echo(json.dumps(content, indent=2))
