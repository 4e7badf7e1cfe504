"""Maps of a camera are laid on the frames the right way round, and used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_unfold.errors import InputError
from napari_unfold.estimation.apply_maps import with_maps
from napari_unfold.files.camera_maps import CameraMaps
from napari_unfold.imaging.camera import CameraModel, noise_variance, to_photons
from napari_unfold.simulation.exposure import expose

NUMBERS = CameraModel(100.0, 2.0, 1.0, 1.0)
TURNED = "right way round"


def calibration(shape: tuple[int, int], hot: float = 0.03, seed: int = 0) -> CameraMaps:
    rng = np.random.default_rng(seed)
    variance = rng.gamma(20, 0.2, shape)
    variance[rng.random(shape) < hot] *= 200
    offset, gain = rng.normal(100, 3, shape), rng.normal(2, 0.06, shape)
    return CameraMaps(*(values.astype(np.float32) for values in (offset, variance, gain)))


def taken_with(maps: CameraMaps, light: float = 20, n: int = 30) -> np.ndarray:
    model = CameraModel(maps.offset, maps.gain, 1.0, np.sqrt(maps.variance) / maps.gain)
    mean = np.full((n, *maps.offset.shape), light)
    return expose(mean, model, np.random.default_rng(1)).astype(np.float32)


def test_photons_and_their_noise_are_those_of_each_pixel() -> None:
    maps = calibration((24, 31), hot=0)
    grey = taken_with(maps, light=500, n=400)
    camera, note = with_maps(NUMBERS, maps, grey)
    assert note == ""
    photons = to_photons(grey, camera)
    variance = noise_variance(np.full(photons.shape[1:], 500.0), camera)
    chi = (photons.mean(axis=0) - 500) / np.sqrt(variance / 400)
    assert abs(chi.mean()) < 0.2
    assert chi.std() == pytest.approx(1, abs=0.1)
    # which the medians do not give
    flat = to_photons(grey, NUMBERS).mean(axis=0) - 500
    assert flat.std() > 5 * (photons.mean(axis=0) - 500).std()


def test_pixels_too_noisy_to_tell_anything_are_marked() -> None:
    maps = calibration((40, 40))
    camera, _ = with_maps(NUMBERS, maps, taken_with(maps))
    # ten times the noise of 20 photons and of the read noise of 1 photon squared
    variance = maps.variance / maps.gain**2
    assert camera.unusable[variance > 220].all()
    assert not camera.unusable[variance < 200].any()
    assert 0 < camera.unusable.sum() < 100


def test_maps_whose_size_fits_only_when_transposed() -> None:
    maps = calibration((24, 31))
    grey = taken_with(maps)
    camera, note = with_maps(NUMBERS, maps.transposed, grey)
    assert TURNED in note
    np.testing.assert_array_equal(camera.offset_adu, maps.offset)


@pytest.mark.parametrize("seed", range(3))
def test_square_maps_are_turned_where_the_frames_say_so_and_only_there(seed) -> None:
    maps = calibration((48, 48), seed=seed)
    grey = taken_with(maps)
    for given, turned in ((maps, False), (maps.transposed, True)):
        camera, note = with_maps(NUMBERS, given, grey)
        assert (TURNED in note) == turned
        np.testing.assert_array_equal(camera.offset_adu, maps.offset)


def test_maps_that_tell_nothing_stay_as_they_are() -> None:
    flat = CameraMaps(variance=np.full((32, 32), 4, np.float32))
    grey = taken_with(calibration((32, 32)))
    assert with_maps(NUMBERS, flat, grey)[1] == ""
    other = calibration((32, 32), seed=9)  # of another camera
    assert with_maps(NUMBERS, other, grey)[1] == ""
    assert with_maps(NUMBERS, CameraMaps(), grey) == (NUMBERS, "")


def test_maps_of_another_size_are_refused() -> None:
    grey = taken_with(calibration((24, 31)))
    with pytest.raises(InputError, match="gain map of the camera is 5 x 5 pixels") as error:
        with_maps(NUMBERS, CameraMaps(gain=np.ones((5, 5), np.float32)), grey)
    assert error.value.field == "camera.gain_map"
    assert "cropped" in error.value.remedy


def test_maps_of_a_camera_simulated_by_others_are_recognised() -> None:
    folder = Path(__file__).parents[3] / "shared" / "data" / "acquisitions"
    if not folder.exists():
        pytest.skip("needs the shared data")
    names = ("offset", "variance", "gain")
    maps = CameraMaps(*(tifffile.imread(folder / f"scmos_{n}.tif") for n in names))
    grey = tifffile.imread(folder / "scmos.tif").astype(np.float32)
    for n_frames in (20, 150):
        assert with_maps(NUMBERS, maps, grey[:n_frames])[1] == ""
        assert TURNED in with_maps(NUMBERS, maps.transposed, grey[:n_frames])[1]
