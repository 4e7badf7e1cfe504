"""Between grey values (ADU) and photons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.imaging.neighbours import filled
from napari_unfold.settings.microscope import Camera

PixelValues = float | NDArray[np.float32]
"""One number for all pixels, or a map with one for each, of the shape of a frame ``(Y, X)``."""

NOTHING_TOLD_PHOTONS2 = 1e5
"""Read variance of a pixel that tells nothing: beside it the noise of any other is negligible."""


@dataclass(frozen=True)
class CameraModel:
    """A camera of which everything is known, as all computations take it.

    Attributes
    ----------
    offset_adu : float or array (Y, X)
        Grey value of a dark pixel.
    adu_per_photon : float or array (Y, X)
        Gain.
    excess_noise : float
        Variance of the photon noise relative to its mean.
    read_noise_photons : float or array (Y, X)
        Standard deviation of a dark pixel, in photons.
    unusable : array (Y, X), bool, optional
        Pixels that tell nothing: in frames in photons their neighbours stand for them.
    """

    offset_adu: PixelValues
    adu_per_photon: PixelValues
    excess_noise: float
    read_noise_photons: PixelValues
    unusable: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, camera: Camera) -> CameraModel:
        """Return the model of a camera whose settings are complete.

        Raises
        ------
        InputError
            Naming the first setting that is missing.
        """
        if camera.known_excess_noise is None:
            raise unknown_type(camera)
        numbers = camera.model_dump(include=set(_NUMBERS))
        numbers["excess_noise"] = camera.known_excess_noise
        for name, value in numbers.items():
            if value is None:
                title = str(Camera.model_fields[name].title).lower()
                raise InputError(
                    f"the {title} of the camera is missing", "Enter it", field=f"camera.{name}"
                )
        return cls(**numbers)

    @property
    def typical(self) -> CameraModel:
        """The camera if all its pixels were like the median one."""
        offset, gain, noise = (
            value if isinstance(value, int | float) else float(np.median(value))
            for value in (self.offset_adu, self.adu_per_photon, self.read_noise_photons)
        )
        return CameraModel(offset, gain, self.excess_noise, noise)

    @property
    def read_variance(self) -> PixelValues:
        """Variance of a dark pixel in photons squared, huge where a pixel tells nothing."""
        variance = self.read_noise_photons**2
        if self.unusable is None:
            return variance
        return np.where(self.unusable, NOTHING_TOLD_PHOTONS2, variance).astype(np.float32)

    def at(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> CameraModel:
        """Return the camera whose pixels are some of these, in a row."""
        offset, gain, noise = (
            value if isinstance(value, int | float) else value[rows, columns]
            for value in (self.offset_adu, self.adu_per_photon, self.read_noise_photons)
        )
        return CameraModel(offset, gain, self.excess_noise, noise)

    def part(self, region: tuple[slice, slice]) -> CameraModel:
        """Return the camera of some rows and columns."""
        parts: dict[str, Any] = {
            name: value[region] if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
        }
        return CameraModel(**parts)

    def settings(self, camera: Camera) -> Camera:
        """Return `camera` with all its numbers as they are here, for the record.

        Of maps the medians are recorded.
        """
        typical = vars(self.typical)
        return camera.model_copy(update={name: typical[name] for name in _NUMBERS})


_NUMBERS = ("offset_adu", "adu_per_photon", "excess_noise", "read_noise_photons")


def unknown_type(camera: Camera) -> InputError:
    """Return the error that asks for what tells the excess noise."""
    if camera.type == "other":
        return InputError(
            "the excess noise of the camera is missing",
            "Enter it: 1 without EM gain, about 2 with it",
            field="camera.excess_noise",
        )
    return InputError(
        "the type of the camera is missing, which tells how noisy its light is",
        "Choose EMCCD (EM gain on), sCMOS, CCD, or other",
        field="camera.type",
    )


def to_photons(frames_adu: NDArray[np.generic], camera: CameraModel) -> NDArray[np.float32]:
    """Remove offset and gain, and let neighbours stand for pixels that tell nothing.

    Parameters
    ----------
    frames_adu : array (..., Y, X)
        Grey values.
    camera : CameraModel

    Returns
    -------
    array (..., Y, X)
        Photons, ``(ADU - offset) / gain``; dark pixels scatter around zero.
    """
    frames = np.asarray(frames_adu, dtype=np.float32)
    offset, gain = (np.asarray(v, np.float32) for v in (camera.offset_adu, camera.adu_per_photon))
    photons: NDArray[np.float32] = (frames - offset) / gain
    return photons if camera.unusable is None else filled(photons, camera.unusable)


def noise_variance(mean_photons: NDArray[np.floating], camera: CameraModel) -> NDArray[np.float64]:
    """Variance of a pixel, in photons squared, whose expected signal is `mean_photons`.

    Photon noise multiplied by the excess noise of the EM register, plus read noise.
    """
    mean = np.maximum(np.asarray(mean_photons, dtype=np.float64), 0.0)
    variance: NDArray[np.float64] = camera.excess_noise * mean + camera.read_noise_photons**2
    return variance


def noise_skewness(mean_photons: NDArray[np.floating], camera: CameraModel) -> NDArray[np.float64]:
    """Skewness of a pixel whose expected signal is `mean_photons`.

    Third cumulant over the variance to the power 3/2; with ``F`` the excess noise, the third
    cumulant of Poisson electrons with Gamma distributed gain is ``F (2 F - 1) x mean``.
    """
    mean = np.maximum(np.asarray(mean_photons, dtype=np.float64), 0.0)
    excess = camera.excess_noise
    third = excess * (2.0 * excess - 1.0) * mean
    variance = np.maximum(noise_variance(mean, camera), 1e-12)
    return np.asarray(third / variance**1.5)
