"""Recordings of other programs and microscopes open with the frames that these programs show."""

from __future__ import annotations

import json
import os
import struct
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile

from napari_unfold.errors import InputError
from napari_unfold.files.opening import find_stacks, open_stack
from napari_unfold.files.stacks import Stack

FRAMES = np.random.default_rng(2).integers(90, 4000, (12, 10, 14)).astype(np.uint16)


def refused(match: str):
    return pytest.raises(InputError, match=match)


def check(stack: Stack, frames: np.ndarray = FRAMES, pixel_size_nm: float | None = None) -> None:
    with stack:
        assert stack.shape == frames.shape
        assert stack.pixel_size_nm == (pixel_size_nm and pytest.approx(pixel_size_nm))
        np.testing.assert_array_equal(stack.read(0, 99), frames)
        np.testing.assert_array_equal(stack.read(3, 5), frames[3:5])
        assert stack.read(4, 4).shape == (0, *frames.shape[1:])


# ---- one file of each kind, as its program describes it


def raw(folder: Path) -> Path:
    """Write a movie as Picasso does: numbers, and beside them what they are."""
    FRAMES.astype(">u2").tofile(folder / "a.raw")
    (folder / "a.yaml").write_text(
        "Byte Order: '>'\nData Type: uint16\nFrames: 12\nHeight: 10\nWidth: 14\nPixelsize: 130\n"
    )
    return folder / "a.raw"


def dax(folder: Path) -> Path:
    FRAMES.astype(">u2").tofile(folder / "a.dax")
    (folder / "a.inf").write_text(
        "information file for\na.dax\nmachine name = x\nframe dimensions = 14 x 10\n"
        "binning = 1 x 1\ndata type = 16 bit integers (binary, big endian)\n"
        "number of frames = 12\nStage X = 0.00\n"
    )
    return folder / "a.dax"


def spe(folder: Path, version: float = 2.5, gap: int = 0) -> Path:
    header = bytearray(4100)
    footer = 4100 + (FRAMES[0].nbytes + gap) * len(FRAMES) if version >= 3 else 0
    for place, kind, value in (
        (42, "<H", 14), (108, "<h", 3), (656, "<H", 10), (678, "<Q", footer), (1446, "<i", 12),
        (1992, "<f", version),
    ):  # fmt: skip
        struct.pack_into(kind, header, place, value)
    xml = (
        '<SpeFormat version="3.0" xmlns="http://www.princetoninstruments.com/spe/2009">'
        f'<DataFormat><DataBlock type="Frame" count="12" pixelFormat="MonochromeUnsigned16" '
        f'size="{FRAMES[0].nbytes}" stride="{FRAMES[0].nbytes + gap}">'
        '<DataBlock type="Region" count="1" width="14" height="10" /></DataBlock></DataFormat>'
        "</SpeFormat>"
    )
    body = b"".join(frame.tobytes() + bytes(gap) for frame in FRAMES)
    (folder / "a.spe").write_bytes(header + body + (xml.encode() if footer else b""))
    return folder / "a.spe"


def npy(folder: Path) -> Path:
    np.save(folder / "a.npy", FRAMES)
    return folder / "a.npy"


def tiff(folder: Path) -> Path:
    tifffile.imwrite(folder / "a.tif", FRAMES)
    return folder / "a.tif"


def compressed(folder: Path) -> Path:
    tifffile.imwrite(folder / "a.tif", FRAMES, compression="zlib")
    return folder / "a.tif"


def hdf5(folder: Path) -> Path:
    with pytest.importorskip("h5py").File(folder / "a.h5", "w") as file:
        file.create_dataset("entry/data", data=FRAMES, chunks=(5, 10, 14), compression="gzip")
        file["entry/times"] = np.arange(12)
        file["entry/mean"] = FRAMES.mean(axis=0)
    return folder / "a.h5"


def zarr(folder: Path) -> Path:
    root = pytest.importorskip("zarr").open_group(str(folder / "a.zarr"), mode="w", zarr_format=2)
    levels = {"0": FRAMES, "1": FRAMES[:, ::2, ::2]}
    for name, data in levels.items():
        root.create_array(name, shape=data.shape, dtype=data.dtype, chunks=(5, 8, 8))[:] = data
    axes = [("t", "time", "second"), ("y", "space", "micrometer"), ("x", "space", "micrometer")]
    root.attrs["multiscales"] = [{
        "version": "0.4",
        "axes": [{"name": n, "type": t, "unit": u} for n, t, u in axes],
        "datasets": [{"path": name, "coordinateTransformations": [
            {"type": "scale", "scale": [0.02, 0.13 * 2**int(name), 0.13 * 2**int(name)]}]}
            for name in levels],
    }]  # fmt: skip
    return folder / "a.zarr"


WRITERS: dict[str, tuple[Callable[[Path], Path], float | None]] = {
    "Picasso raw": (raw, 130),
    "dax": (dax, None),
    "spe": (spe, None),
    "npy": (npy, None),
    "tiff": (tiff, None),
    "compressed tiff": (compressed, None),
    "hdf5": (hdf5, None),
    "ome-zarr": (zarr, 130),
}
every_kind = pytest.mark.parametrize("kind", WRITERS)


@every_kind
def test_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    write, pixel_size_nm = WRITERS[kind]
    check(open_stack(write(tmp_path)), FRAMES, pixel_size_nm)


def test_a_movie_of_picasso(shared_data: Path) -> None:
    with open_stack(shared_data / "picasso/testdata.raw") as stack:
        assert (stack.shape, stack.pixel_size_nm) == ((100, 32, 32), 160)
        expected = np.fromfile(shared_data / "picasso/testdata.raw", "<u2").reshape(100, 32, 32)
        np.testing.assert_array_equal(stack.read(0, 100), expected)


@pytest.mark.parametrize(("version", "gap"), [(2.5, 0), (3.0, 0)])
def test_spe_files_read_as_imageio_reads_them(tmp_path: Path, version: float, gap: int) -> None:
    path = spe(tmp_path, version, gap)
    shown = imageio.imread(path, plugin="SPE", index=...)
    np.testing.assert_array_equal(shown, FRAMES)
    check(open_stack(path), shown)


def test_spe_files_with_something_between_the_frames(tmp_path: Path) -> None:
    check(open_stack(spe(tmp_path, 3.0, gap=16)))


# ---- channels, planes, and what is taken for time


def ome(folder: Path, axes: str, shape: tuple[int, ...], **metadata: Any) -> tuple[Path, Any]:
    data = np.arange(np.prod((*shape, 6, 7)), dtype=np.uint16).reshape(*shape, 6, 7)
    path = folder / "a.ome.tif"
    tifffile.imwrite(
        path, data, metadata={"axes": f"{axes}YX", **metadata}, photometric="minisblack"
    )
    return path, data


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("format", ["OME-TIFF", "ImageJ"])
def test_one_channel_and_plane_can_be_chosen(tmp_path: Path, format: str, compression: Any) -> None:
    data = np.arange(5 * 3 * 2 * 6 * 7, dtype=np.uint16).reshape(5, 3, 2, 6, 7)
    path = tmp_path / ("a.ome.tif" if format == "OME-TIFF" else "a.tif")
    tifffile.imwrite(
        path, data, metadata={"axes": "TZCYX"}, imagej=format == "ImageJ", compression=compression
    )
    with refused(r"5 T x 3 Z x 2 C.*Choose one channel.*--channel and --plane"):
        open_stack(path)
    with refused(r"options --plane\)"):
        open_stack(path, channel=1)
    check(open_stack(path, channel=1, plane=2), data[:, 2, 1])
    with refused("has no channel 2. It has 2, counted from 0"):
        open_stack(path, channel=2, plane=0)


def test_channels_of_ome_zarr(tmp_path: Path) -> None:
    data = np.arange(5 * 2 * 6 * 7, dtype=np.uint16).reshape(5, 2, 1, 6, 7)
    root = pytest.importorskip("zarr").open_group(str(tmp_path / "a"), mode="w", zarr_format=3)
    root.create_array("s0", shape=data.shape, dtype=data.dtype, chunks=(2, 1, 1, 6, 7))[:] = data
    root.attrs["ome"] = {"version": "0.5", "multiscales": [{
        "axes": [{"name": n} for n in "tczyx"], "datasets": [{"path": "s0"}]}]}  # fmt: skip
    with refused("5 T x 2 C"):
        open_stack(tmp_path / "a")
    check(open_stack(tmp_path / "a", channel=1), data[:, 1, 0])


def test_what_is_taken_for_time_is_said(tmp_path: Path) -> None:
    with open_stack(ome(tmp_path, "T", (4,))[0]) as stack:
        assert stack.notes == ()
    for axes, what in (("Z", "planes of a z stack"), ("C", "channels")):
        with open_stack(ome(tmp_path, axes, (4,))[0]) as stack:
            (note,) = stack.notes
            assert f"4 frames of 'a.ome.tif' are stored as {what}" in note
            assert "frames in time" in note


def test_a_choice_where_there_is_none(tmp_path: Path) -> None:
    with refused("has no channel 1. Its file tells of no channels"):
        open_stack(raw(tmp_path), channel=1)
    check(open_stack(raw(tmp_path), channel=0, plane=0), FRAMES, 130)


# ---- what falsifies a result is said


def test_lossy_compression_is_said(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", (FRAMES >> 4).astype(np.uint8), compression="jpeg")
    with open_stack(tmp_path / "a.tif") as stack:
        assert "compressed as JPEG, which changes the noise" in " ".join(stack.notes)


def test_pixels_that_are_not_square_are_refused(tmp_path: Path) -> None:
    sides = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.12}
    with refused(r"not square \(100 x 120 nm\)"):
        open_stack(ome(tmp_path, "T", (4,), **sides)[0])
    tifffile.imwrite(tmp_path / "b.tif", FRAMES, imagej=True, resolution=(10, 5),
                     metadata={"unit": "um"})  # fmt: skip
    with refused(r"not square \(100 x 200 nm\)"):
        open_stack(tmp_path / "b.tif")


# ---- many files


def test_a_folder_of_files_is_read_as_a_person_counts(tmp_path: Path) -> None:
    for i in range(12):
        tifffile.imwrite(tmp_path / f"frame{i + 1}.tif", FRAMES[i])
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "._frame1.tif").write_text("of a Macintosh")
    stack = open_stack(tmp_path)
    assert "from 'frame1.tif' to 'frame12.tif'" in stack.notes[0]
    check(stack)


def test_a_folder_of_stacks(tmp_path: Path) -> None:
    for i, (first, stop) in enumerate([(0, 5), (5, 6), (6, 12)]):
        compression = "zlib" if i else None
        tifffile.imwrite(tmp_path / f"part {i}.tif", FRAMES[first:stop], compression=compression)
    check(open_stack(tmp_path))
    tifffile.imwrite(tmp_path / "part 2b.tif", FRAMES[:2, :5])
    with refused(r"part 2b\.tif' is not of the size and type of 'part 0.tif'"):
        open_stack(tmp_path)


# ---- files that change, are damaged, or are no files


def largest_file(path: Path) -> Path:
    files = [path] if path.is_file() else [p for p in path.rglob("[0-9]*") if p.is_file()]
    return max(files, key=lambda file: file.stat().st_size)


def change(path: Path, how: str) -> None:
    """Do to a file, or to one within a folder, what happens to files."""
    target = largest_file(path)
    if how == "removed":
        target.unlink()
    elif how == "truncated":
        os.truncate(target, target.stat().st_size // 2)
    else:
        content = bytearray(target.read_bytes())
        content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
        target.write_bytes(content)
        os.utime(target, ns=(1, target.stat().st_mtime_ns + 1000))


@pytest.mark.parametrize("how", ["truncated", "overwritten", "removed"])
@pytest.mark.parametrize("kind", [k for k in WRITERS if k != "ome-zarr"])
def test_files_that_change_while_they_are_read(tmp_path: Path, kind: str, how: str) -> None:
    path = WRITERS[kind][0](tmp_path)
    with open_stack(path) as stack:
        stack.read(0, 1)
        change(path, how)
        with refused(r"a\.\w+' was (changed|removed) while it was read.*Wait until"):
            stack.read(0, 12)


def test_chunks_of_ome_zarr_that_are_not_there_are_said(tmp_path: Path) -> None:
    path = zarr(tmp_path)
    largest_file(path).unlink()
    with open_stack(path) as stack:
        assert "11 of 12 chunks" in " ".join(stack.notes)


def test_a_file_of_a_folder_that_changes(tmp_path: Path) -> None:
    for i in range(4):
        tifffile.imwrite(tmp_path / f"{i}.tif", FRAMES[i])
    with open_stack(tmp_path) as stack:
        tifffile.imwrite(tmp_path / "2.tif", FRAMES[5])
        os.utime(tmp_path / "2.tif", ns=(1, 1))
        with refused(r"2\.tif' was changed"):
            stack.read(0, 4)


@every_kind
@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.9])
def test_truncated_files_are_refused(tmp_path: Path, kind: str, fraction: float) -> None:
    path = WRITERS[kind][0](tmp_path)
    target = largest_file(path)
    os.truncate(target, int(target.stat().st_size * fraction))
    with refused("damaged|truncated|not a TIFF|empty"), open_stack(path) as stack:
        stack.read(0, 12)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("a.yaml", "Frames: 12\nHeight: 10"),
        ("a.yaml", "Frames: 12\nHeight: 10\nWidth: 14\nData Type: O"),
        ("a.yaml", "!!python/object/apply:os.system [exit 1]"),
        ("a.yaml", "[" * 50_000),
        ("a.yaml", ""),
        ("a.yaml", f"Frames: {'9' * 5000}\nHeight: 10\nWidth: 14\nData Type: uint16"),
        ("a.yaml", "Frames: 12\nHeight: -10\nWidth: 14\nData Type: uint16"),
        ("a.inf", "frame dimensions = 14 x\n"),
        ("a.inf", "frame dimensions = 0 x 10\nnumber of frames = 12\n"),
        ("a.inf", "frame dimensions = 14 x 10\nnumber of frames = 999999\n"),
    ],
)
def test_descriptions_that_describe_nothing(tmp_path: Path, file: str, content: str) -> None:
    path = raw(tmp_path) if file == "a.yaml" else dax(tmp_path)
    (tmp_path / file).write_text(content)
    with refused("does not tell|is said to hold|truncated"):
        open_stack(path)
    (tmp_path / file).unlink()
    with refused(rf"there is no '{file}' beside"):
        open_stack(path)


def test_hdf5_files_with_no_stack_or_several(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["locs"] = np.zeros(5, [("x", "f4"), ("y", "f4")])
    with refused("holds no stack of frames"):
        open_stack(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["one/data"], file["two/data"] = FRAMES, FRAMES + 1
    with refused(r"several: one/data, two/data. Name one as in 'a.h5/one/data'"):
        open_stack(tmp_path / "a.h5")
    check(open_stack(tmp_path / "a.h5/two/data"), FRAMES + 1)
    with refused("holds no stack 'three'"):
        open_stack(tmp_path / "a.h5/three")


@pytest.mark.parametrize(
    ("package", "name"), [("h5py", "a.h5"), ("nd2", "a.nd2"), ("czifile", "a.czi")]
)
def test_a_reader_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, name: str
) -> None:
    (tmp_path / name).write_bytes(b"content")
    monkeypatch.setitem(sys.modules, package, None)
    with refused(rf"the package {package} is needed.*pip install .napari-unfold\[\w+\]"):
        open_stack(tmp_path / name)


def test_recordings_of_zeiss_microscopes(tmp_path: Path) -> None:
    """Written by Zeiss' own library, which only its readers' tests need."""
    writer = pytest.importorskip("pylibCZIrw.czi")
    pytest.importorskip("czifile")
    with writer.create_czi(str(tmp_path / "a.czi")) as file:
        for t, frame in enumerate(FRAMES):
            for c in range(2):
                file.write((frame + c)[..., None], plane={"T": t, "C": c, "Z": 0})
        file.write_metadata("a", scale_x=1.1e-7, scale_y=1.1e-7)
    with refused("12 T x 2 C"):
        open_stack(tmp_path / "a.czi")
    check(open_stack(tmp_path / "a.czi", channel=1), FRAMES + 1, 110)
    os.truncate(tmp_path / "a.czi", (tmp_path / "a.czi").stat().st_size // 2)
    with refused("damaged"), open_stack(tmp_path / "a.czi", channel=1) as stack:
        stack.read(0, 12)


class Nikon:
    """What the package nd2 says of a recording of 12 frames in 2 channels, here one after another.

    It reads from a file that it is given, as the package does, and takes what is missing for black.
    """

    def __init__(self, file: Any) -> None:
        self.sizes = {"T": 12, "C": 2, "Y": 10, "X": 14}
        self.dtype = np.dtype(np.uint16)
        self._file, self.close = file, file.close

    def voxel_size(self) -> Any:
        return types.SimpleNamespace(x=0.11, y=0.11, z=1.0)

    def read_frame(self, number: int) -> np.ndarray:
        self._file.seek(number * 2 * FRAMES[0].nbytes)
        return np.frombuffer(self._file.read(2 * FRAMES[0].nbytes), "<u2").reshape(2, 10, 14)


def test_recordings_of_nikon_microscopes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a stand-in: there is no such file that may be copied."""
    both = np.stack([FRAMES, FRAMES + 1], axis=1)
    both.tofile(tmp_path / "a.nd2")
    module = types.SimpleNamespace(ND2File=Nikon)
    monkeypatch.setitem(sys.modules, "nd2", module)  # type: ignore[arg-type]
    with refused("12 T x 2 C"):
        open_stack(tmp_path / "a.nd2")
    check(open_stack(tmp_path / "a.nd2", channel=1), FRAMES + 1, 110)
    os.truncate(tmp_path / "a.nd2", both.nbytes - 10)
    with refused("truncated"), open_stack(tmp_path / "a.nd2", channel=1) as stack:
        stack.read(0, 12)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tif")
    with refused("is a device or a pipe"):
        open_stack(tmp_path / "a.tif")
    with refused("is a device or a pipe"):
        open_stack("/dev/zero")


@pytest.mark.parametrize("name", ["n" * 300, "a\0b", "d/" * 3000])
def test_names_that_no_file_has(name: str) -> None:
    with refused("cannot be opened|no file"):
        open_stack(name)


def test_arrays_of_numpy_that_are_no_stack(tmp_path: Path) -> None:
    for array, match in (
        (np.asfortranarray(FRAMES), "ascontiguousarray"),
        (np.zeros((2, 3, 4, 5)), "more than one axis"),
        (np.zeros((9, 9, 3)), "colour"),
        (np.zeros(5), "not an array of frames"),
        (np.zeros((0, 5, 5)), "is empty"),
        (np.zeros((2, 5, 5), complex), "pixels of the type complex"),
    ):
        np.save(tmp_path / "a.npy", array)
        with refused(match):
            open_stack(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.array([[{}]]), allow_pickle=True)
    with refused("not an array"):
        open_stack(tmp_path / "a.npy")


def test_zarr_folders_that_are_no_image(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    (tmp_path / "a.zarr").mkdir()
    with refused(r"damaged|no image"):
        open_stack(tmp_path / "a.zarr")
    for attributes in ({"multiscales": []}, {"multiscales": [{"datasets": [{"path": "x"}]}]}, {}):
        (tmp_path / "a.zarr/.zgroup").write_text('{"zarr_format": 2}')
        (tmp_path / "a.zarr/.zattrs").write_text(json.dumps(attributes))
        with refused(r"damaged|no image"):
            open_stack(tmp_path / "a.zarr")


def test_the_stacks_of_a_folder_are_found_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("b10.tif", "b9.TIF", "a.dax", ".hidden.tif", "notes.txt", "table.csv", "gain.npy"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "results" / "b9").mkdir(parents=True)
    (tmp_path / "cell.zarr").mkdir()
    found = find_stacks([tmp_path], apart_from=[tmp_path / "gain.npy"])
    assert [path.name for path in found] == ["a.dax", "b9.TIF", "b10.tif", "cell.zarr"]
    first, second = tmp_path / "a.dax", tmp_path / "notes.txt"
    assert find_stacks([second, first, tmp_path / "results" / ".." / "a.dax"]) == [second, first]
    with refused("no stacks"):
        find_stacks([tmp_path / "results"])
    with refused("no file or folder"):
        find_stacks([first, tmp_path / "lost"])
