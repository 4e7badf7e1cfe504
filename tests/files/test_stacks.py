"""Stacks come lazily from every kind of TIFF, and broken ones are refused with a reason."""

import shutil
import tracemalloc
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile

from napari_unfold.errors import InputError
from napari_unfold.files.opening import open_stack
from napari_unfold.files.stacks import Stack, as_stack

SHARED = Path(__file__).parents[3] / "shared" / "data"
FRAMES = np.random.default_rng(1).integers(90, 4000, (20, 24, 32)).astype(np.uint16)


def refused(match: str):
    return pytest.raises(InputError, match=match)


def save(path: Path, data: np.ndarray = FRAMES, **options: object) -> Path:
    tifffile.imwrite(path, data, **options)
    return path


WRITERS = {
    "contiguous": {},
    "imagej": {"imagej": True},
    "imagej with one page": {"imagej": True, "truncate": True},  # as ImageJ above 4 GB
    "bigtiff": {"bigtiff": True},
    "big endian": {"byteorder": ">"},
    "deflate": {"compression": "zlib"},
    "lzw with predictor": {"compression": "lzw", "predictor": True},
    "bigtiff deflate": {"bigtiff": True, "compression": "zlib"},
    "tiles": {"tile": (16, 16)},
    "strips": {"rowsperstrip": 5},
    "plain pages": {"metadata": None},
}


@pytest.mark.parametrize("options", WRITERS.values(), ids=WRITERS.keys())
def test_every_kind_of_tiff(tmp_path: Path, options: dict[str, object]) -> None:
    with open_stack(save(tmp_path / "stack.tif", **options)) as stack:
        assert (stack.name, stack.shape, stack.dtype) == ("stack.tif", FRAMES.shape, np.uint16)
        middle = stack.read(7, 12)
        assert middle.dtype == np.float32
        np.testing.assert_array_equal(middle, FRAMES[7:12])
        np.testing.assert_array_equal(stack.read(18, 99), FRAMES[18:])
        assert stack.read(20, 25).shape == (0, 24, 32)


@pytest.mark.parametrize("axes", ["TYX", "ZYX", "CYX"])
def test_ome_tiff_with_any_frame_axis(tmp_path: Path, axes: str) -> None:
    path = save(tmp_path / "a.ome.tif", metadata={"axes": axes}, compression="zlib")
    with open_stack(path) as stack:
        np.testing.assert_array_equal(stack.read(0, 20), FRAMES)


def test_frames_written_one_by_one(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for frame in FRAMES:
            writer.write(frame, contiguous=False)
    with open_stack(tmp_path / "a.tif") as stack:
        np.testing.assert_array_equal(stack.read(0, 20), FRAMES)


def multi_file_ome(folder: Path) -> list[Path]:
    """One OME-TIFF of 4 frames spread over two files."""
    paths = [folder / "a.ome.tif", folder / "b.ome.tif"]
    planes = "".join(
        f'<TiffData FirstT="{2 * i}" IFD="0" PlaneCount="2"><UUID FileName="{path.name}">'
        f"urn:uuid:0000000{i}-0000-0000-0000-000000000000</UUID></TiffData>"
        for i, path in enumerate(paths)
    )
    for i, path in enumerate(paths):
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:0000000{i}-0000-0000-0000-000000000000"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="32" SizeY="24" '
            'SizeZ="1" SizeC="1" SizeT="4"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f"{planes}</Pixels></Image></OME>"
        )
        save(path, FRAMES[2 * i : 2 * i + 2], metadata=None, description=xml, compression="zlib")
    return paths


def test_ome_tiff_in_several_files(tmp_path: Path) -> None:
    with open_stack(multi_file_ome(tmp_path)[0]) as stack:
        np.testing.assert_array_equal(stack.read(0, 4), FRAMES[:4])


def test_ome_tiff_with_a_file_missing(tmp_path: Path) -> None:
    first, second = multi_file_ome(tmp_path)
    second.unlink()
    with refused("missing|truncated"):
        open_stack(first)


def test_axes_of_length_one_do_not_count(tmp_path: Path) -> None:
    with open_stack(save(tmp_path / "a.tif", FRAMES[None, :, None])) as stack:
        np.testing.assert_array_equal(stack.read(3, 5), FRAMES[3:5])


@pytest.mark.parametrize("frames", [FRAMES[:1], FRAMES[0]], ids=["3-D", "2-D"])
def test_one_frame_is_a_stack(tmp_path: Path, frames: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", frames)
    for path in (
        save(tmp_path / "a.tif", frames),
        save(tmp_path / "b.tif", frames, imagej=True),
        tmp_path / "a.npy",
    ):
        with open_stack(path) as stack:
            assert stack.shape == (1, 24, 32)
            np.testing.assert_array_equal(stack.read(0, 1), FRAMES[:1])
    np.testing.assert_array_equal(as_stack(frames).read(0, 1), FRAMES[:1])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"imagej": True, "resolution": (10, 10), "metadata": {"unit": "um"}}, 100),
        ({"imagej": True, "resolution": (12.5, 12.5), "metadata": {"unit": "micron"}}, 80),
        ({"imagej": True, "resolution": (0.01, 0.01), "metadata": {"unit": "nm"}}, 100),
        ({"imagej": True, "resolution": (1, 1), "metadata": {"unit": "pixel"}}, None),
        ({"imagej": True}, None),
        ({"resolution": (1e5, 1e5), "resolutionunit": "CENTIMETER"}, 100),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),
        ({}, None),
    ],
)
def test_pixel_size_of_imagej_and_plain_tiff(
    tmp_path: Path, options: dict[str, object], expected: float | None
) -> None:
    with open_stack(save(tmp_path / "a.tif", **options)) as stack:
        assert stack.pixel_size_nm == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("size", "unit", "expected"),
    [(0.16, "µm", 160), (160, "nm", 160), (0.00011, "mm", 110), (1, "pixel", None)],
)
def test_pixel_size_of_ome_tiff(
    tmp_path: Path, size: float, unit: str, expected: float | None
) -> None:
    metadata = {"axes": "TYX", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit}
    with open_stack(save(tmp_path / "a.ome.tif", metadata=metadata)) as stack:
        assert stack.pixel_size_nm == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("options", WRITERS.values(), ids=WRITERS.keys())
@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.97])
def test_truncated_tiff_is_never_read_as_zeros(
    tmp_path: Path, options: dict[str, object], fraction: float
) -> None:
    path = save(tmp_path / "a.tif", **options)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    with refused("truncated|not a TIFF"), open_stack(path) as stack:
        stack.read(0, 20)


def test_damaged_frame_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        offset, length = tiff.pages[4].dataoffsets[0], tiff.pages[4].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + length] = bytes(length)
    path.write_bytes(content)
    with open_stack(path) as stack:
        assert stack.read(0, 4).shape == (4, 24, 32)
        with refused(r"frame 5 of .*a\.tif.*damaged"):
            stack.read(0, 20)


def test_files_that_are_no_stack(tmp_path: Path) -> None:
    with refused("there is no file"):
        open_stack(tmp_path / "missing.tif")
    with refused("folder without TIFF files"):
        open_stack(tmp_path)
    (tmp_path / "empty.tif").touch()
    with refused("is empty"):
        open_stack(tmp_path / "empty.tif")
    (tmp_path / "text.tif").write_text("not an image")
    with refused("not a TIFF file.*Fiji"):
        open_stack(tmp_path / "text.tif")
    (tmp_path / "noise.tif").write_bytes(b"II*\0" + bytes(range(200)))
    with refused("damaged|no image"):
        open_stack(tmp_path / "noise.tif")
    (tmp_path / "noise.npy").write_bytes(b"noise")
    with refused("damaged"):
        open_stack(tmp_path / "noise.npy")


def test_images_that_are_no_stack(tmp_path: Path) -> None:
    with refused("colour"):
        open_stack(save(tmp_path / "rgb.tif", np.zeros((5, 8, 9, 3), "u1"), photometric="rgb"))
    with refused("more than one axis.*4 x 5"):
        open_stack(save(tmp_path / "4d.tif", FRAMES.reshape(4, 5, 24, 32)))
    with refused("complex"):
        open_stack(save(tmp_path / "complex.tif", FRAMES.astype(np.complex64)))
    with refused("bool"):
        open_stack(save(tmp_path / "bool.tif", FRAMES > 100))


def test_errors_belong_to_the_stack_field(tmp_path: Path) -> None:
    with refused("no file") as caught:
        open_stack(tmp_path / "missing.tif")
    assert caught.value.field == "stack"
    assert caught.value.remedy


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite_are_named_by_frame(value: float) -> None:
    frames = FRAMES.astype(np.float64)
    frames[6, 3, 3] = value
    stack = as_stack(frames)
    assert stack.read(0, 6).shape == (6, 24, 32)
    with refused("frame 7 of 'array'.*finite"):
        stack.read(4, 10)


def test_npy_is_read_lazily(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FRAMES)
    with open_stack(tmp_path / "a.npy") as stack:
        np.testing.assert_array_equal(stack.read(2, 4), FRAMES[2:4])


def test_dask_computes_only_what_is_read() -> None:
    computed: list[int] = []

    def load(block_info=None):
        computed.append(block_info[None]["chunk-location"][0])
        return np.ones((1, 8, 8), np.uint16)

    lazy = da.map_blocks(load, chunks=((1,) * 50, (8,), (8,)), dtype=np.uint16, meta=FRAMES[:0])
    stack = as_stack(lazy, name="lazy", pixel_size_nm=100)
    computed.clear()
    assert stack.read(10, 13).shape == (3, 8, 8)
    assert sorted(set(computed)) == [10, 11, 12]
    assert stack.pixel_size_nm == 100


def test_arrays_that_are_no_stack() -> None:
    with refused("no image"):
        as_stack(FRAMES[0, 0])
    with refused("colour"):
        as_stack(np.zeros((64, 64, 3), np.uint8))
    with refused("more than one axis"):
        as_stack(np.zeros((2, 3, 8, 8)))
    with refused("empty: 0 frames"):
        as_stack(FRAMES[:0])
    for dtype in (bool, complex, object, "U3"):
        with refused("pixels of the type"):
            as_stack(np.zeros((2, 8, 8), dtype))


def test_axes_of_length_one_in_arrays() -> None:
    for array in (FRAMES[None], FRAMES[:, None], FRAMES[None, :, None]):
        np.testing.assert_array_equal(as_stack(array).read(2, 5), FRAMES[2:5])
    assert as_stack(FRAMES[:1, None]).shape == (1, 24, 32)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_memory_does_not_grow_with_the_number_of_frames(
    tmp_path: Path, compression: str | None
) -> None:
    def peak(frames: int) -> int:
        path = tmp_path / f"{frames}.tif"
        save(path, np.zeros((frames, 128, 128), np.uint16), compression=compression)
        with open_stack(path) as stack:
            stack.read(0, 4)
            tracemalloc.start()
            for start in range(0, frames, 4):
                stack.read(start, start + 4)
            result = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return result

    few = peak(16)
    frame = 128 * 128 * 4
    assert few < 40 * frame
    # tifffile remembers where the data of each page lies, which is little
    assert peak(160) < few + 3 * frame


def test_file_can_be_moved_after_closing(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", compression="zlib")
    stack: Stack = open_stack(path)
    stack.close()
    shutil.move(path, tmp_path / "b.tif")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the collected microscope files are not here")
@pytest.mark.parametrize(
    ("name", "shape", "pixel_size_nm"),
    [
        ("deep-storm/random_density6.tif", (20, 64, 64), 100),
        ("deep-storm/microtubules_odd.tif", (181, 64, 64), 100),
        ("sofi-tubulin/tubulin.tif", (1000, 64, 64), None),
        ("musij/mitochondria_rods.tif", (50, 70, 70), None),
        ("musij/h9c2_dsred_mito.tif", (50, 67, 74), 80),
    ],
)
def test_files_of_other_programs(
    name: str, shape: tuple[int, int, int], pixel_size_nm: float | None
) -> None:
    with open_stack(SHARED / name) as stack:
        assert stack.shape == shape
        assert stack.pixel_size_nm == (pixel_size_nm and pytest.approx(pixel_size_nm))
        np.testing.assert_array_equal(stack.read(0, shape[0]), tifffile.imread(SHARED / name))
