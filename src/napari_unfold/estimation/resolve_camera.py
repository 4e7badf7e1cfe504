"""The camera, where the settings leave it open: what the stack tells, or a question to the user."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from napari_unfold.errors import InputError
from napari_unfold.estimation.apply_maps import with_maps, with_medians
from napari_unfold.estimation.check_camera import check_range, checked_camera
from napari_unfold.estimation.estimate import Estimate, estimate
from napari_unfold.estimation.hot_pixels import find_hot_pixels
from napari_unfold.files.camera_maps import read_camera_maps
from napari_unfold.files.stacks import Stack
from napari_unfold.imaging.camera import CameraModel, to_photons, unknown_type
from napari_unfold.jobs import Event, Note
from napari_unfold.settings.microscope import Camera

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_unfold.estimation.photon_transfer import PhotonTransfer


def resolve_camera(
    stack: Stack, camera: Camera, span: tuple[int, int], sample_adu: NDArray[np.float32]
) -> Generator[Event, None, tuple[CameraModel, list[str]]]:
    """Return the camera in full: as stated, and what is not stated as the stack tells.

    Excess noise follows from the type, offset and gain from how the noise grows with the light,
    read noise from the scatter of dark pixels, and that of noisy ones from their neighbours.

    Parameters
    ----------
    stack : Stack
    camera : Camera
    span : tuple of int
        First frame to look at, and the one after the last.
    sample_adu : array (T, Y, X)
        Some of these frames, against which the camera is checked.

    Returns
    -------
    camera : CameraModel
    notes : list of str
        What was taken from the stack, as told in the events too.

    Raises
    ------
    InputError
        If the type is not stated, the stack cannot tell what is missing, or it contradicts what
        is stated.
    """
    notes: list[str] = []
    maps = read_camera_maps(camera)
    model = yield from _with_offset_and_gain(stack, with_medians(camera, maps), span, notes)
    check_range(to_photons(sample_adu, model), model)
    model, of_maps = with_maps(model, maps, sample_adu)
    photons = to_photons(sample_adu, model)
    noisy = find_hot_pixels(photons, model)
    model, note = checked_camera(photons, noisy.added_to(model), camera)
    for said in filter(None, (of_maps, noisy.sentence(), note)):
        notes.append(said)
        yield Note(said)
    return model, notes


def _with_offset_and_gain(
    stack: Stack, camera: Camera, span: tuple[int, int], notes: list[str]
) -> Generator[Event, None, CameraModel]:
    excess_noise = camera.known_excess_noise
    if excess_noise is None:
        raise unknown_type(camera)
    read_noise = camera.read_noise_photons or 0.0
    offset, gain = camera.offset_adu, camera.adu_per_photon
    if offset is None or gain is None:
        transfer = yield from _photon_transfer(stack, camera, span)
        said = []
        if offset is None:
            measured = transfer.offset_adu(camera)
            offset = measured.value
            said.append(f"offset {measured} ADU")
        if gain is None:
            measured = transfer.slope * (1.0 / excess_noise)
            gain = measured.value
            said.append(f"gain {measured} ADU/photon")
        notes.append(f"Camera estimated from the stack: {', '.join(said)}")
        yield Note(notes[-1])
    return CameraModel(offset, gain, excess_noise, read_noise)


def _photon_transfer(
    stack: Stack, camera: Camera, span: tuple[int, int]
) -> Generator[Event, None, PhotonTransfer]:
    """Return what the stack tells of offset and gain, or ask for them."""
    missing = "offset_adu" if camera.offset_adu is None else "adu_per_photon"
    found: Estimate | None = None
    reason = ""
    try:
        found = yield from estimate(stack, camera, slice(*span))
    except InputError as error:
        reason = error.problem
    if found is not None and found.transfer is not None:
        return found.transfer
    title = Camera.model_fields[missing].title
    raise InputError(
        f"the {str(title).lower()} of the camera is missing, and this stack cannot tell it"
        + (f": {reason}" if reason else ""),
        "Enter it: the offset is the grey value of a dark frame, the gain (ADU per photon) stands "
        "in the camera's data sheet",
        field=f"camera.{missing}",
    )
