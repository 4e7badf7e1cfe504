"""Calibrations of cameras, in the layouts in which they occur."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_unfold.errors import InputError
from napari_unfold.files.camera_maps import CameraMaps, read_camera_maps
from napari_unfold.settings.microscope import Camera

RNG = np.random.default_rng(0)
OFFSET = RNG.normal(100, 2, (6, 9)).astype(np.float32)
VARIANCE = RNG.gamma(4, 3, (6, 9)).astype(np.float32)
GAIN = RNG.normal(2, 0.05, (6, 9)).astype(np.float32)
EFFICIENCY = RNG.normal(1, 0.01, (6, 9)).astype(np.float32)


def written(path: Path, values: object) -> Path:
    if path.suffix == ".npy":
        np.save(path, values)  # type: ignore[arg-type]
    else:
        tifffile.imwrite(path, values, photometric="minisblack")
    return path


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_each_map_from_a_file_of_its_own(tmp_path, suffix) -> None:
    camera = Camera(
        offset_map=written(tmp_path / f"o{suffix}", OFFSET),
        gain_map=written(tmp_path / f"g{suffix}", GAIN),
        variance_map=written(tmp_path / f"v{suffix}", VARIANCE),
    )
    maps = read_camera_maps(camera)
    np.testing.assert_array_equal(maps.offset, OFFSET)
    np.testing.assert_array_equal(maps.gain, GAIN)
    np.testing.assert_array_equal(maps.variance, VARIANCE)


def test_maps_that_are_not_named_are_not_there() -> None:
    assert read_camera_maps(Camera(type="scmos")).given == {}


@pytest.mark.parametrize("setting", ["offset_map", "gain_map", "variance_map"])
@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_a_calibration_of_storm_analysis_brings_all_its_maps(tmp_path, setting, suffix) -> None:
    whole = np.stack([OFFSET, VARIANCE, GAIN, EFFICIENCY])
    maps = read_camera_maps(Camera(**{setting: written(tmp_path / f"c{suffix}", whole)}))
    np.testing.assert_array_equal(maps.offset, OFFSET)
    np.testing.assert_array_equal(maps.variance, VARIANCE)
    # photons are detected with the efficiency of the pixel
    np.testing.assert_allclose(maps.gain, GAIN * EFFICIENCY)


def test_a_file_of_its_own_goes_before_the_calibration(tmp_path) -> None:
    whole = written(tmp_path / "c.npy", np.stack([OFFSET, VARIANCE, GAIN]))
    own = written(tmp_path / "g.tif", GAIN + 1)
    maps = read_camera_maps(Camera(offset_map=whole, gain_map=own))
    np.testing.assert_array_equal(maps.gain, GAIN + 1)
    np.testing.assert_array_equal(maps.variance, VARIANCE)


def test_a_calibration_of_two_maps_has_no_gain(tmp_path) -> None:
    two = written(tmp_path / "c.npy", np.stack([OFFSET, VARIANCE]))
    assert set(read_camera_maps(Camera(offset_map=two)).given) == {"offset", "variance"}
    with pytest.raises(InputError, match="holds no gain map") as error:
        read_camera_maps(Camera(gain_map=two))
    assert error.value.field == "camera.gain_map"


def test_files_with_python_objects_are_not_opened(tmp_path) -> None:
    path = tmp_path / "c.npy"
    objects = np.empty(5, dtype=object)
    objects[:] = [OFFSET, VARIANCE, GAIN, EFFICIENCY, 2]
    np.save(path, objects, allow_pickle=True)
    with pytest.raises(InputError, match="holds Python objects") as error:
        read_camera_maps(Camera(offset_map=path))
    assert "numpy.save" in error.value.remedy


@pytest.mark.parametrize(
    ("setting", "values", "problem"),
    [
        ("gain_map", np.zeros((4, 4)), "16 pixels of zero or less"),
        ("gain_map", np.full((4, 4), -2.0), "zero or less"),
        ("variance_map", np.full((4, 4), -1.0), "negative values"),
        ("offset_map", np.full((4, 4), np.nan), "not finite"),
        ("offset_map", np.full((4, 4), np.inf), "not finite"),
        ("offset_map", np.full((4, 4), 1e300), "not finite"),
        ("offset_map", np.zeros((7, 4, 4)), "not that of a map"),
        ("offset_map", np.zeros(4), "not that of a map"),
        ("offset_map", np.zeros((4, 4), complex), "type complex128"),
    ],
)
def test_values_that_no_camera_has_are_refused(tmp_path, setting, values, problem) -> None:
    path = written(tmp_path / "map.npy", values)
    with pytest.raises(InputError, match=problem) as error:
        read_camera_maps(Camera(**{setting: path}))
    assert error.value.field == f"camera.{setting}"
    assert error.value.remedy


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"garbage" * 20])
@pytest.mark.parametrize("name", ["map.npy", "map.tif"])
def test_damaged_and_missing_files(tmp_path, name, content) -> None:
    path = tmp_path / name
    with pytest.raises(InputError, match="there is no file"):
        read_camera_maps(Camera(offset_map=path))
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_camera_maps(Camera(offset_map=path))


def test_what_is_saved_is_read_again(tmp_path) -> None:
    paths = CameraMaps(offset=OFFSET, variance=VARIANCE).save(tmp_path)
    assert [path.name for path in paths] == ["offset.tif", "variance.tif"]
    maps = read_camera_maps(Camera(offset_map=paths[0], variance_map=paths[1]))
    np.testing.assert_array_equal(maps.offset, OFFSET)
    np.testing.assert_array_equal(maps.variance, VARIANCE)
