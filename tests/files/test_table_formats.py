"""Tables leave for other programs, and come from them, in the convention of each of these programs.

Every convention is checked on a picture: where the program sees the centre of the pixel in row 2
and column 5 of frame 3 (from 0), at 160 nm a pixel, which is at (880, 400) nm from the corner.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unfold.errors import InputError
from napari_unfold.files.localizations import read_localizations, write_localizations
from napari_unfold.files.table_formats import FORMATS, Movie, format_of, paths_of

PIXEL_NM = 160.0
MOVIE = Movie(PIXEL_NM, (50, 32, 48))
TABLE = pd.DataFrame(
    {
        "frame": [3, 4],
        "x_nm": [5.5 * PIXEL_NM, 123.456],
        "y_nm": [2.5 * PIXEL_NM, 4321.09876],
        "sigma_nm": [120.0, 130.5],
        "photons": [1500.0, 2345.678],
        "background_photons": [12.0, 13.5],
        "uncertainty_nm": [np.hypot(8, 6) / np.sqrt(2), np.hypot(5, 12) / np.sqrt(2)],
        "uncertainty_x_nm": [8.0, 5.0],
        "uncertainty_y_nm": [6.0, 12.0],
    }
)
NEEDS = {".hdf5": "h5py", ".parquet": "pyarrow"}


def written(folder: Path, suffix: str, table: pd.DataFrame = TABLE, movie: Movie = MOVIE) -> Path:
    if suffix in NEEDS:
        pytest.importorskip(NEEDS[suffix])
    write_localizations(table, folder / f"locs{suffix}", movie)
    return folder / f"locs{suffix}"


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.title)
def test_what_is_written_is_read_again(tmp_path: Path, form) -> None:
    path = written(tmp_path, form.suffix)
    assert sorted(tmp_path.iterdir()) == sorted(paths_of(path))
    known = None if form.title in ("Picasso", "Parquet") else PIXEL_NM
    table = read_localizations(path, pixel_size_nm=known)
    assert table["frame"].tolist() == [3, 4]
    for name in ("x_nm", "y_nm"):
        np.testing.assert_allclose(table[name], TABLE[name], atol=1e-5 * PIXEL_NM)
    for name in table.columns.drop(["frame"]).intersection(TABLE.columns):
        np.testing.assert_allclose(table[name], TABLE[name], rtol=1e-5)


def test_a_table_for_picasso(tmp_path: Path) -> None:
    path = written(tmp_path, ".hdf5")
    h5py = pytest.importorskip("h5py")
    with h5py.File(path) as file:
        locs = file["locs"][()]
        embedded = json.loads(file["metadata"][()])
    assert (locs["frame"][0], locs["x"][0], locs["y"][0]) == (3, 5, 2)
    assert (locs["lpx"][0], locs["lpy"][0]) == pytest.approx((0.05, 0.0375))
    assert (locs["sx"][0], locs["sy"][0]) == pytest.approx((0.75, 0.75))
    assert (locs["photons"][0], locs["bg"][0]) == (1500, 12)
    assert locs.dtype["frame"] == np.dtype("<u4")
    assert {locs.dtype[name] for name in locs.dtype.names[1:]} == {np.dtype("<f4")}
    (side,) = yaml.safe_load_all((tmp_path / "locs.yaml").read_text())
    assert embedded == [side]
    assert [side[key] for key in ("Frames", "Height", "Width", "Pixelsize")] == [50, 32, 48, 160]


def test_a_movie_of_unknown_size_is_as_large_as_its_localizations_need(tmp_path: Path) -> None:
    written(tmp_path, ".hdf5", movie=Movie(PIXEL_NM))
    side = yaml.safe_load((tmp_path / "locs.yaml").read_text())
    assert [side[key] for key in ("Frames", "Height", "Width")] == [5, 28, 6]


def test_a_table_for_the_smlm_challenge(tmp_path: Path) -> None:
    header, first, _ = written(tmp_path, ".challenge.csv").read_text().splitlines()
    assert header == "Ground-truth,frame,xnano,ynano,znano,intensity"
    assert [float(cell) for cell in first.split(",")] == [1, 4, 880, 400, 0, 1500]


def test_a_table_for_smap(tmp_path: Path) -> None:
    """Which counts frames from 1, and puts the centre of the first pixel at one pixel."""
    row = pd.read_csv(written(tmp_path, ".smap.csv")).iloc[0]
    assert (row["frame"], row["xnm"], row["ynm"]) == (4, 6 * PIXEL_NM, 3 * PIXEL_NM)
    assert (row["phot"], row["bg"], row["PSFxnm"]) == (1500, 12, 120)
    assert row["locprecnm"] == pytest.approx(TABLE["uncertainty_nm"][0], abs=1e-5)


def test_a_table_for_shareloc(tmp_path: Path) -> None:
    """Packed rows behind a manifest, as the specification (version 0.2) has it."""
    with zipfile.ZipFile(written(tmp_path, ".smlm")) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        content = archive.read(manifest["files"][0]["name"])
    file, known = manifest["files"][0], manifest["formats"][manifest["files"][0]["format"]]
    assert (manifest["format_version"], file["rows"], known["mode"]) == ("0.2", 2, "binary")
    kinds = [f"<{ {'float64': 'f8', 'uint32': 'u4'}[name] }" for name in known["dtype"]]
    rows = np.frombuffer(content, list(zip(known["headers"], kinds, strict=True)))
    units = dict(zip(known["headers"], known["units"], strict=True))
    assert (rows["frame"][0], rows["x"][0], rows["y"][0]) == (4, 880, 400)
    assert (rows["intensity"][0], rows["x_precision"][0]) == (1500, 8)
    assert (units["x"], units["frame"], units["intensity"]) == ("nm", "frame", "photon")


@pytest.mark.parametrize("first", [0, 1])
def test_a_table_of_shareloc_with_an_offset_a_patch_and_micrometres(
    tmp_path: Path, first: int
) -> None:
    kind = np.dtype([("frame", "<u2"), ("x", "<f4"), ("patch", "<u4", (2, 2)), ("y", "<f4")])
    rows = np.zeros(2, kind)
    rows["frame"], rows["x"], rows["y"] = [first, first + 5], [1, 2], [3, 4]
    known = {
        "mode": "binary", "headers": ["frame", "x", "patch", "y"], "shape": [1, 1, [2, 2], 1],
        "dtype": ["uint16", "float32", "uint32", "float32"], "units": ["frame", "um", "", "um"],
    }  # fmt: skip
    file = {"name": "t.bin", "type": "table", "format": "f", "rows": 2, "offset": {"x": 10}}
    manifest = {"formats": {"f": known}, "files": [{"type": "image"}, file]}
    with zipfile.ZipFile(tmp_path / "a.smlm", "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        archive.writestr("t.bin", rows.tobytes())
    table = read_localizations(tmp_path / "a.smlm")
    assert table["frame"].tolist() == [0, 5]
    assert table["x_nm"].tolist() == [11_000, 12_000]
    assert table["y_nm"].tolist() == [3_000, 4_000]


@pytest.mark.parametrize("suffix", [".hdf5", ".smap.csv"])
def test_a_pixel_size_that_is_needed_is_asked_for(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InputError, match="without the size of a camera pixel") as caught:
        written(tmp_path, suffix, movie=Movie())
    assert caught.value.field == "camera_pixel_nm"
    assert list(tmp_path.iterdir()) == []


def test_picasso_needs_uncertainties_and_gets_no_empty_cells(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs the uncertainty of every localization"):
        written(tmp_path, ".hdf5", TABLE[["frame", "x_nm", "y_nm"]])
    path = written(tmp_path, ".hdf5", TABLE.assign(photons=[np.nan, 5.0]))
    table = read_localizations(path)
    assert len(table) == 2
    assert "photons" not in table


def test_names_that_make_no_table(tmp_path: Path) -> None:
    assert format_of(Path("a.CSV")).title == format_of(Path("a.txt")).title == "ThunderSTORM"
    assert format_of(Path("a.smap.csv")).title == "SMAP"
    for name in ("a.h5", "a.tif"):
        with pytest.raises(InputError, match=r"ends in \.csv \(ThunderSTORM\), \.hdf5 \(Picasso\)"):
            write_localizations(TABLE, tmp_path / name)


@pytest.mark.slow
@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 9999), *[st.floats(0, 100)] * 2), min_size=1, max_size=20),
    st.floats(20, 500),
    st.sampled_from(FORMATS),
)
def test_positions_keep_within_a_hundred_thousandth_of_a_pixel(
    tmp_path_factory: pytest.TempPathFactory, rows, pixel_nm, form
) -> None:
    if form.suffix in NEEDS:
        pytest.importorskip(NEEDS[form.suffix])
    path = tmp_path_factory.mktemp("tables") / f"a{form.suffix}"
    table = pd.DataFrame(rows, columns=["frame", "x_nm", "y_nm"])
    table[["x_nm", "y_nm"]] *= pixel_nm
    table["uncertainty_nm"] = 10.0
    write_localizations(table, path, Movie(pixel_nm))
    again = read_localizations(path, pixel_size_nm=pixel_nm)
    assert again["frame"].tolist() == table["frame"].tolist()
    error_nm = np.abs(again[["x_nm", "y_nm"]] - table[["x_nm", "y_nm"]]).to_numpy().max()
    assert error_nm < 1e-5 * pixel_nm


# ---- from other programs


def test_a_table_of_picasso(shared_data: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = shared_data / "picasso/testdata_locs.hdf5"
    with h5py.File(path) as file:
        locs = file["locs"][()]
    table = read_localizations(path)
    assert len(table) == 564
    np.testing.assert_array_equal(table["frame"], locs["frame"])
    np.testing.assert_allclose(table["x_nm"], (locs["x"] + 0.5) * 160.0, rtol=1e-6)
    np.testing.assert_allclose(table["y_nm"], (locs["y"] + 0.5) * 160.0, rtol=1e-6)
    np.testing.assert_allclose(table["uncertainty_x_nm"], locs["lpx"] * 160.0, rtol=1e-6)
    np.testing.assert_allclose(table["photons"], locs["photons"])


def test_a_table_of_picasso_without_its_yaml(tmp_path: Path) -> None:
    path = written(tmp_path, ".hdf5")
    (tmp_path / "locs.yaml").unlink()
    np.testing.assert_allclose(read_localizations(path)["x_nm"], TABLE["x_nm"], atol=1e-3)
    with pytest.importorskip("h5py").File(path, "a") as file:
        del file["metadata"]
        file["metadata"] = "[" * 100_000
    with pytest.raises(InputError, match="cannot be placed without the pixel size"):
        read_localizations(path)
    (tmp_path / "locs.yaml").write_text("[" * 1000)
    np.testing.assert_allclose(
        read_localizations(path, pixel_size_nm=PIXEL_NM)["x_nm"], TABLE["x_nm"], atol=1e-3
    )


def decode(path: Path, **meta: object) -> Path:
    """Write a table as DECODE does; its first coordinate runs along the rows of a frame."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["data/xyz"] = np.array([[2.0, 5.0, 0.0]], np.float32)
        file["data/xyz_sig"] = np.array([[0.1, 0.05, 0.2]], np.float32)
        file["data/frame_ix"], file["data/id"] = [3], [0]
        file["data/phot"], file["data/prob"] = [1500.0], [0.9]
        file["data/bg"] = h5py.Empty("f")
        file.create_group("meta").attrs.update(meta)
        file.create_group("decode").attrs["version"] = "v0.10.1"
    return path


@pytest.mark.parametrize("known", [{"px_size": [160.0, 160.0], "xy_unit": "px"}, {}])
def test_a_table_of_decode(tmp_path: Path, known: dict[str, object]) -> None:
    size = None if known else PIXEL_NM
    row = read_localizations(decode(tmp_path / "a.h5", **known), pixel_size_nm=size).iloc[0]
    assert (row["frame"], row["x_nm"], row["y_nm"]) == (3, 880, 400)
    assert (row["photons"], row["quality"]) == (1500, 0.9)
    assert (row["uncertainty_x_nm"], row["uncertainty_y_nm"]) == pytest.approx((8, 16))
    assert "background_photons" not in row


def test_files_that_hold_no_table(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.hdf5"
    path.write_bytes(b"no table")
    with pytest.raises(InputError, match="damaged"):
        read_localizations(path)
    with h5py.File(path, "w") as file:
        file["movie"] = np.zeros((3, 4, 5))
    with pytest.raises(InputError, match="no localization table that is known"):
        read_localizations(path)
    with h5py.File(path, "w") as file:
        file["locs"] = np.zeros(3, [("frame", "u4"), ("z", "f4")])
    with pytest.raises(InputError, match="Picasso file, has no column 'x', 'y'"):
        read_localizations(path)
    (tmp_path / "a.parquet").write_bytes(b"no table")
    pytest.importorskip("pyarrow")
    with pytest.raises(InputError, match="damaged"):
        read_localizations(tmp_path / "a.parquet")
