"""Good files of every kind, damaged at random, and the readers that have to cope with them."""

from __future__ import annotations

import json
import random
import shutil
import signal
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile

from napari_unfold.errors import InputError
from napari_unfold.files.camera_maps import read_camera_maps
from napari_unfold.files.localizations import read_localizations
from napari_unfold.files.opening import open_stack
from napari_unfold.files.presets import DEFAULT_PRESET, load_preset, save_preset
from napari_unfold.files.result_folder import read_record, recorded_files
from napari_unfold.files.table_formats import Movie, write_localizations
from napari_unfold.files.tiff import read_picture
from napari_unfold.settings.microscope import Camera

SECONDS_PER_FILE = 20
FRAMES = np.random.default_rng(3).integers(90, 4000, (12, 10, 14)).astype(np.uint16)
TABLE = pd.DataFrame({
    "frame": np.arange(30), "x_nm": np.linspace(10, 900, 30), "y_nm": np.linspace(900, 1, 30),
    "photons": 1000.0, "uncertainty_nm": 9.5, "sigma_nm": 120.0, "track": np.arange(1, 31),
    "detections": 3, "last_frame": np.arange(30) + 2,
})  # fmt: skip
EXTREMES = [b"-1", b"0", b"1e309", b"nan", b"9" * 5000, b"4294967295", b"1e-320", b"", b"[" * 9000]


def stack(path: Path) -> None:
    with open_stack(path) as opened:
        for start in range(0, min(len(opened), 20), 5):
            opened.read(start, start + 5, finite=False)


def table(path: Path) -> None:
    read_localizations(path, pixel_size_nm=100.0)


def tiff(path: Path, **options: Any) -> Path:
    tifffile.imwrite(path, FRAMES, **options)
    return path


def described(path: Path, side: str, text: str) -> Path:
    FRAMES.astype(">u2").tofile(path)
    path.with_suffix(side).write_text(text)
    return path


def spe(path: Path) -> Path:
    header = bytearray(4100)
    for place, value in ((42, 14), (108, 3), (656, 10), (1446, 12)):
        header[place : place + 2] = value.to_bytes(2, "little")
    header[1992:1996] = np.float32(3.0).tobytes()
    header[678:686] = (4100 + FRAMES.nbytes).to_bytes(8, "little")
    xml = f'<a><DataBlock type="Frame" stride="{FRAMES[0].nbytes}"/></a>'
    path.write_bytes(bytes(header) + FRAMES.tobytes() + xml.encode())
    return path


def npy(path: Path) -> Path:
    np.save(path, FRAMES)
    return path


def hdf5(path: Path) -> Path:
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("a/b", data=FRAMES, chunks=(5, 10, 14), compression="gzip")
    return path


def zarr(path: Path) -> Path:
    import zarr as library

    root = library.open_group(str(path), mode="w", zarr_format=2)
    root.create_array("0", shape=FRAMES.shape, dtype=FRAMES.dtype, chunks=(5, 8, 8))[:] = FRAMES
    root.attrs["multiscales"] = [{"axes": [*"tyx"], "datasets": [{"path": "0"}]}]
    return path


def czi(path: Path) -> Path:
    from pylibCZIrw import czi as library

    with library.create_czi(str(path)) as file:
        for t, frame in enumerate(FRAMES):
            file.write(frame[..., None], plane={"T": t, "C": 0, "Z": 0})
        file.write_metadata("a", scale_x=1e-7, scale_y=1e-7)
    return path


def written(path: Path) -> Path:
    write_localizations(TABLE, path, Movie(100.0, (30, 10, 10)))
    return path


def decode_csv(path: Path) -> Path:
    rows = "".join(f"{i}.5,{i},0,900,{i},0,0.9\n" for i in range(20))
    about = '# DECODE EmitterSet\n# {"version": "1"}\n# {"xy_unit": "px", "px_size": [1, 2]}'
    path.write_text(f"{about}\nx,y,z,phot,frame_ix,id,prob\n{rows}")  # fmt: skip
    return path


def decode(path: Path) -> Path:
    import h5py

    with h5py.File(path, "w") as file:
        file["data/xyz"], file["data/frame_ix"] = np.ones((9, 3), "f4"), np.arange(9)
        file["data/phot"], file["data/bg"] = np.ones(9), h5py.Empty("f")
        file.create_group("meta").attrs.update({"px_size": [100.0, 100.0], "xy_unit": "px"})
    return path


def preset(path: Path) -> Path:
    save_preset(load_preset(DEFAULT_PRESET), path)
    return path


def record(path: Path) -> Path:
    path.write_text(json.dumps({
        "files": ["a.tif", "run.json"], "stack": {"shape": [5, 8, 9]},
        "recipe": {"optics": {"pixel_size_nm": 100.0}}}))  # fmt: skip
    return path


def read_run(path: Path) -> None:
    shutil.copy(path, path.with_name("run.json"))
    recorded_files(path.parent)
    Movie.of(read_record(path.parent))
    raise InputError("this reader refuses nothing", "")


def smlm_manifest(path: Path) -> Path:
    with zipfile.ZipFile(written(path.with_name("a.smlm"))) as archive:
        path.write_bytes(archive.read("manifest.json"))
    path.with_name("a.smlm").unlink()
    return path


def with_manifest(path: Path) -> None:
    with zipfile.ZipFile(path.with_name("a.smlm"), "w") as archive:
        archive.write(path, "manifest.json")
        archive.writestr("table.bin", np.arange(30 * 12.0).tobytes())
    table(path.with_name("a.smlm"))


def raw(path: Path) -> Path:
    text = "Byte Order: '>'\nData Type: uint16\nFrames: 12\nHeight: 10\nWidth: 14\nPixelsize: 130\n"
    return described(path, ".yaml", text)


def dax(path: Path) -> Path:
    return described(path, ".inf", "frame dimensions = 14 x 10\nnumber of frames = 12\n")


Maker, Reader = Callable[[Path], Path], Callable[[Path], object]
KINDS: dict[str, tuple[str, Maker, Reader]] = {
    "tiff": ("a.tif", tiff, stack),
    "compressed tiff": ("a.tif", lambda p: tiff(p, compression="zlib", predictor=True), stack),
    "ome-tiff": ("a.ome.tif", lambda p: tiff(p, metadata={"axes": "TYX"}), stack),
    "imagej tiff": ("a.tif", lambda p: tiff(p, imagej=True, metadata={"axes": "TYX"}), stack),
    "npy": ("a.npy", npy, stack),
    "Picasso raw": ("a.raw", raw, stack),
    "dax": ("a.dax", dax, stack),
    "spe": ("a.spe", spe, stack),
    "hdf5": ("a.h5", hdf5, stack),
    "ome-zarr": ("a.zarr", zarr, stack),
    "czi": ("a.czi", czi, stack),
    "thunderstorm": ("a.csv", written, table),
    "challenge": ("a.challenge.csv", written, table),
    "smap": ("a.smap.csv", written, table),
    "decode csv": ("a.csv", decode_csv, table),
    "picasso": ("a.hdf5", written, table),
    "decode": ("a.h5", decode, table),
    "parquet": ("a.parquet", written, table),
    "smlm": ("a.smlm", written, table),
    "smlm manifest": ("manifest.json", smlm_manifest, with_manifest),
    "preset": ("a.json", preset, load_preset),
    "record": ("a.json", record, read_run),
    "camera map": ("a.npy", npy, lambda p: read_camera_maps(Camera(offset_map=p))),
    "map tiff": ("a.tif", tiff, lambda p: read_picture(p, "optics.psf_image")),
}


def damaged(content: bytes, dice: random.Random) -> bytes:
    """Return a file after a few accidents."""
    data = bytearray(content)
    early = dice.random() < 0.5  # where files say what they are
    for _ in range(dice.choice([1, 1, 2, 5, 20])):
        end = min(len(data), 600) if early else len(data)
        at = dice.randrange(end) if end else 0
        length = dice.choice([1, 2, 4, 8, 50])
        kind = dice.randrange(7)
        if kind <= 1:
            data[at : at + 1] = dice.randbytes(1)
        elif kind == 2:
            data[at : at + length] = dice.choice([b"\0", b"\xff", b"\x7f"]) * length
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = data[at : at + length] * dice.choice([1, 3])
        elif kind == 5:
            data[at : at + length] = dice.choice(EXTREMES)
        elif dice.random() < 0.4:
            del data[at:]
    return bytes(data)


def run(
    kind: str, folder: Path, count: int, seed: int, too_long: type[BaseException]
) -> dict[str, Any]:
    """Damage and read `count` files; return how many were read and refused, and what else came."""
    name, make, read = KINDS[kind]
    good = make(folder / "good" / name if (folder / "good").mkdir() is None else folder)
    dice = random.Random(f"{kind} {seed}")
    told: dict[str, Any] = {"read": 0, "refused": 0, "foreign": []}
    for number in range(count):
        bad = folder / "bad"
        shutil.rmtree(bad, ignore_errors=True)
        shutil.copytree(good.parent, bad)
        target = dice.choice(sorted(p for p in bad.rglob("*") if p.is_file()))
        target.write_bytes(damaged(target.read_bytes(), dice))
        signal.alarm(SECONDS_PER_FILE)
        try:
            read(bad / name)
            told["read"] += 1
        except InputError:
            told["refused"] += 1
        except (Exception, too_long):
            told["foreign"].append({"number": number, "traceback": traceback.format_exc()[-1500:]})
        finally:
            signal.alarm(0)
    return told
