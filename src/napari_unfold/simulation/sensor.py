"""The sensor of an sCMOS camera, whose pixels differ in offset, gain and read noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_unfold.imaging.camera import CameraModel
from napari_unfold.settings.simulation import Instrument

HOT_READ_NOISE = (5.0, 50.0)
"""Read noise of hot pixels over that of the others: anything between, on a logarithmic scale."""

READ_NOISE_SPREAD = 0.1
"""Standard deviation of the read noise of ordinary pixels over its median."""

SMALLEST_READ_NOISE_PHOTONS = 1.0
"""Hot pixels are as much noisier than a pixel of at least this read noise."""


@dataclass(frozen=True)
class Sensor:
    """Maps of a camera, each of the shape of a frame, ``(Y, X)``.

    Attributes
    ----------
    offset_adu : array
        Grey value of a dark pixel.
    adu_per_photon : array
        Gain.
    read_noise_photons : array
        Standard deviation of a dark pixel, in photons.
    excess_noise : float
        Variance of the photon noise relative to its mean.
    """

    offset_adu: NDArray[np.float64]
    adu_per_photon: NDArray[np.float64]
    read_noise_photons: NDArray[np.float64]
    excess_noise: float = 1.0

    @property
    def variance_adu2(self) -> NDArray[np.float64]:
        """Variance of dark pixels, in grey values squared, as calibrations of cameras state it."""
        return (self.read_noise_photons * self.adu_per_photon) ** 2


def sensor(
    camera: CameraModel,
    instrument: Instrument,
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> Sensor | None:
    """Draw a sensor whose pixels scatter around the numbers of a camera; None if all are alike.

    Parameters
    ----------
    camera : CameraModel
    instrument : Instrument
        How much pixels differ, and how many are hot.
    shape : tuple of int
        Camera pixels ``(Y, X)``.
    rng : numpy.random.Generator
    """
    if not (instrument.gain_spread or instrument.offset_spread_adu or instrument.hot_pixels):
        return None
    offset = camera.offset_adu + rng.normal(0.0, instrument.offset_spread_adu, shape)
    gain = camera.adu_per_photon * np.exp(rng.normal(0.0, instrument.gain_spread, shape))
    noise = camera.read_noise_photons * np.exp(rng.normal(0.0, READ_NOISE_SPREAD, shape))
    hot = rng.random(shape) < instrument.hot_pixels
    least, most = HOT_READ_NOISE
    times = least * (most / least) ** rng.random(shape)
    noise[hot] = (np.maximum(noise, SMALLEST_READ_NOISE_PHOTONS) * times)[hot]
    return Sensor(np.asarray(offset), np.asarray(gain), np.asarray(noise), camera.excess_noise)
