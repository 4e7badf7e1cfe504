"""Taking a picture: the grey values a camera returns for an expected number of photons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_unfold.imaging.camera import CameraModel
from napari_unfold.simulation.sensor import Sensor


def expose(
    mean_photons: NDArray[np.floating], camera: CameraModel | Sensor, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Take a picture: the grey values a camera returns for an expected number of photons.

    Without excess noise the photo-electrons are Poisson distributed. An EM register with excess
    noise factor ``F`` is modelled by a Gamma distributed gain on each photo-electron, of variance
    ``F - 1`` (for ``F = 2`` the exponential of a real EMCCD).
    """
    electrons = rng.poisson(np.maximum(mean_photons, 0.0)).astype(np.float64)
    excess = camera.excess_noise - 1.0
    if excess > 0:
        electrons = rng.gamma(np.maximum(electrons, 1e-12) / excess, excess)
    electrons += rng.normal(0.0, camera.read_noise_photons, electrons.shape)
    adu = np.rint(camera.offset_adu + camera.adu_per_photon * electrons)
    return np.asarray(np.clip(adu, 0, np.iinfo(np.uint16).max), dtype=np.uint16)
