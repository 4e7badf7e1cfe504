"""How long molecules stay on, by how much neighbouring frames resemble each other."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from napari_unfold.estimation.background import frames_are_independent
from napari_unfold.imaging.camera import CameraModel

SHORTEST_FRAMES, LONGEST_FRAMES = 0.5, 50.0
"""Faster switching is hardly seen in whole frames, slower switching hardly in a stack."""


def mean_on_frames(
    photons: NDArray[np.floating], background: NDArray[np.floating], camera: CameraModel
) -> float | None:
    """Estimate the mean on-time of molecules that are dark most of the time.

    Where they switch off at the rate r, the covariance of the light of a pixel with that n frames
    later falls as ``exp(-r n)``, whatever the light is and however frames average it. Noise of the
    camera has no part in it.

    Parameters
    ----------
    photons : array (T, Y, X)
        Neighbouring frames in photons.
    background : array (Y, X) or (T, Y, X)
        Photons per camera pixel, of all frames or of each.
    camera : CameraModel

    Returns
    -------
    float or None
        In frames, 0.5 to 50; None if every frame shows other molecules.
    """
    if len(photons) < 3 or frames_are_independent(photons, background, camera):
        return None
    changes = photons - background
    changes -= changes.mean(axis=0)
    one, two = (float((changes[n:] * changes[:-n]).mean()) for n in (1, 2))
    if two <= 0:
        return SHORTEST_FRAMES
    return min(max(1.0 / max(math.log(one / two), 1e-9), SHORTEST_FRAMES), LONGEST_FRAMES)
