"""The commands for localization tables, as a user types them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml

from napari_unfold.files.localizations import read_localizations, write_localizations
from napari_unfold.simulation.scenes import simulate


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Localizations of filaments with a drift of 150 nm in x, and two columns more."""
    truth = simulate("filaments", frames=300, shape=(32, 32), density_per_um2=4.0, seed=2).truth
    rng = np.random.default_rng(0)
    truth["uncertainty_nm"] = rng.uniform(8.0, 16.0, len(truth))
    truth["sigma_nm"] = rng.normal(110.0, 10.0, len(truth))
    truth[["x_nm", "y_nm"]] += rng.normal(0, 12.0, (len(truth), 2))
    truth["x_nm"] += truth["frame"] * 0.5
    return truth


@pytest.fixture(scope="module")
def file(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "in.csv"
    write_localizations(table, path)
    return path


def test_convert(run_cli, refused, file, table, tmp_path) -> None:
    """Pixel size and size of the frames are taken from the record beside the table, or stated."""
    out = tmp_path / "out.smap.csv"
    assert "(option --camera-pixel-nm)" in refused("convert", file, "--out", out)
    assert "(SMAP)" in run_cli("convert", file, "--out", out, "--camera-pixel-nm", 100)
    np.testing.assert_allclose(pd.read_csv(out)["xnm"], table["x_nm"] + 50, atol=1e-4)
    (tmp_path / "in.csv").write_bytes(file.read_bytes())
    (tmp_path / "run.json").write_text(
        '{"stack": {"shape": [300, 30, 40]}, "recipe": {"optics": {"pixel_size_nm": 100}}}'
    )
    pytest.importorskip("h5py")
    for stated, size in (((), (300, 30, 40)), (("--size-px", 50, 60), (300, 60, 50))):
        run_cli("convert", tmp_path / "in.csv", "--out", tmp_path / "a.hdf5", *stated)
        side = yaml.safe_load((tmp_path / "a.yaml").read_text())
        assert (side["Frames"], side["Height"], side["Width"]) == size
        assert side["Pixelsize"] == 100
    again = tmp_path / "again.csv"
    run_cli("convert", tmp_path / "a.hdf5", "--out", again)
    np.testing.assert_allclose(read_localizations(again)["x_nm"], table["x_nm"], atol=1e-5 * 100)
    assert "is read and would be overwritten" in refused(
        "convert", tmp_path / "a.hdf5", "--out", tmp_path / "a.hdf5"
    )
    assert "--size-px" in refused("convert", file, "--out", out, "--size-px", 0, 5)


@pytest.mark.slow
def test_filter(run_cli, file, table, tmp_path) -> None:
    out = tmp_path / "out.csv"
    said = run_cli(
        "filter", file, "--where", "photons > 1500", "--where", "100 < sigma_nm < 120",
        "--where", "frame >= 10", "--out", out,
    )  # fmt: skip
    kept = table.query("photons > 1500 and 100 < sigma_nm < 120 and frame >= 10")
    assert f"{len(kept)} of {len(table)} localizations kept" in said
    assert f"photons > 1500: {(table['photons'] > 1500).sum()}" in said
    found = read_localizations(out)
    np.testing.assert_allclose(found["x_nm"], kept["x_nm"], atol=1e-5)
    np.testing.assert_allclose(found["uncertainty_nm"], kept["uncertainty_nm"], atol=1e-5)


@pytest.mark.slow
def test_link(run_cli, file, table, tmp_path) -> None:
    out = tmp_path / "out.csv"
    said = run_cli("link", file, "--radius-nm", "40", "--dark-frames", "0", "--out", out)
    found = read_localizations(out)
    assert f"{len(table)} localizations are {len(found)} molecules" in said
    assert len(found) < len(table)
    assert found["detections"].sum() == len(table)
    assert found["photons"].sum() == pytest.approx(table["photons"].sum(), rel=1e-6)
    run_cli("link", file, "--radius-uncertainties", "3", "--out", out)
    assert read_localizations(out)["detections"].sum() == len(table)


@pytest.mark.slow
def test_drift(run_cli, file, table, tmp_path) -> None:
    out, curve, figure = (tmp_path / name for name in ("out.csv", "curve.csv", "drift.png"))
    said = run_cli("drift", file, "--blocks", 6, "--out", out, "--curve", curve, "--figure", figure)
    assert "6 blocks" in said
    shift = table["x_nm"].to_numpy() - read_localizations(out)["x_nm"].to_numpy()
    assert np.std(shift - 0.5 * table["frame"]) < 5.0
    rows = pd.read_csv(curve)
    assert list(rows) == ["frame", "drift_x [nm]", "drift_y [nm]"]
    assert rows["frame"].tolist() == list(range(1, 301))
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_frc(run_cli, file, tmp_path) -> None:
    curve, figure = tmp_path / "frc.csv", tmp_path / "frc.png"
    said = run_cli("frc", file, "--out", curve, "--figure", figure)
    assert "Resolution" in said
    assert "blocks of frames, alternating" in said
    assert list(pd.read_csv(curve))[:2] == ["frequency [1/um]", "correlation"]
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "halves: random" in run_cli("frc", file, "--halves", "random", "--pixel-size-nm", "8")


def test_render(run_cli, file, table, tmp_path) -> None:
    out = tmp_path / "image.tif"
    said = run_cli("render", file, "--out", out, "--pixel-size-nm", 25, "--size-nm", 3200, 3000)
    assert "128 x 120 pixels of 25 nm, localizations per pixel" in said
    with tifffile.TiffFile(out) as tiff:
        image = tiff.asarray()
        assert tiff.imagej_metadata["unit"] == "um"
        width, per = tiff.pages[0].tags["XResolution"].value
        assert per / width == pytest.approx(0.025, rel=1e-3)
    assert image.shape == (120, 128)
    run_cli(
        "render", file, "--out", out, "--style", "histogram", "--weight", "photons",
        "--pixel-size-nm", 25,
    )  # fmt: skip
    inside = table[(table["x_nm"] >= 0) & (table["y_nm"] >= 0)]
    assert tifffile.imread(out).sum() == pytest.approx(inside["photons"].sum(), rel=1e-4)


def test_tables_of_other_programs_are_read(run_cli, tmp_path) -> None:
    challenge = tmp_path / "truth.csv"
    challenge.write_text("Ground-truth,frame,xnano,ynano,znano,intensity \n1,1,105,205,0,900\n")
    out = tmp_path / "image.tif"
    run_cli("render", challenge, "--style", "histogram", "--out", out)
    assert np.argwhere(tifffile.imread(out)).tolist() == [[20, 10]]


def test_a_table_in_pixels_needs_the_camera_pixel(run_cli, tmp_path) -> None:
    file, out = tmp_path / "decode.csv", tmp_path / "image.tif"
    file.write_text("x,y,z,phot,frame_ix\n2.0,1.0,0,900,0\n")
    image = ("render", file, "--style", "histogram", "--out", out)
    assert "--camera-pixel-nm" in run_cli(*image, status=2)
    run_cli(*image, "--camera-pixel-nm", 100)
    assert np.argwhere(tifffile.imread(out)).tolist() == [[25, 15]]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("filter", "--where", "colour > 3"), "no column called 'colour'"),
        (("filter", "--where", "photons"), "'photons' is not a condition"),
        (("filter", "--where", "quality > 1"), "the table has no column 'quality'"),
        (("link", "--radius-nm", 0), "--radius-nm"),
        (("link", "--radius-nm", 5, "--radius-uncertainties", 3), "given twice"),
        (("link", "--dark-frames", -1), "Dark frames"),
        (("drift", "--blocks", 1), "1 time blocks"),
        (("drift", "--blocks", "few"), "'few' is neither a number nor 'auto'"),
        (("drift", "--blocks", 200, "--largest-drift-nm", 0), "Largest drift"),
        (("drift", "--figure", "drift.jpeg"), "does not end in .png"),
        (("render", "--pixel-size-nm", 0), "Pixel size"),
        (("render", "--width-nm", -3), "Gaussians of -3 nm"),
        (("render", "--size-nm", 0, 100), "--size-nm"),
        (("render", "--camera-pixel-nm", 0), "--camera-pixel-nm"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(
    run_cli, file, tmp_path, command, message
) -> None:
    name, *options = command
    out = tmp_path / ("out.tif" if name == "render" else "out.csv")
    assert message in run_cli(name, file, "--out", out, *options, status=2)
    assert list(tmp_path.iterdir()) == []


def test_bad_files_are_refused(run_cli, file, tmp_path) -> None:
    out = tmp_path / "out.csv"
    assert "no file" in run_cli("drift", tmp_path / "none.csv", "--out", out, status=2)
    assert "no such folder" in run_cli("link", file, "--out", tmp_path / "no" / "out.csv", status=2)
    assert "does not end in .tif" in run_cli("render", file, "--out", out, status=2)
    nowhere = ("--curve", tmp_path / "no" / "curve.csv")
    assert "no such folder" in run_cli("drift", file, "--out", out, *nowhere, status=2)
    assert not out.exists()


def test_help_names_the_units(run_cli) -> None:
    for command in ("filter", "link", "drift", "frc", "render"):
        assert "[nm]" in " ".join(run_cli(command, "--help").split())
