"""The command *estimate*."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_unfold.cli.options import (
    ChannelOption,
    FramesOption,
    PlaneOption,
    StackArgument,
    Stated,
    flag_of,
    frames_of,
    opened,
    takes_settings,
)
from napari_unfold.cli.progress import run_with_progress
from napari_unfold.settings.microscope import FWHM_PER_SIGMA
from napari_unfold.settings.recipe import Recipe

if TYPE_CHECKING:
    from napari_unfold.estimation.estimate import Estimate
    from napari_unfold.estimation.measured import Measured


@takes_settings(
    "optics.pixel_size_nm", "camera.type", "camera.excess_noise", "camera.read_noise_photons"
)
def estimate(
    stated: Stated,
    stack: StackArgument,
    frames: FramesOption = None,
    channel: ChannelOption = None,
    plane: PlaneOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Estimate PSF, camera offset and gain from a stack of blinking molecules."""
    from napari_unfold.estimation.estimate import estimate as job

    with opened(stack, channel, plane) as movie:
        given = stated.recipe({"optics": {"pixel_size_nm": movie.pixel_size_nm}})
        is_assumed = movie.pixel_size_nm is None and "optics" not in stated.values
        found = run_with_progress(job(movie, given.camera, frames_of(frames)))
    notes = list(found.notes)
    if is_assumed and found.psf_sigma_px is not None:
        notes.append(
            f"Pixels of {given.optics.pixel_size_nm:g} nm are assumed, since the file does not "
            "state their size. Give it with --pixel-size-nm"
        )
    values = _values(found, given)
    if as_json:
        typer.echo(json.dumps(_record(found, values, given, notes), indent=2))
        return
    for name, value in values.items():
        title, unit, _ = _SHOWN[name]
        typer.echo(f"{title:14s} {value} {unit}")
    if found.transfer is not None:
        known_excess_noise = given.camera.known_excess_noise
        typer.echo(
            f"Only gain x excess noise shows in a stack ({found.transfer.slope} ADU/photon); "
            + (
                "state the type with --camera to have the gain."
                if known_excess_noise is None
                else f"the excess noise is taken to be {known_excess_noise:g}."
            )
        )
    for note in notes:
        typer.echo(f"{note}.")
    if values:
        typer.echo(f"Options for reconstruct: {shlex.join(_options(values, given))}")


# title, unit and option of each value
_SHOWN = {
    "psf_fwhm_nm": ("PSF FWHM", "nm", "--psf-fwhm-nm"),
    "offset_adu": ("Camera offset", "ADU", flag_of("camera.offset_adu")),
    "adu_per_photon": ("Gain", "ADU/photon", flag_of("camera.adu_per_photon")),
}


def _values(found: Estimate, given: Recipe) -> dict[str, Measured]:
    """Return what could be told, in the units of the options."""
    values, camera = {}, given.camera
    if found.psf_sigma_px is not None:
        fwhm_nm_per_sigma = FWHM_PER_SIGMA * given.optics.pixel_size_nm
        values["psf_fwhm_nm"] = found.psf_sigma_px * fwhm_nm_per_sigma
    if found.transfer is not None:
        values["offset_adu"] = found.transfer.offset_adu(camera)
        gain = found.transfer.adu_per_photon(camera)
        if gain is not None:
            values["adu_per_photon"] = gain
    return values


def _options(values: dict[str, Measured], given: Recipe) -> list[str]:
    """Return what `reconstruct` has to be told; nothing about what could not be told."""
    if not values:
        return []
    options = ["--pixel-size-nm", f"{given.optics.pixel_size_nm:g}"]
    for name, value in values.items():
        options += [_SHOWN[name][2], f"{value.rounded():g}"]
    for name in ("type", "excess_noise", "read_noise_photons"):
        value = getattr(given.camera, name)
        if value is not None:
            options += [flag_of(f"camera.{name}"), f"{value:g}" if name != "type" else value]
    return options


def _record(
    found: Estimate, values: dict[str, Measured], given: Recipe, notes: list[str]
) -> dict[str, Any]:
    measured = {
        **dict.fromkeys(_SHOWN),
        **values,
        "psf_sigma_px": found.psf_sigma_px,
        "adu_per_photon_times_excess_noise": found.transfer and found.transfer.slope,
    }
    return {
        **{name: value and asdict(value) for name, value in measured.items()},
        "given": {
            "pixel_size_nm": given.optics.pixel_size_nm,
            "camera": given.camera.type,
            "excess_noise": given.camera.known_excess_noise,
            "read_noise_photons": given.camera.read_noise_photons,
        },
        "notes": notes,
        "options": _options(values, given),
    }
