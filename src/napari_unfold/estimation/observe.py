"""What a stack and the settings tell before anything is unfolded."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.estimation.background import (
    MIN_BACKGROUND_PHOTONS,
    detection_limit,
    estimate_background,
    estimate_crowding,
    estimate_molecule_photons,
    frames_are_independent,
    refined_background,
)
from napari_unfold.estimation.lamp import Lamp, frames_of_one_level, watch_lamp
from napari_unfold.estimation.learn_molecules import learn_molecules
from napari_unfold.estimation.psf_from_stack import tail_light
from napari_unfold.estimation.resolve_camera import resolve_camera
from napari_unfold.estimation.sample import frame_range, read_sample
from napari_unfold.files.stacks import Stack
from napari_unfold.files.tiff import read_picture
from napari_unfold.imaging.camera import CameraModel, to_photons
from napari_unfold.imaging.forward import forward_operator
from napari_unfold.imaging.psf import PSF, GaussianPSF, measured_psf
from napari_unfold.jobs import Job, Note, Stage
from napari_unfold.localization.brightness import SPREAD, Brightness, BrightnessPrior
from napari_unfold.localization.profiles import Spot, spot_of
from napari_unfold.settings.microscope import FWHM_PER_SIGMA, Background, Optics
from napari_unfold.settings.recipe import Recipe

FEWEST_SINGLES = 0.75
"""With a smaller share of single molecules among the spots that stand alone, the fluctuations tell
the brightness better, if frames are independent."""

MANY_SINGLES, TOO_BRIGHT = 0.9, 1.1
"""The same with a larger share if spots are brighter than the fluctuations allow: these show the
mean over the light, above that over the molecules. Few frames hide how crowded they are."""

LAMP_PASSES = 2
"""The map of the background and its changes in time are found by turns."""


@dataclass(frozen=True)
class Observation:
    """What is known of a stack once it has been looked at.

    Attributes
    ----------
    frames : tuple of int
        First frame, and the one after the last.
    shape : tuple of int
        Camera pixels ``(Y, X)``.
    recipe : Recipe
        As given, with the camera in full.
    camera : CameraModel
    background : array (Y, X)
        Photons per camera pixel.
    notes : list of str
        What the user was told.
    """

    frames: tuple[int, int]
    shape: tuple[int, int]
    recipe: Recipe
    camera: CameraModel
    background: NDArray[np.float32]
    notes: list[str]


@dataclass(frozen=True)
class MoleculeObservation(Observation):
    """The same for a stack of blinking molecules, whose PSF is known.

    Attributes
    ----------
    psf : PSF
        As stated, or the Gaussian most like the one that was measured.
    spot : Spot
        What a molecule looks like.
    refined : bool
        Whether that was measured on lone spots.
    molecule_photons : float
        Photons of a typical molecule in one frame.
    brightness : Brightness
        What is expected of the photons of a molecule.
    detection_limit_photons : float
        Of the faintest molecule that stands out from the noise.
    crowding : array (Y, X)
        Molecules to expect in the area of a PSF and in one frame.
    lamp : Lamp
        How the background changes from frame to frame.
    """

    psf: PSF
    spot: Spot
    refined: bool
    molecule_photons: float
    brightness: Brightness
    detection_limit_photons: float
    crowding: NDArray[np.float32]
    lamp: Lamp


def observe(stack: Stack, recipe: Recipe, frames: slice) -> Job[Observation]:
    """Look at a stack once: camera and background, as stated or as the frames tell.

    Parameters
    ----------
    stack : Stack
    recipe : Recipe
        Camera and background; the PSF need not be known.
    frames : slice
        Which frames are meant, counted from 0.

    Raises
    ------
    InputError
        If the stack contradicts the settings, or does not tell what they leave open.
    """
    observation, _ = yield from look_at_sample(stack, recipe, frames)
    return observation


def observe_molecules(stack: Stack, recipe: Recipe, frames: slice) -> Job[MoleculeObservation]:
    """Look at a stack of blinking molecules once: their brightness and crowding too.

    Parameters
    ----------
    stack : Stack
    recipe : Recipe
    frames : slice
        Which frames are meant, counted from 0.

    Raises
    ------
    InputError
        As `observe`, and if the PSF is missing or the frames are too small for it.
    """
    frame_range(frames, stack.shape[0])
    psf = load_psf(recipe.optics)
    check_frame_size((stack.shape[1], stack.shape[2]), psf)
    seen, sample = yield from look_at_sample(stack, recipe, frames)
    spot = spot_of(psf)
    energy = forward_operator(seen.shape, recipe.solver.upsampling, psf).point_energy
    limit = detection_limit(seen.background, seen.camera, energy)
    seen, factors = yield from watch_background(seen, sample)
    photons = recipe.solver.molecule_photons
    if photons == "auto":
        told = yield from _molecules(seen, sample, spot, energy, limit, factors)
    else:
        told = _Molecules(photons, BrightnessPrior(photons, SPREAD), seen.background, spot)
    if told.spot.sigma_px != psf.sigma_px and isinstance(psf, GaussianPSF):
        psf = GaussianPSF(told.spot.sigma_px)
    lamp = Lamp()
    if factors is not None:
        lamp = watch_lamp(sample, told.background, seen.camera)
        lamp = replace(lamp, lights_molecules=told.follow_lamp)
    return MoleculeObservation(
        **{**vars(seen), "background": told.background},
        psf=psf,
        spot=told.spot,
        refined=told.spot is not spot,
        molecule_photons=told.photons,
        brightness=told.brightness,
        detection_limit_photons=limit,
        crowding=estimate_crowding(sample, told.background, told.photons, psf.sigma_px, factors),
        lamp=lamp,
    )


def watch_background(
    seen: Observation, sample: NDArray[np.float32]
) -> Job[tuple[Observation, NDArray[np.float32] | None]]:
    """Return what is seen, with the background of a usual frame, and the factor of each frame.

    A background that was stated stays as it is; it has no factors.
    """
    if seen.recipe.background.photons != "auto":
        return seen, None
    background = seen.background
    lamp = watch_lamp(sample, background, seen.camera)
    factors = lamp.factors(sample, background, seen.camera)
    if lamp.weight > 0:
        background = background * lamp.usual
        for _ in range(LAMP_PASSES):
            background = refined_background(sample, background, seen.camera, factors=factors)
            lamp = watch_lamp(sample, background, seen.camera)
            factors = lamp.factors(sample, background, seen.camera)
        seen.notes.append(
            "The background changes in time: "
            f"{factors.min():.2f} to {factors.max():.2f} times its mean"
        )
        yield Note(seen.notes[-1])
    return replace(seen, background=background), factors


@dataclass(frozen=True)
class _Molecules:
    """What is known of the molecules of a stack, and of what it took to find out."""

    photons: float
    brightness: Brightness
    background: NDArray[np.float32]
    spot: Spot
    follow_lamp: bool = False


def _molecules(
    seen: Observation,
    sample: NDArray[np.float32],
    spot: Spot,
    point_energy: float,
    limit: float,
    factors: NDArray[np.float32] | None,
) -> Job[_Molecules]:
    """Learn what a typical molecule is, and tell the user."""
    yield Stage("Learning the brightness of molecules")
    learned = yield from learn_molecules(
        sample,
        seen.background,
        seen.camera,
        spot,
        point_energy,
        keep_background=seen.recipe.background.photons != "auto",
        keep_spot=not seen.recipe.optics.refine_psf,
        factors=factors,
    )
    if learned is None:
        note = "No molecules stand out from the noise; looking for the faintest that could"
        seen.notes.append(note)
        yield Note(note)
        return _Molecules(limit, BrightnessPrior(limit, SPREAD), seen.background, spot)
    behind = seen.background if factors is None else seen.background * factors[:, None, None]
    photons: float = learned.photons
    brightness: Brightness = learned.brightness
    note = (
        f"Typical molecule: {photons:.0f} ± {learned.error_photons:.0f} photons per frame, "
        f"from {learned.spots} spots that stand alone"
    )
    by_fluctuations = estimate_molecule_photons(sample, behind, seen.camera, point_energy)
    if frames_are_independent(sample, behind, seen.camera) and (
        learned.singles < FEWEST_SINGLES
        or (learned.singles < MANY_SINGLES and photons > TOO_BRIGHT * by_fluctuations)
    ):
        photons = by_fluctuations
        brightness = BrightnessPrior(photons, SPREAD)
        note = (
            f"Typical molecule: {photons:.0f} photons per frame, from the fluctuations of the "
            "stack: in such a crowd hardly any stands alone"
        )
    notes = [note]
    if learned.spot is not spot:
        notes.append(_psf_note(learned.spot, spot, seen.recipe.optics))
    for text in notes:
        seen.notes.append(text)
        yield Note(text)
    used = learned.spot if seen.recipe.optics.refine_psf else spot
    return _Molecules(photons, brightness, learned.background, used, learned.follow_lamp)


def _psf_note(measured: Spot, stated: Spot, optics: Optics) -> str:
    """Say how a measured PSF differs from the one stated."""
    scale = FWHM_PER_SIGMA * optics.pixel_size_nm
    fwhm, before = (scale * spot.sigma_px for spot in (measured, stated))
    return (
        f"PSF measured on lone spots: FWHM {fwhm:.0f} nm, stated {before:.0f} nm; "
        f"{100.0 * tail_light(measured):.0f} % of a molecule's light lies farther than three sigma "
        "from it, 1 % of a Gaussian's"
        + ("" if optics.refine_psf else ". The PSF is kept as stated, since it must not be refined")
    )


def look_at_sample(
    stack: Stack, recipe: Recipe, frames: slice
) -> Job[tuple[Observation, NDArray[np.float32]]]:
    """Look at a sample of frames, as `observe`; return the sample in photons too."""
    span = frame_range(frames, stack.shape[0])
    shape = stack.shape[1], stack.shape[2]
    yield Stage("Reading the stack")
    grey = read_sample(stack, span)
    camera, notes = yield from resolve_camera(stack, recipe.camera, span, grey)
    recipe = recipe.model_copy(update={"camera": camera.settings(recipe.camera)})
    sample = to_photons(grey, camera)
    yield Stage("Estimating the background")
    background = background_map(sample, camera, recipe.background, shape)
    if recipe.background.photons == "auto":
        low, high = float(background.min()), float(background.max())
        notes.append(f"Background estimated: {low:.3g} to {high:.3g} photons per pixel")
        yield Note(notes[-1])
    return Observation(span, shape, recipe, camera, background, notes), sample


def load_psf(optics: Optics) -> PSF:
    """Return the PSF of the settings: the Gaussian, or the bead image if there is one.

    Raises
    ------
    InputError
        If neither is given, or the image cannot be used.
    """
    if optics.psf_image is not None:
        image = read_picture(optics.psf_image, "optics.psf_image")
        image_pixel_nm = optics.psf_image_pixel_nm or optics.pixel_size_nm
        return measured_psf(image, image_pixel_nm, optics.pixel_size_nm)
    if optics.psf_sigma_nm is None:
        raise InputError(
            "the size of the PSF is missing",
            "Enter its FWHM or sigma in nm (the FWHM is about half the wavelength divided by the "
            "numerical aperture, 200 to 300 nm for most objectives)",
            field="optics.psf_sigma_nm",
        )
    return GaussianPSF(optics.psf_sigma_nm / optics.pixel_size_nm)


def check_frame_size(shape: tuple[int, int], psf: PSF) -> None:
    """Raise an `InputError` if frames are too small for the PSF."""
    smallest = max(8, round(6 * psf.sigma_px))
    if min(shape) < smallest:
        raise InputError(
            f"frames of {shape[0]} x {shape[1]} pixels are smaller than the PSF allows",
            f"Use frames of at least {smallest} x {smallest} pixels, or check the PSF size",
            field="stack",
        )


def background_map(
    sample: NDArray[np.float32],
    camera: CameraModel,
    settings: Background,
    shape: tuple[int, int],
) -> NDArray[np.float32]:
    """Return the background of the settings, estimated from a sample of frames if it is 'auto'."""
    given = settings.photons
    if given == "auto":
        return estimate_background(sample[frames_of_one_level(sample)], camera)
    if isinstance(given, float):
        return np.full(shape, given, dtype=np.float32)
    background = np.asarray(read_picture(given, "background.photons"), np.float32)
    if background.shape != shape or not np.isfinite(background).all():
        raise InputError(
            f"the background map {given} is {background.shape}, the frames are {shape} pixels",
            "Give one finite value per camera pixel, in photons",
            field="background.photons",
        )
    return np.maximum(background, MIN_BACKGROUND_PHOTONS)
