"""The camera: what is stated is kept, what is not is taken from the stack or asked for."""

import numpy as np
import pytest

from napari_unfold.errors import InputError
from napari_unfold.estimation.resolve_camera import resolve_camera
from napari_unfold.files.stacks import as_stack
from napari_unfold.imaging.camera import CameraModel
from napari_unfold.jobs import Note
from napari_unfold.settings.microscope import Camera
from napari_unfold.simulation.scenes import simulate
from napari_unfold.simulation.simulated_microscope import EMCCD, MICROSCOPE

ALL_STATED = Camera(offset_adu=100, adu_per_photon=2, excess_noise=2, read_noise_photons=0)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return simulate("random", frames=40, density_per_um2=2, seed=3).stack


def resolved(frames: np.ndarray, camera: Camera) -> tuple[CameraModel, list[str]]:
    """Return the camera, and the notes as they came."""
    job = resolve_camera(as_stack(frames), camera, (0, len(frames)), frames.astype(np.float32))
    said = []
    while True:
        try:
            event = next(job)
        except StopIteration as end:
            camera, notes = end.value
            assert notes == said
            return camera, notes
        if isinstance(event, Note):
            said.append(event.text)


@pytest.mark.parametrize("stated", [ALL_STATED, MICROSCOPE.camera])
def test_a_camera_that_is_stated_is_taken_as_it_is(frames, stated) -> None:
    assert resolved(frames, stated) == (EMCCD, [])


@pytest.mark.parametrize(("kind", "excess"), [("emccd", 2), ("scmos", 1), ("ccd", 1)])
def test_the_type_tells_the_excess_noise_unless_it_is_stated(frames, kind, excess) -> None:
    numbers = {"type": kind, "offset_adu": 100, "adu_per_photon": 2, "read_noise_photons": 0}
    assert resolved(frames, Camera(**numbers))[0].excess_noise == excess
    assert resolved(frames, Camera(**numbers, excess_noise=1.4))[0].excess_noise == 1.4


def test_offset_and_gain_come_from_the_stack_with_their_errors(frames) -> None:
    camera, (note,) = resolved(frames, Camera(type="emccd"))
    assert camera.offset_adu == pytest.approx(100, abs=6)
    assert camera.adu_per_photon == pytest.approx(2, rel=0.1)
    assert "offset" in note
    assert "ADU/photon" in note
    assert note.count("±") == 2
    # the same noise without an EM register means twice the gain
    ccd, _ = resolved(frames, Camera(type="ccd"))
    assert ccd.adu_per_photon == pytest.approx(2 * camera.adu_per_photon, rel=0.02)


def test_only_what_is_missing_is_estimated(frames) -> None:
    camera, (note,) = resolved(frames, Camera(type="emccd", offset_adu=98))
    assert camera.offset_adu == 98
    assert "offset" not in note


def test_read_noise_that_is_not_stated_is_what_dark_pixels_show() -> None:
    dark = np.random.default_rng(0).normal(400, 3, (20, 32, 32)).astype(np.float32)
    camera, notes = resolved(dark, Camera(type="scmos", offset_adu=400, adu_per_photon=2))
    assert camera.read_noise_photons == pytest.approx(1.5, rel=0.05)
    assert notes == ["Dark pixels scatter by 1.5 photons: taken as read noise"]


@pytest.mark.parametrize(
    ("camera", "field", "message"),
    [
        (Camera(), "camera.type", "type of the camera is missing"),
        (Camera(offset_adu=100, adu_per_photon=2), "camera.type", "type of the camera"),
        (Camera(type="other"), "camera.excess_noise", "excess noise of the camera"),
    ],
)
def test_what_no_stack_can_tell_is_asked_for(frames, camera, field, message) -> None:
    with pytest.raises(InputError, match=message) as error:
        resolved(frames, camera)
    assert error.value.field == field
    assert error.value.remedy


@pytest.mark.parametrize(
    ("shape", "reason"),
    [((1, 32, 32), "one frame"), ((20, 8, 8), "too small"), ((9, 32, 32), "cannot tell it")],
)
def test_a_stack_that_cannot_tell_says_what_to_enter(shape, reason) -> None:
    flat = np.random.default_rng(0).poisson(50, shape).astype(np.uint16)
    with pytest.raises(InputError, match=reason) as error:
        resolved(flat, Camera(type="scmos"))
    assert error.value.field == "camera.offset_adu"
    with pytest.raises(InputError, match="gain of the camera is missing") as error:
        resolved(flat, Camera(type="scmos", offset_adu=0))
    assert error.value.field == "camera.adu_per_photon"
