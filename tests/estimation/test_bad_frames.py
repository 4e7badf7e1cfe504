"""Frames with something other than the sample in them are found; unusual molecules are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_unfold.errors import InputError
from napari_unfold.estimation.bad_frames import FrameCheck, check_frames
from napari_unfold.files.stacks import as_stack
from napari_unfold.jobs import run_to_end
from napari_unfold.simulation.exposure import expose
from napari_unfold.simulation.scenes import simulate
from napari_unfold.simulation.simulated_microscope import EMCCD

OFFSET = EMCCD.offset_adu
rng = np.random.default_rng(2)


def recording(frames: int = 40, density_per_um2: float = 2.0) -> np.ndarray:
    made = simulate(
        "random", frames=frames, shape=(40, 44), density_per_um2=density_per_um2, seed=4
    )
    return np.array(made.stack, dtype=np.float32)


def lit(photons: float) -> np.ndarray:
    """Return a frame without molecules."""
    return expose(np.full((1, 40, 44), photons), EMCCD, rng)[0]


def check(frames: np.ndarray, offset: float | None = OFFSET) -> FrameCheck:
    return run_to_end(check_frames(as_stack(frames), (0, len(frames)), offset))


@pytest.mark.parametrize("offset", [OFFSET, None])
@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (np.zeros((40, 44)), "dark"),
        (lit(0.0), "dark"),
        (np.full((40, 44), 65535.0), "saturated"),
        (lit(2000.0), "flash"),
        (np.full((40, 44), np.nan), "not finite"),
        (np.full((40, 44), np.inf), "not finite"),
    ],
)
def test_bad_frames_are_found_with_their_reason(frame, reason, offset) -> None:
    frames = recording()
    frames[17] = frame
    if reason == "saturated":  # constant at the end of the range of the camera
        frames[17, 0] -= 1.0
        frames[18] = frames[17]
        frames[18, 0] -= 1.0
    found = check(frames, offset).left_out
    assert found.pop(17) == reason
    assert found.keys() <= {18}


@pytest.mark.parametrize("density", [1.0, 4.0])
def test_a_frame_out_of_focus_is_found(density: float) -> None:
    """Spots twice as wide, with the noise of their light; a tenth wider is no matter."""
    frames = recording(density_per_um2=density)
    width = 1.1
    for t, factor in ((9, 2.0), (23, 1.1)):
        light = (frames[t] - OFFSET) / EMCCD.adu_per_photon
        blurred = ndimage.gaussian_filter(light, width * np.sqrt(factor**2 - 1))
        frames[t] = expose(np.maximum(blurred, 0.0)[None], EMCCD, rng)[0]
    assert check(frames).left_out == {9: "out of focus"}


@pytest.mark.parametrize("offset", [OFFSET, None])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_lamp_that_changes_is_no_bad_frame(factor: float, offset: float | None) -> None:
    frames = recording()
    frames[9] = lit(20.0 * factor)
    frames[25:] = OFFSET + factor * (frames[25:] - OFFSET)
    assert check(frames, offset).left_out == {}


@pytest.mark.parametrize("offset", [OFFSET, None])
def test_frames_without_molecules_are_no_bad_frames(offset: float | None) -> None:
    frames = recording(density_per_um2=4.0)
    frames[12] = lit(20.0)
    assert check(frames, offset).left_out == {}


def test_bleaching_is_no_bad_frame() -> None:
    dense, sparse = recording(30, 6.0), recording(120, 0.2)
    assert check(np.concatenate([dense, sparse])).left_out == {}


def test_clipped_bright_molecules_drop_no_frame_but_their_pixels() -> None:
    frames = recording()
    ceiling = float(np.percentile(frames, 99))
    clipped = np.minimum(frames, ceiling)
    found = check(clipped)
    assert found.left_out == {}
    assert found.ceiling_adu == ceiling
    mask = found.unusable(clipped, 0)
    np.testing.assert_array_equal(mask, frames >= ceiling)
    assert "clipped" in " ".join(found.notes)
    assert check(frames).unusable(frames, 0) is None


def test_a_lost_pixel_is_left_out_not_its_frame() -> None:
    frames = recording()
    frames[3, 5, 6] = np.nan
    frames[7] = 0.0
    found = check(frames)
    assert found.left_out == {7: "dark"}
    usable = found.usable(as_stack(frames))
    filled = usable.read(0, len(usable))
    assert np.isfinite(filled).all()
    mask = found.unusable(filled, 0)
    assert np.argwhere(mask).tolist() == [[3, 5, 6]]
    assert found.unusable(filled[4:], 4) is None


def test_the_others_are_as_if_bad_frames_were_not_there() -> None:
    frames = recording()
    spoilt = np.insert(frames, [0, 10, 10, 40], 0.0, axis=0)
    found = check(spoilt)
    usable = found.usable(as_stack(spoilt))
    assert usable.shape == frames.shape
    for start, stop in ((0, 40), (8, 13), (39, 40)):
        np.testing.assert_array_equal(usable.read(start, stop), frames[start:stop])
    np.testing.assert_array_equal(spoilt[found.kept], frames)
    # frames on both sides of a bad one do not follow each other, nor does the first
    assert np.flatnonzero(~found.follows).tolist() == [0, 10]


def test_what_is_told() -> None:
    left_out = {12: "dark", 40: "saturated", 41: "saturated"}
    assert FrameCheck((0, 60), left_out).notes == [
        "3 frames left out: 12 (dark), 40-41 (saturated) (from 0)"
    ]
    assert FrameCheck((0, 60)).notes == []


def test_a_stack_of_bad_frames_is_refused() -> None:
    with pytest.raises(InputError, match="none of the frames"):
        check(np.full((8, 40, 44), np.nan, dtype=np.float32))


def test_a_few_frames_are_not_compared() -> None:
    frames = recording(3)
    assert check(frames).left_out == {}
