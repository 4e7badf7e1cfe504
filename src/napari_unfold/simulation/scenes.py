"""Simulated stacks with known truth: molecules, light, camera.

Written without the forward operator of the reconstruction: molecules sit anywhere, not on the fine
grid, so that a simulation can tell whether the reconstruction is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_unfold.imaging.camera import CameraModel
from napari_unfold.settings.explain import checked
from napari_unfold.settings.microscope import Background, Optics
from napari_unfold.settings.recipe import Recipe
from napari_unfold.settings.simulation import Instrument, Sample
from napari_unfold.settings.training import SceneName
from napari_unfold.simulation.brightness import Brightness, SampledBrightness
from napari_unfold.simulation.exposure import expose
from napari_unfold.simulation.molecules import molecules_of_frames
from napari_unfold.simulation.sensor import Sensor, sensor
from napari_unfold.simulation.simulated_microscope import (
    BACKGROUND_PHOTONS,
    MICROSCOPE,
    MOLECULE_PHOTONS,
    SIGMA_NM,
    completed,
)
from napari_unfold.simulation.spot_shapes import AirySpot, GaussianSpot, SpotShape, render
from napari_unfold.simulation.structures import Structure
from napari_unfold.simulation.uneven_background import background_map, fading, flicker

__all__ = ["Simulation", "acquire", "render", "simulate"]

SEEN_SHARE = 0.15
"""Molecules that are on for less of a frame are not in its truth: too faint to be asked for."""


@dataclass(frozen=True)
class Simulation:
    """A simulated acquisition.

    Attributes
    ----------
    stack : array (T, Y, X), uint16
        Grey values.
    truth : DataFrame
        One row per molecule and frame: frame (from 0), x_nm, y_nm (corner origin), photons, and
        track, the number of the molecule.
    recipe : Recipe
        The optics, camera and background that were used: the Gaussian most like the PSF, and the
        mean of the background.
    background : array (Y, X)
        Photons per camera pixel without any molecule.
    lamp : array (T,)
        Light of every frame, as a factor to molecules.
    background_course : array (T,)
        As a factor to `background`.
    drift_nm : array (T, 2)
        How far the sample has moved in y and x.
    sample : Sample
    instrument : Instrument
        What was asked for.
    sensor : Sensor or None
        Maps of the camera, if its pixels differ.
    """

    stack: NDArray[np.uint16]
    truth: pd.DataFrame
    recipe: Recipe
    background: NDArray[np.float64]
    lamp: NDArray[np.float64]
    background_course: NDArray[np.float64]
    drift_nm: NDArray[np.float64]
    sample: Sample
    instrument: Instrument
    sensor: Sensor | None

    @property
    def camera(self) -> CameraModel:
        """The camera that took the stack; where its pixels differ, what they scatter around."""
        return CameraModel.of(self.recipe.camera)


def simulate(
    scene: SceneName = "filaments",
    *,
    frames: int = 50,
    shape: tuple[int, int] = (64, 64),
    density_per_um2: float = 3.0,
    molecule_photons: float = MOLECULE_PHOTONS,
    brightness_spread: float = 0.2,
    background_photons: float = BACKGROUND_PHOTONS,
    on_frames: float | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
) -> Simulation:
    """Simulate a stack of blinking molecules with what matters most; `acquire` can do more.

    Parameters
    ----------
    scene : {"filaments", "random", "clusters"}
        Molecules on curved filaments, anywhere, or in clusters.
    frames : int
        Number of frames T.
    shape : tuple of int
        Camera pixels ``(Y, X)``.
    density_per_um2 : float
        Mean number of molecules per square micrometre and frame; the number varies as a Poisson
        variable.
    molecule_photons : float
        Mean photons of a molecule in a frame.
    brightness_spread : float
        Standard deviation of the brightness relative to its mean (gamma distributed).
    background_photons : float
        Photons per camera pixel.
    on_frames : float, optional
        Mean time that a molecule stays on. By default every frame shows other molecules.
    recipe : Recipe, optional
        Optics and camera; what it leaves open is as in `simulated_microscope.MICROSCOPE`.
    seed : int
        Same seed, same stack.

    Raises
    ------
    InputError
        If a number makes no sense.
    """
    values = {
        "scene": scene,
        "frames": frames,
        "height_px": shape[0],
        "width_px": shape[1],
        "density_per_um2": density_per_um2,
        "molecule_photons": molecule_photons,
        "brightness_spread": brightness_spread,
        "background_photons": background_photons,
        "on_frames": on_frames,
        "seed": seed,
    }
    return acquire(checked(Sample, values), recipe=recipe)


def acquire(
    sample: Sample,
    instrument: Instrument | None = None,
    *,
    recipe: Recipe | None = None,
    spot: SpotShape | None = None,
    sensor_maps: Sensor | None = None,
    place: Structure | None = None,
    brightness: Brightness | SampledBrightness | None = None,
    background: NDArray[np.floating] | None = None,
    seen_share: float = SEEN_SHARE,
) -> Simulation:
    """Simulate what a microscope records of a sample.

    Parameters
    ----------
    sample : Sample
        Molecules, their light in time, and the light around them.
    instrument : Instrument, optional
        A Gaussian PSF and a camera of equal pixels by default.
    recipe : Recipe, optional
        Optics and camera; by default 100 nm pixels, a PSF sigma of 110 nm and an EMCCD.
    spot : SpotShape, optional
        The PSF, such as a `BeadSpot`, instead of what `instrument` names.
    sensor_maps : Sensor, optional
        Maps of the camera, instead of what `instrument` says of its pixels.
    place : Structure, optional
        Where molecules are, instead of the scene of `sample`; beyond the border too, from where
        they shine in.
    brightness : Brightness or SampledBrightness, optional
        The light of molecules, instead of what `sample` says of it.
    background : array (Y, X), optional
        Photons per camera pixel, instead of what `sample` says of the background.
    seen_share : float
        The truth of a frame holds the molecules that are on for at least this share of it, from 0
        to 1.
    """
    instrument = instrument or Instrument()
    recipe = completed(recipe or MICROSCOPE)
    rng = np.random.default_rng(sample.seed)
    # with numbers of its own, what surrounds molecules that stay on does not change them
    for_background, for_lamp, for_drift, for_depth, for_sensor = rng.spawn(5)
    shape = sample.height_px, sample.width_px
    pixel_nm = recipe.optics.pixel_size_nm
    spot = spot or spot_shape(instrument, recipe.optics)
    camera = CameraModel.of(recipe.camera)
    maps = sensor_maps or sensor(camera, instrument, shape, for_sensor)
    size_nm = np.array(shape) * pixel_nm

    if background is None:
        background = background_map(
            sample.background, shape, pixel_nm, sample.background_photons,
            sample.background_contrast, for_background,
        )  # fmt: skip
    lamp = flicker(sample.frames, sample.lamp_flicker, for_lamp)
    course = lamp * fading(sample.frames, sample.background_bleaching_frames)
    drift_nm = drift(sample.frames, sample.drift_nm, for_drift)

    stack = np.empty((sample.frames, *shape), dtype=np.uint16)
    frames_of_molecules = molecules_of_frames(sample, size_nm, rng, for_depth, place, brightness)
    tables = []
    for t, molecules in enumerate(frames_of_molecules):
        y_nm, x_nm = molecules.position_nm.T + drift_nm[t][:, None]
        photons = molecules.photons * lamp[t]
        light = spot.light(y_nm, x_nm, molecules.depth_nm, photons, shape, pixel_nm)
        stack[t] = expose(light + background * course[t], maps or camera, rng)
        table = pd.DataFrame(
            {"frame": t, "x_nm": x_nm, "y_nm": y_nm, "photons": photons, "track": molecules.track}
        )
        inside = (np.minimum(y_nm, x_nm) >= 0) & (y_nm < size_nm[0]) & (x_nm < size_nm[1])
        tables.append(table[inside & (molecules.share_on >= seen_share)])
    return Simulation(
        stack=stack,
        truth=pd.concat(tables, ignore_index=True),
        recipe=_as_used(recipe, spot, float(background.mean() * course.mean())),
        background=np.asarray(background, dtype=np.float64),
        lamp=lamp,
        background_course=course,
        drift_nm=drift_nm,
        sample=sample,
        instrument=instrument,
        sensor=maps,
    )


def spot_shape(instrument: Instrument, optics: Optics) -> SpotShape:
    """Return the PSF that the settings name."""
    if instrument.psf == "airy":
        return AirySpot(instrument.numerical_aperture, instrument.wavelength_nm)
    return GaussianSpot(optics.psf_sigma_nm or SIGMA_NM)


def drift(n_frames: int, way_nm: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return how far the sample has moved in each frame, ``(T, 2)``: on a bow, none at first.

    Parameters
    ----------
    n_frames : int
    way_nm : float
        From the first to the last frame.
    rng : numpy.random.Generator
        Draws the direction.
    """
    angle = rng.uniform(0.0, 2.0 * np.pi)
    along = np.array([np.sin(angle), np.cos(angle)])
    time = np.linspace(0.0, 1.0, n_frames)[:, None]
    bow = 0.2 * np.sin(np.pi * time) * along[::-1] * (1.0, -1.0)
    return np.asarray(way_nm * (time * along + bow))


def _as_used(recipe: Recipe, spot: SpotShape, background_photons: float) -> Recipe:
    optics = recipe.optics.model_copy(update={"psf_sigma_nm": spot.sigma_nm})
    background = checked(Background, {"photons": background_photons})
    return recipe.model_copy(update={"optics": optics, "background": background})
