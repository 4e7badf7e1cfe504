"""Options that several commands share, and how their texts become settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError

from napari_unfold.errors import UnfoldError
from napari_unfold.settings.explain import explain
from napari_unfold.settings.microscope import FWHM_PER_SIGMA, Camera, CameraType, Optics
from napari_unfold.settings.recipe import Fidelity, Solver
from napari_unfold.settings.section import Section

FLAGS = {
    "optics.pixel_size_nm": "--pixel-size-nm",
    "optics.psf_sigma_nm": "--psf-fwhm-nm or --psf-sigma-nm",
    "optics.psf_image": "--psf-image",
    "optics.psf_image_pixel_nm": "--psf-image-pixel-nm",
    "camera.type": "--camera",
    "camera.offset_adu": "--camera-offset",
    "camera.adu_per_photon": "--adu-per-photon",
    "camera.excess_noise": "--excess-noise",
    "camera.read_noise_photons": "--read-noise-photons",
    "background.photons": "--background",
    "solver.fidelity": "--fidelity",
    "solver.upsampling": "--upsampling",
    "solver.iterations": "--iterations",
    "solver.molecule_photons": "--molecule-photons",
    "training.outer_iterations": "--steps",
    "training.frames": "--training-frames",
    "training.density_per_um2": "--density",
    "fluctuation.image": "--image",
    "fluctuation.psf_from": "--psf",
    "fluctuation.weight": "--weight",
    "fluctuation.block_frames": "--block-frames",
    "fluctuation.learning_steps": "--learning-steps",
    "training.steepness": "--steepness",
    "training.huber_width": "--huber-width",
    "training.full_pixel": "--full-pixel",
    "preset": "--preset",
    "frames": "--frames",
    "device": "--device",
    "conditions": "--where",
    "merging.radius": "--radius-nm or --radius-uncertainties",
    "merging.radius_unit": "--radius-nm",
    "merging.dark_frames": "--dark-frames",
    "drift.blocks": "--blocks",
    "drift.largest_drift_nm": "--largest-drift-nm",
    "rendering.pixel_size_nm": "--pixel-size-nm",
    "rendering.width_nm": "--width-nm",
    "rendering.weight": "--weight",
    "resolution.halves": "--halves",
    "resolution.pixel_size_nm": "--pixel-size-nm",
    "camera_pixel_nm": "--camera-pixel-nm",
}
"""The option behind each field that an error may name."""

DEFAULT_PIXEL_SIZE_NM = 100.0


def help_of(section: type[Section], field: str, extra: str = "") -> str:
    """Help text of an option, from the description of its setting."""
    info = section.model_fields[field]
    unit = (info.json_schema_extra or {}).get("unit", "")  # type: ignore[union-attr]
    return f"{info.description}{extra}" + (f" [{unit}]" if unit else "")


StackArgument = Annotated[Path, typer.Argument(help="Frame stack: TIFF, OME-TIFF or NumPy file.")]
PixelSize = Annotated[
    float | None,
    typer.Option(
        "--pixel-size-nm",
        help=help_of(
            Optics,
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
    float | None, typer.Option("--psf-sigma-nm", help=help_of(Optics, "psf_sigma_nm"))
]
CameraOption = Annotated[CameraType | None, typer.Option("--camera", help=help_of(Camera, "type"))]
CameraOffset = Annotated[
    float | None, typer.Option("--camera-offset", help=help_of(Camera, "offset_adu"))
]
AduPerPhoton = Annotated[
    float | None, typer.Option("--adu-per-photon", help=help_of(Camera, "adu_per_photon"))
]
ExcessNoise = Annotated[
    float | None, typer.Option("--excess-noise", help=help_of(Camera, "excess_noise"))
]
ReadNoise = Annotated[
    float | None, typer.Option("--read-noise-photons", help=help_of(Camera, "read_noise_photons"))
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option("--device", help="Where to compute; 'auto' takes the GPU if there is one."),
]
FidelityOption = Annotated[Fidelity, typer.Option("--fidelity", help=help_of(Solver, "fidelity"))]
UpsamplingOption = Annotated[int, typer.Option("--upsampling", help=help_of(Solver, "upsampling"))]
FramesOption = Annotated[
    str | None,
    typer.Option(
        "--frames", help="A:B uses the frames from A up to, not including, B, counted from 0."
    ),
]


@contextmanager
def settings_checked() -> Iterator[None]:
    """Explain settings out of range in one sentence."""
    try:
        yield
    except ValidationError as error:
        raise explain(error) from error


def sigma_nm_of(fwhm_nm: float | None, sigma_nm: float | None) -> float | None:
    """Return the sigma of a PSF given one way or the other, or not at all."""
    if fwhm_nm is not None and sigma_nm is not None:
        raise UnfoldError("the PSF is given twice", "Use --psf-fwhm-nm or --psf-sigma-nm")
    if fwhm_nm is not None and not fwhm_nm > 0:
        raise UnfoldError(f"--psf-fwhm-nm: {fwhm_nm:g} nm cannot be", "Give a positive number")
    return fwhm_nm / FWHM_PER_SIGMA if fwhm_nm is not None else sigma_nm


def acquisition(
    pixel_size_nm: float | None,
    psf_fwhm_nm: float | None,
    psf_sigma_nm: float | None,
    camera: CameraType | None,
    camera_offset: float | None,
    adu_per_photon: float | None,
    excess_noise: float | None,
    read_noise_photons: float | None,
    **bead: Any,
) -> dict[str, Any]:
    """Return the sections optics and camera of a recipe, not yet validated."""
    return {
        "optics": {
            "pixel_size_nm": DEFAULT_PIXEL_SIZE_NM if pixel_size_nm is None else pixel_size_nm,
            "psf_sigma_nm": sigma_nm_of(psf_fwhm_nm, psf_sigma_nm),
            **bead,
        },
        "camera": {
            "type": camera,
            "offset_adu": camera_offset,
            "adu_per_photon": adu_per_photon,
            "excess_noise": excess_noise,
            "read_noise_photons": read_noise_photons,
        },
    }


def number_or(word: str, text: str, option: str) -> Any:
    """Parse an option that takes a number or a word."""
    if text == word:
        return word
    try:
        return float(text)
    except ValueError:
        raise UnfoldError(
            f"{option}: '{text}' is neither a number nor '{word}'", "Check its spelling"
        ) from None


def frames_of(text: str | None) -> slice:
    """Parse ``A:B``."""
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


def background_of(text: str) -> Any:
    """Parse ``auto``, a number, or the path of a map."""
    if Path(text).suffix.lower() in {".tif", ".tiff"}:
        return Path(text)
    return number_or("auto", text, "--background")
