"""What is simulated: molecules, their light in time, background, microscope."""

from __future__ import annotations

from typing import Literal

from napari_unfold.settings.section import Section, setting
from napari_unfold.settings.training import SceneName

BrightnessName = Literal["gamma", "log-normal", "exponential"]
BackgroundName = Literal["flat", "gradient", "cells"]
PsfName = Literal["gaussian", "airy"]


class Sample(Section):
    """Molecules and the light around them."""

    scene: SceneName = setting(
        "filaments",
        "Structure",
        "Molecules on curved filaments, anywhere ('random'), or in clusters.",
    )
    frames: int = setting(50, "Frames", "Number of frames.", ge=1, le=1_000_000)
    height_px: int = setting(
        64, "Height", "Height of a frame.", "pixels", flag="--height", ge=8, le=8192
    )
    width_px: int = setting(
        64, "Width", "Width of a frame.", "pixels", flag="--width", ge=8, le=8192
    )
    density_per_um2: float = setting(
        3.0,
        "Density",
        "Molecules that are on at a time, per square micrometre.",
        "per µm²",
        flag="--density",
        ge=0,
        le=1000,
    )
    molecule_photons: float = setting(
        1500.0,
        "Photons per molecule",
        "Mean light of a molecule that is on throughout a frame.",
        "photons",
        ge=1,
        le=1e7,
    )
    brightness_spread: float = setting(
        0.2,
        "Brightness spread",
        "Standard deviation of the light of the molecules over its mean; 0 makes all alike.",
        ge=0,
        le=3,
    )
    brightness: BrightnessName = setting(
        "gamma",
        "Brightness",
        "How the light differs between molecules; the spread of 'exponential' is always 1.",
    )
    on_frames: float | None = setting(
        None,
        "On-time",
        "Mean time that a molecule stays on; it begins and ends within a frame. Empty: every "
        "frame shows other molecules.",
        "frames",
        ge=0.01,
        le=1e6,
    )
    off_frames: float = setting(
        200.0,
        "Off-time",
        "Mean time that a molecule stays dark. With an on-time only.",
        "frames",
        ge=0.01,
        le=1e7,
    )
    bleaching_frames: float | None = setting(
        None,
        "Bleaching",
        "Mean time after which a molecule is dark for good. Empty: never. With an on-time only.",
        "frames",
        ge=0.1,
        le=1e7,
    )
    background_photons: float = setting(
        20.0,
        "Background",
        "Light without any molecule, at the darkest place.",
        "photons/pixel",
        flag="--background",
        ge=0.01,
        le=1e5,
    )
    background: BackgroundName = setting(
        "flat",
        "Shape of the background",
        "Everywhere the same, rising across the field, or lit cells with blurred edges.",
        flag="--background-shape",
    )
    background_contrast: float = setting(
        5.0,
        "Contrast of the background",
        "Brightest over darkest place; a flat background has none.",
        ge=1,
        le=1000,
    )
    background_bleaching_frames: float | None = setting(
        None,
        "Bleaching of the background",
        "Frames after which 37 % of the background is left. Empty: it stays.",
        "frames",
        ge=0.1,
        le=1e7,
    )
    lamp_flicker: float = setting(
        0.0,
        "Flicker of the lamp",
        "Standard deviation of the light from frame to frame, over its mean; molecules and "
        "background alike.",
        ge=0,
        le=1,
    )
    drift_nm: float = setting(
        0.0, "Drift", "Way of the sample over the whole stack.", "nm", ge=0, le=1e5
    )
    depth_nm: float = setting(
        0.0,
        "Depth",
        "Standard deviation of the distance from the focus: molecules out of focus look wider.",
        "nm",
        ge=0,
        le=2000,
    )
    seed: int = setting(0, "Seed", "Same seed, same stack.", ge=0, le=2**63 - 1)


class Instrument(Section):
    """What a simulation knows of the microscope beyond its optics and camera in a `Recipe`."""

    psf: PsfName = setting(
        "gaussian",
        "PSF",
        "Gaussian spots, or diffraction patterns with their rings ('airy').",
        flag="--psf",
    )
    numerical_aperture: float = setting(
        1.4, "Numerical aperture", "Of the objective (oil). Airy PSF only.", ge=0.1, le=1.5
    )
    wavelength_nm: float = setting(
        600.0, "Wavelength", "Of the emitted light. Airy PSF only.", "nm", ge=200, le=2000
    )
    gain_spread: float = setting(
        0.0,
        "Spread of the gain",
        "Standard deviation of the gain from pixel to pixel, over its mean (sCMOS).",
        ge=0,
        le=0.5,
    )
    offset_spread_adu: float = setting(
        0.0,
        "Spread of the offset",
        "Standard deviation of the offset from pixel to pixel (sCMOS).",
        "ADU",
        ge=0,
        le=1000,
    )
    hot_pixels: float = setting(
        0.0,
        "Hot pixels",
        "Share of pixels with read noise far above that of the others (sCMOS).",
        ge=0,
        le=0.5,
    )
