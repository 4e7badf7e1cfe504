"""Recordings in which something went wrong, made of good ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from napari_unfold.imaging.camera import CameraModel

CLIPPED_PERCENT = 0.5
"""Share of the pixels that a saturated recording clips."""

HOT_ADU = 2000.0

Frames = NDArray[np.float32]


def dark_frame(frames: Frames, _: CameraModel, rng: np.random.Generator) -> None:
    """One frame in the middle is all zero."""
    del rng
    frames[len(frames) // 2] = 0.0


def lamp_half(frames: Frames, camera: CameraModel, rng: np.random.Generator) -> None:
    """From the middle on, half the light arrives.

    Halved grey values have a quarter of the noise's variance. Another quarter is added to that of
    the photons, and three to that of the camera.
    """
    late = frames[len(frames) // 2 :]
    light = late - camera.offset_adu
    variance = camera.excess_noise * camera.adu_per_photon * np.maximum(light, 0.0) / 4.0
    variance += 0.75 * (camera.adu_per_photon * camera.read_noise_photons) ** 2
    late[:] = np.rint(camera.offset_adu + light / 2.0 + rng.normal(0.0, np.sqrt(variance)))


def dead_rows(frames: Frames, _: CameraModel, rng: np.random.Generator) -> None:
    """Two neighbouring rows are zero in all frames."""
    del rng
    row = frames.shape[1] // 3
    frames[:, row : row + 2] = 0.0


def hot_pixel(frames: Frames, _: CameraModel, rng: np.random.Generator) -> None:
    """One pixel is far too bright in all frames, and noisy."""
    y, x = frames.shape[1] // 2, 2 * frames.shape[2] // 3
    frames[:, y, x] += rng.poisson(HOT_ADU, len(frames))


def saturated(frames: Frames, _: CameraModel, rng: np.random.Generator) -> None:
    """Grey values end where the brightest pixels are."""
    del rng
    np.minimum(frames, np.percentile(frames, 100.0 - CLIPPED_PERCENT), out=frames)


def nan(frames: Frames, _: CameraModel, rng: np.random.Generator) -> None:
    """One pixel of one frame is not a number."""
    del rng
    frames[len(frames) // 2, frames.shape[1] // 2, frames.shape[2] // 2] = np.nan


SPOILT: Mapping[str, Callable[[Frames, CameraModel, np.random.Generator], None]] = {
    "dark-frame": dark_frame,
    "lamp-half": lamp_half,
    "dead-rows": dead_rows,
    "hot-pixel": hot_pixel,
    "saturated": saturated,
    "nan": nan,
}
"""Each changes frames ``(T, Y, X)`` in grey values in place."""
