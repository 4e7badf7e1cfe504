"""A camera with its maps, laid on the frames the right way round.

Programs disagree on whether the first axis of a map is y or x. Where the size does not tell, the
stack does: pixels that are noisy in the map are noisy in the frames.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.estimation.hot_pixels import MUTE, residual_noise
from napari_unfold.files.camera_maps import SETTINGS, CameraMaps
from napari_unfold.imaging.camera import CameraModel, noise_variance, to_photons
from napari_unfold.settings.microscope import Camera

CERTAIN = 5.0
"""Maps are turned if that makes them fit better by so many standard errors of a correlation."""


def with_medians(camera: Camera, maps: CameraMaps) -> Camera:
    """Return the settings of a camera with the medians of its maps as its numbers."""
    medians = {name: float(np.median(values)) for name, values in maps.given.items()}
    update: dict[str, float] = {}
    if "offset" in medians:
        update["offset_adu"] = medians["offset"]
    if "gain" in medians:
        update["adu_per_photon"] = medians["gain"]
    return camera.model_copy(update=update)


def with_maps(
    camera: CameraModel, maps: CameraMaps, sample_adu: NDArray[np.float32]
) -> tuple[CameraModel, str]:
    """Return a camera with its maps in the place of its numbers.

    Parameters
    ----------
    camera : CameraModel
        With one number each, those of maps included (their medians).
    maps : CameraMaps
    sample_adu : array (T, Y, X)
        Frames to which they belong.

    Returns
    -------
    camera : CameraModel
        Pixels that are too noisy to tell anything are marked.
    note : str
        What the user should be told, or nothing.

    Raises
    ------
    InputError
        If the maps are not of the size of the frames.
    """
    if not maps.given:
        return camera, ""
    maps, note = _oriented(maps, sample_adu, camera)
    offset = camera.offset_adu if maps.offset is None else maps.offset
    gain = camera.adu_per_photon if maps.gain is None else maps.gain
    read_noise = camera.read_noise_photons
    if maps.variance is not None:
        read_noise = np.asarray(np.sqrt(maps.variance) / gain, dtype=np.float32)
    known = replace(camera, offset_adu=offset, adu_per_photon=gain, read_noise_photons=read_noise)
    light = np.median(to_photons(sample_adu, known))
    usual = float(noise_variance(np.asarray(light), known.typical))
    mute = np.broadcast_to(known.read_variance > MUTE * usual, sample_adu.shape[1:])
    return (replace(known, unusable=mute) if mute.any() else known), note


def _oriented(
    maps: CameraMaps, sample_adu: NDArray[np.float32], camera: CameraModel
) -> tuple[CameraMaps, str]:
    """Return the maps the right way round, and what to say if they were not."""
    shape = sample_adu.shape[1:]
    sizes = {values.shape for values in maps.given.values()}
    if sizes == {shape}:
        if shape[0] != shape[1] or not _fits_transposed(maps, sample_adu, camera):
            return maps, ""
    elif sizes != {shape[::-1]}:
        name, size = next((n, v.shape) for n, v in maps.given.items() if v.shape != shape)
        raise InputError(
            f"the {name} map of the camera is {size[0]} x {size[1]} pixels, the frames are "
            f"{shape[0]} x {shape[1]}",
            "Choose maps of this camera, cropped to the region that was recorded",
            field=f"camera.{SETTINGS[name]}",
        )
    return (
        maps.transposed,
        "The maps of the camera are stored with x before y: taken the right way round",
    )


def _fits_transposed(
    maps: CameraMaps, sample_adu: NDArray[np.float32], camera: CameraModel
) -> bool:
    """Whether the noise of the frames is that of the transposed maps, and not of the maps."""
    if maps.variance is None:
        return False
    typical = camera.typical
    photons = to_photons(sample_adu, typical)
    shot = typical.adu_per_photon**2 * noise_variance(np.asarray(np.median(photons)), typical)
    seen = np.log(np.maximum(residual_noise(photons, typical), 1e-6)).ravel()
    stated = np.log(maps.variance + shot)
    if np.ptp(stated) == 0:
        return False
    as_is, turned = (np.corrcoef(seen, m.ravel())[0, 1] for m in (stated, stated.T))
    return bool(turned - max(as_is, 0.0) > CERTAIN / np.sqrt(seen.size))
