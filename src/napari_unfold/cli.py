"""The command line: the same jobs as in napari, with the same settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError

from napari_unfold import recipe as settings
from napari_unfold.cli_progress import run_with_progress
from napari_unfold.jobs import UnfoldError

app = typer.Typer(
    name="napari-unfold",
    help="Super-resolution microscopy: frame stacks become images and localizations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # units stand in square brackets, which rich would take for markup
)
presets_app = typer.Typer(help="List the presets, or show one.", no_args_is_help=True)
app.add_typer(presets_app, name="presets")

FLAGS = {
    "optics.pixel_size_nm": "--pixel-size-nm",
    "optics.psf_sigma_nm": "--psf-fwhm-nm or --psf-sigma-nm",
    "optics.psf_image": "--psf-image",
    "optics.psf_image_pixel_nm": "--psf-image-pixel-nm",
    "camera.offset_adu": "--camera-offset",
    "camera.adu_per_photon": "--adu-per-photon",
    "camera.excess_noise": "--excess-noise",
    "camera.read_noise_photons": "--read-noise-photons",
    "background.photons": "--background",
    "solver.fidelity": "--fidelity",
    "solver.upsampling": "--upsampling",
    "solver.iterations": "--iterations",
    "solver.molecule_photons": "--molecule-photons",
    "preset": "--preset",
    "frames": "--frames",
    "device": "--device",
}
"""The option behind each field that an error may name."""

DEFAULT_PIXEL_SIZE_NM = 100.0


def _help(section: type[settings.Section], field: str, extra: str = "") -> str:
    """Help text of an option, from the description of its setting."""
    info = section.model_fields[field]
    unit = (info.json_schema_extra or {}).get("unit", "")  # type: ignore[union-attr]
    return f"{info.description}{extra}" + (f" [{unit}]" if unit else "")


Stack = Annotated[Path, typer.Argument(help="Frame stack: TIFF, OME-TIFF or NumPy file.")]
PixelSize = Annotated[
    float | None,
    typer.Option(
        "--pixel-size-nm",
        help=_help(
            settings.Optics,
            "pixel_size_nm",
            f" Default: as the file states, else {DEFAULT_PIXEL_SIZE_NM:g}.",
        ),
    ),
]
PsfFwhm = Annotated[
    float | None,
    typer.Option("--psf-fwhm-nm", help="Full width at half maximum of the Gaussian PSF. [nm]"),
]
PsfSigma = Annotated[
    float | None, typer.Option("--psf-sigma-nm", help=_help(settings.Optics, "psf_sigma_nm"))
]
CameraOffset = Annotated[
    float, typer.Option("--camera-offset", help=_help(settings.Camera, "offset_adu"))
]
AduPerPhoton = Annotated[
    float, typer.Option("--adu-per-photon", help=_help(settings.Camera, "adu_per_photon"))
]
ExcessNoise = Annotated[
    float, typer.Option("--excess-noise", help=_help(settings.Camera, "excess_noise"))
]
ReadNoise = Annotated[
    float, typer.Option("--read-noise-photons", help=_help(settings.Camera, "read_noise_photons"))
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option("--device", help="Where to compute; 'auto' takes the GPU if there is one."),
]
_CAMERA = settings.Camera()


@contextmanager
def _settings_checked() -> Iterator[None]:
    """Explain settings out of range in one sentence."""
    try:
        yield
    except ValidationError as error:
        raise settings.explain(error) from error


def _sigma_nm(fwhm_nm: float | None, sigma_nm: float | None) -> float | None:
    if fwhm_nm is not None and sigma_nm is not None:
        raise UnfoldError("the PSF is given twice", "Use --psf-fwhm-nm or --psf-sigma-nm")
    if fwhm_nm is not None and not fwhm_nm > 0:
        raise UnfoldError(f"--psf-fwhm-nm: {fwhm_nm:g} nm cannot be", "Give a positive number")
    return fwhm_nm / settings.FWHM_PER_SIGMA if fwhm_nm is not None else sigma_nm


def _number_or(word: str, text: str, option: str) -> Any:
    """Parse an option that takes a number or a word."""
    if text == word:
        return word
    try:
        return float(text)
    except ValueError:
        raise UnfoldError(
            f"{option}: '{text}' is neither a number nor '{word}'", "Check its spelling"
        ) from None


def _frames(text: str | None) -> slice:
    if text is None:
        return slice(None)
    first, colon, last = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return slice(int(first) if first else None, int(last) if last else None)
    except ValueError:
        raise UnfoldError(
            f"--frames: '{text}' is not a range of frames",
            "Write A:B for the frames from A up to, not including, B, counted from 0",
        ) from None


@app.command()
def reconstruct(
    stack: Stack,
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
        Path | None, typer.Option("--psf-image", help=_help(settings.Optics, "psf_image"))
    ] = None,
    psf_image_pixel_nm: Annotated[
        float | None,
        typer.Option(
            "--psf-image-pixel-nm",
            help=_help(settings.Optics, "psf_image_pixel_nm", " Default: the camera's."),
        ),
    ] = None,
    camera_offset: CameraOffset = _CAMERA.offset_adu,
    adu_per_photon: AduPerPhoton = _CAMERA.adu_per_photon,
    excess_noise: ExcessNoise = _CAMERA.excess_noise,
    read_noise_photons: ReadNoise = _CAMERA.read_noise_photons,
    background: Annotated[
        str, typer.Option("--background", help=_help(settings.Background, "photons"))
    ] = "auto",
    fidelity: Annotated[
        settings.Fidelity, typer.Option("--fidelity", help=_help(settings.Solver, "fidelity"))
    ] = "gaussian",
    upsampling: Annotated[
        int, typer.Option("--upsampling", help=_help(settings.Solver, "upsampling"))
    ] = 4,
    iterations: Annotated[
        int,
        typer.Option(
            "--iterations", help=_help(settings.Solver, "iterations", " Only with --preset none.")
        ),
    ] = 400,
    molecule_photons: Annotated[
        str, typer.Option("--molecule-photons", help=_help(settings.Solver, "molecule_photons"))
    ] = "auto",
    frames: Annotated[
        str | None,
        typer.Option(
            "--frames", help="A:B uses the frames from A up to, not including, B, counted from 0."
        ),
    ] = None,
    device: DeviceOption = "auto",
    save_frames: Annotated[
        bool, typer.Option("--save-frames", help="Also write every frame to frames.tif.")
    ] = False,
) -> None:
    """Reconstruct and localize a stack: reconstruction.tif, localizations.csv, run.json."""
    from napari_unfold.analysis.reconstruct import reconstruct as job
    from napari_unfold.files.atomic import output_folder
    from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
    from napari_unfold.files.results import save_reconstruction
    from napari_unfold.files.stacks import open_stack

    with _settings_checked(), open_stack(stack) as opened:
        if pixel_size_nm is None:
            pixel_size_nm = opened.pixel_size_nm or DEFAULT_PIXEL_SIZE_NM
        recipe = settings.Recipe.model_validate(
            {
                "optics": {
                    "pixel_size_nm": pixel_size_nm,
                    "psf_sigma_nm": _sigma_nm(psf_fwhm_nm, psf_sigma_nm),
                    "psf_image": psf_image,
                    "psf_image_pixel_nm": psf_image_pixel_nm,
                },
                "camera": {
                    "offset_adu": camera_offset,
                    "adu_per_photon": adu_per_photon,
                    "excess_noise": excess_noise,
                    "read_noise_photons": read_noise_photons,
                },
                "background": {"photons": _background(background)},
                "solver": {
                    "fidelity": fidelity,
                    "upsampling": upsampling,
                    "iterations": iterations,
                    "molecule_photons": _number_or("auto", molecule_photons, "--molecule-photons"),
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
                opened, recipe, chosen, frames=_frames(frames), device=device,
                save_frames=frames_path,
            )
        )  # fmt: skip
        save_reconstruction(result, out)
    typer.echo(f"{len(result.localizations)} localizations, written to {out}")


def _background(text: str) -> Any:
    """Parse ``auto``, a number, or the path of a map."""
    if Path(text).suffix.lower() in {".tif", ".tiff"}:
        return Path(text)
    return _number_or("auto", text, "--background")


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
        typer.Option("--pixel-size-nm", help=_help(settings.Optics, "pixel_size_nm")),
    ] = DEFAULT_PIXEL_SIZE_NM,
    psf_fwhm_nm: PsfFwhm = None,
    psf_sigma_nm: PsfSigma = None,
    camera_offset: CameraOffset = _CAMERA.offset_adu,
    adu_per_photon: AduPerPhoton = _CAMERA.adu_per_photon,
    excess_noise: ExcessNoise = _CAMERA.excess_noise,
    read_noise_photons: ReadNoise = _CAMERA.read_noise_photons,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same stack.")] = 0,
) -> None:
    """Simulate a stack with known truth (PSF FWHM 258 nm unless given)."""
    from napari_unfold.files.images import write_image
    from napari_unfold.files.localizations import write_localizations
    from napari_unfold.imaging.simulate import simulate as run

    with _settings_checked():
        recipe = settings.Recipe.model_validate(
            {
                "optics": {
                    "pixel_size_nm": pixel_size_nm,
                    "psf_sigma_nm": _sigma_nm(psf_fwhm_nm, psf_sigma_nm)
                    or 258 / settings.FWHM_PER_SIGMA,
                },
                "camera": {
                    "offset_adu": camera_offset,
                    "adu_per_photon": adu_per_photon,
                    "excess_noise": excess_noise,
                    "read_noise_photons": read_noise_photons,
                },
            }
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
    from napari_unfold.analysis.evaluate import evaluate as run
    from napari_unfold.files.localizations import read_localizations

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
        compared = range(*_frames(frames).indices(last))
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
    from napari_unfold.analysis.demo import demo as job

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


def main() -> None:
    """Run the command line; errors of the user end with one sentence and exit status 2."""
    try:
        app()
    except UnfoldError as error:
        flag = FLAGS.get(error.field or "")
        typer.echo(f"Error: {error}" + (f" (option {flag})" if flag else ""), err=True)
        sys.exit(2)
