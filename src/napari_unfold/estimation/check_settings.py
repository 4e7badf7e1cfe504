"""Whether the stated microscope is the one that took the stack, before anything is unfolded.

Offset, gain and width of the PSF are compared with what `estimate` reads from the stack. Beside
its standard errors, the estimate's model errors are allowed for: no PSF is exactly Gaussian, pixels
of a camera differ, and molecules leave a trace in the noise. They were measured on simulations and
on stacks of other simulators whose settings are known: 2 % of the width, 5 % of the noise, 3 % of
the light of a usual pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.estimation.estimate import LOOKED_AT_PIXELS, Estimate, estimate
from napari_unfold.estimation.measured import Measured
from napari_unfold.estimation.sample import sample_runs
from napari_unfold.files.stacks import Stack
from napari_unfold.jobs import Event, Job, Note, Progress, translated
from napari_unfold.settings.microscope import Camera, Optics
from napari_unfold.settings.recipe import Recipe

PSF_MODEL_ERROR, NOISE_MODEL_ERROR, LIGHT_MODEL_ERROR = 0.02, 0.05, 0.03
"""Relative errors of estimates that their standard errors do not contain."""

WARNED, REFUSED = 2.5, 4.0
"""Standard deviations, model errors included, at which settings contradict the stack."""

OFFSET_REFUSED = 3.5
"""A wrong offset does more harm than the others."""

SMALL_NOISE_RATIO = 1.3
"""Noise that differs by less is warned about, never refused."""

SMALL_OFFSET_SHARE = 0.15
"""Of the light of a usual pixel: a wrong offset that is less does little harm."""

FEWEST_FRAMES = 20
"""Of fewer frames nothing is refused."""

COMPARED_PIXELS = 2**20
"""So many show well within the model errors whether settings are right."""


@dataclass(frozen=True)
class Contradiction:
    """A setting, and what the stack shows instead.

    Attributes
    ----------
    field : str
        Path of the setting.
    problem, remedy : str
    deviation : float
        In standard deviations.
    refused : bool
        Whether it is too wrong to go on with.
    """

    field: str
    problem: str
    remedy: str
    deviation: float
    refused: bool


def check_settings(
    stack: Stack, recipe: Recipe, span: tuple[int, int], clipped: bool = False
) -> Job[Recipe]:
    """Compare the settings with the stack, and fill in a PSF that is not stated.

    Parameters
    ----------
    stack : Stack
    recipe : Recipe
    span : tuple of int
        First frame, and the one after the last.
    clipped : bool
        The brightest pixels are clipped, by which estimates are biased: nothing is refused.

    Yields
    ------
    Event
        What is doubtful, or cannot be told, as notes.

    Returns
    -------
    Recipe
        With the width of the PSF.

    Raises
    ------
    InputError
        If a setting contradicts the stack, or the width is missing and the stack does not tell it.
    """
    optics, camera = recipe.optics, recipe.camera
    unknown = optics.psf_sigma_nm is None and optics.psf_image is None
    pixels = LOOKED_AT_PIXELS if unknown else COMPARED_PIXELS
    found, reason = yield from _estimated(stack, camera, span, pixels)
    if unknown:
        width = _width_or_refusal(found, reason, optics)
        yield Note(f"PSF estimated from the stack: sigma {width} nm")
        optics = optics.model_copy(update={"psf_sigma_nm": width.value})
        return recipe.model_copy(update={"optics": optics})
    for note in _untold(found, reason, camera):
        yield Note(note)
    if found is None:
        return recipe
    for contradiction in contradictions(found, recipe, _usual_level(stack, span)):
        certain = span[1] - span[0] >= FEWEST_FRAMES and not clipped
        if contradiction.refused and certain and not recipe.solver.trust_settings:
            raise InputError(contradiction.problem, contradiction.remedy, contradiction.field)
        yield Note(f"Check the settings: {contradiction.problem}")
    return recipe


def contradictions(found: Estimate, recipe: Recipe, level_adu: float) -> list[Contradiction]:
    """Return the settings that an estimate contradicts, the worst first.

    Parameters
    ----------
    found : Estimate
    recipe : Recipe
        What it leaves open is not compared.
    level_adu : float
        Grey value of a usual pixel.
    """
    checks = (
        _check_noise(found, recipe.camera),
        _check_offset(found, recipe.camera, level_adu),
        _check_width(found, recipe.optics),
    )
    return sorted(filter(None, checks), key=lambda c: (not c.refused, -c.deviation))


def _check_noise(found: Estimate, camera: Camera) -> Contradiction | None:
    excess, gain = camera.known_excess_noise, camera.adu_per_photon
    if found.transfer is None or excess is None or gain is None:
        return None
    slope = found.transfer.slope
    ratio = slope.value / (gain * excess)
    deviation = abs(math.log(ratio)) / math.hypot(
        slope.standard_error / slope.value, NOISE_MODEL_ERROR
    )
    if deviation < WARNED:
        return None
    shown = slope * (1.0 / excess)
    return Contradiction(
        "camera.adu_per_photon",
        f"the camera gain is stated as {gain:g} ADU per photon with an excess noise of "
        f"{excess:g}, but the noise of the stack shows {shown} ADU per photon",
        f"Enter {shown.value:.3g}, leave it out to have it estimated, choose another type of "
        f"camera, or {_TRUST}",
        deviation,
        deviation > REFUSED and abs(math.log(ratio)) > math.log(SMALL_NOISE_RATIO),
    )


def _check_offset(found: Estimate, camera: Camera, level_adu: float) -> Contradiction | None:
    stated = camera.offset_adu
    if found.transfer is None or stated is None:
        return None
    shown = found.transfer.offset_adu(camera)
    light = abs(level_adu - shown.value)
    deviation = abs(shown.value - stated) / math.hypot(
        shown.standard_error, LIGHT_MODEL_ERROR * light
    )
    if deviation < WARNED:
        return None
    return Contradiction(
        "camera.offset_adu",
        f"the camera offset is stated as {stated:g} ADU, but the stack shows {shown} ADU",
        f"Enter {shown.rounded():g}, leave it out to have it estimated, or {_TRUST}",
        deviation,
        deviation > OFFSET_REFUSED and abs(shown.value - stated) > SMALL_OFFSET_SHARE * light,
    )


def _check_width(found: Estimate, optics: Optics) -> Contradiction | None:
    sigma_nm = optics.psf_sigma_nm
    if found.psf_sigma_px is None or sigma_nm is None or optics.psf_image is not None:
        return None
    shown = found.psf_sigma_px * optics.pixel_size_nm
    relative = math.hypot(shown.standard_error / shown.value, PSF_MODEL_ERROR)
    deviation = abs(math.log(shown.value / sigma_nm)) / relative
    if deviation < WARNED:
        return None
    return Contradiction(
        "optics.psf_sigma_nm",
        f"the PSF is stated with a sigma of {sigma_nm:.4g} nm, but the stack shows {shown} nm "
        f"with pixels of {optics.pixel_size_nm:g} nm",
        f"Enter {shown.value:.4g}, leave it out to have it estimated, check the pixel size, "
        f"or {_TRUST}",
        deviation,
        deviation > REFUSED,
    )


_TRUST = "trust your settings (--trust-settings)"


def _estimated(
    stack: Stack, camera: Camera, span: tuple[int, int], pixels: int
) -> Job[tuple[Estimate | None, str]]:
    """Return the estimate, or why there is none."""
    try:
        job = estimate(stack, camera, slice(*span), pixels)
        found = yield from translated(job, lambda event: None if _is_progress(event) else event)
        return found, ""
    except InputError as error:
        return None, error.problem


def _is_progress(event: Event) -> bool:
    # it is soon done, and is no part of the progress of the job
    return isinstance(event, Progress)


def _width_or_refusal(found: Estimate | None, reason: str, optics: Optics) -> Measured:
    if found is None or found.psf_sigma_px is None:
        raise InputError(
            "the size of the PSF is missing, and this stack cannot tell it"
            + (f": {reason}" if reason else ""),
            "Enter its FWHM or sigma in nm (the FWHM is about half the wavelength divided by the "
            "numerical aperture, 200 to 300 nm for most objectives)",
            field="optics.psf_sigma_nm",
        )
    width = found.psf_sigma_px * optics.pixel_size_nm
    return replace(width, value=float(width.value))


def _untold(found: Estimate | None, reason: str, camera: Camera) -> list[str]:
    """Say which settings could not be compared with the stack."""
    if found is None:
        return [f"The settings could not be compared with the stack: {reason}"]
    stated = camera.offset_adu is not None or camera.adu_per_photon is not None
    unseen = ["the PSF"] if found.psf_sigma_px is None else []
    unseen += ["camera offset and gain"] if found.transfer is None and stated else []
    if not unseen:
        return []
    return [f"The stack cannot confirm what is stated of {' and of '.join(unseen)}"]


def _usual_level(stack: Stack, span: tuple[int, int]) -> float:
    start, stop = sample_runs(stack, span)[0]
    frames: NDArray[np.float32] = stack.read(start, min(stop, start + FEWEST_FRAMES))
    return float(np.median(frames))
