"""Images out: what other programs find in the files."""

import numpy as np
import pytest
import tifffile

from napari_unfold.files.images import FrameWriter, write_image
from napari_unfold.files.opening import open_stack


@pytest.mark.parametrize("shape", [(20, 30), (3, 20, 30), (4, 20, 30), (7, 20, 30)])
def test_images_carry_axes_and_pixel_size_for_imagej(tmp_path, shape):
    path = tmp_path / "image.tif"
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    write_image(image, path, 25.0)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.imagej_metadata["unit"] == "um"
        across, per = tiff.pages[0].tags["XResolution"].value
        assert per / across == pytest.approx(0.025)
        assert tiff.series[0].axes == "TYX"[-len(shape) :]
    np.testing.assert_array_equal(tifffile.imread(path), image)


def test_frames_become_one_stack(tmp_path):
    path = tmp_path / "frames.tif"
    frames = np.random.default_rng(0).random((7, 12, 9)).astype(np.float32)
    with FrameWriter(path, 25.0) as writer:
        writer.write(frames[:3])
        writer.write(frames[3:])
        assert not path.exists()
    with open_stack(path) as stack:
        assert stack.shape == (7, 12, 9)
        assert stack.pixel_size_nm == pytest.approx(25.0)
        np.testing.assert_array_equal(stack.read(0, 7), frames)


def test_a_failure_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "frames.tif"
    path.write_bytes(b"earlier")
    with pytest.raises(RuntimeError), FrameWriter(path, 25.0) as writer:  # noqa: PT012
        writer.write(np.zeros((2, 5, 5), np.float32))
        raise RuntimeError
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]
