"""Between grey values (ADU) and photons."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.settings.microscope import Camera


@dataclass(frozen=True)
class CameraModel:
    """A camera of which everything is known, as all computations take it.

    Attributes
    ----------
    offset_adu : float
        Grey value of a dark pixel.
    adu_per_photon : float
        Gain.
    excess_noise : float
        Variance of the photon noise relative to its mean.
    read_noise_photons : float
        Standard deviation of a dark pixel, in photons.
    """

    offset_adu: float
    adu_per_photon: float
    excess_noise: float
    read_noise_photons: float

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
        numbers = camera.model_dump(exclude={"type"})
        numbers["excess_noise"] = camera.known_excess_noise
        for name, value in numbers.items():
            if value is None:
                title = str(Camera.model_fields[name].title).lower()
                raise InputError(
                    f"the {title} of the camera is missing", "Enter it", field=f"camera.{name}"
                )
        return cls(**numbers)

    def settings(self, camera: Camera) -> Camera:
        """Return `camera` with all its numbers as they are here, for the record."""
        return camera.model_copy(update=asdict(self))


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
    """Remove offset and gain.

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
    photons: NDArray[np.float32] = (frames - np.float32(camera.offset_adu)) / np.float32(
        camera.adu_per_photon
    )
    return photons


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
