"""The command line as a user types it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_unfold.files.localizations import read_localizations
from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
from napari_unfold.files.stacks import Stack

CAMERA = ("--camera", "emccd", "--camera-offset", "100", "--adu-per-photon", "2")
PSF = ("--psf-fwhm-nm", "258", *CAMERA)
CAMERA_MAPS = ("offset", "gain", "variance")
QUICK = ("--preset", "none", "--iterations", "30")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, run_cli):
    """Make a folder with a small simulated stack in it."""
    folder = tmp_path_factory.mktemp("cli")
    run_cli(
        "simulate", folder / "cells.tif", "--scene", "random", "--frames", 5, "--size", 24,
        "--density", 2, "--seed", 4,
    )  # fmt: skip
    return folder


def test_simulate_writes_a_stack_and_its_truth(folder):
    assert tifffile.imread(folder / "cells.tif").shape == (5, 24, 24)
    truth = read_localizations(folder / "cells_truth.csv")
    assert len(truth) / 5 == pytest.approx(2 * 2.4**2, rel=0.4)


def test_simulate_writes_what_surrounds_the_molecules(tmp_path, run_cli, refused):
    run_cli(
        "simulate", tmp_path / "cells.tif", "--frames", 6, "--size", 32, "--height", 24,
        "--on-frames", 4, "--background-shape", "cells", "--hot-pixels", 0.1, "--camera", "scmos",
        "--density", 1,
    )  # fmt: skip
    assert tifffile.imread(tmp_path / "cells.tif").shape == (6, 24, 32)
    background = tifffile.imread(tmp_path / "cells_background.tif")
    assert background.max() / background.min() == pytest.approx(5)
    maps = {name: tifffile.imread(tmp_path / f"cells_{name}.tif") for name in CAMERA_MAPS}
    assert {image.shape for image in maps.values()} == {(24, 32)}
    assert 0.03 < (maps["variance"] > 4 * np.median(maps["variance"])).mean() < 0.2
    assert "--lamp-flicker" in refused("simulate", tmp_path / "cells.tif", "--lamp-flicker", 3)


def test_simulate_shows_molecules_as_the_image_of_a_bead(tmp_path, run_cli):
    """A bead of two spots 600 nm apart: every molecule is seen twice."""
    y, x = np.indices((41, 41)) - 20.0
    spot = sum(np.exp(-(y**2 + (x - middle) ** 2) / 5) for middle in (-6, 6))
    tifffile.imwrite(tmp_path / "bead.tif", spot.astype(np.float32))
    run_cli(
        "simulate", tmp_path / "cells.tif", "--frames", 30, "--size", 40, "--density", 0.1,
        "--psf-image", tmp_path / "bead.tif", "--psf-image-pixel-nm", 50, "--background", 1,
        "--molecule-photons", 50_000,
    )  # fmt: skip
    stack = tifffile.imread(tmp_path / "cells.tif").astype(float) - 100
    shifted = [(stack[:, :, : 40 - lag] * stack[:, :, lag:]).sum() for lag in range(3, 10)]
    assert np.argmax(shifted) == 6 - 3


def test_the_whole_job(folder, tmp_path, run_cli):
    out = tmp_path / "new" / "results"
    run_cli(
        "reconstruct", folder / "cells.tif", *PSF, "--preset", "dense-smlm", "--out", out,
        "--save-frames",
    )  # fmt: skip
    assert sorted(p.name for p in out.iterdir()) == [
        "frames.tif", "localizations.csv", "reconstruction.png", "reconstruction.tif", "run.json",
    ]  # fmt: skip
    image = tifffile.imread(out / "reconstruction.tif")
    assert image.shape == (96, 96)
    assert image.dtype == np.float32
    record = json.loads((out / "run.json").read_text())
    assert record["preset"] == "dense-smlm"
    assert record["recipe"]["optics"]["pixel_size_nm"] == 100

    scored = run_cli(
        "evaluate", out / "localizations.csv", folder / "cells_truth.csv",
        "--tolerance-nm", 50, "--tolerance-nm", 100, "--json",
    )  # fmt: skip
    scores = [json.loads(line) for line in scored.splitlines()]
    assert [s["tolerance_nm"] for s in scores] == [50, 100]
    assert scores[1]["jaccard"] > 0.8
    table = run_cli("evaluate", out / "localizations.csv", folder / "cells_truth.csv")
    assert table.splitlines()[0].startswith("tolerance_nm")
    assert len(table.splitlines()) == 4


@pytest.mark.slow
def test_settings_reach_the_job(folder, tmp_path, run_cli):
    run_cli(
        "reconstruct", folder / "cells.tif", *QUICK, "--psf-sigma-nm", 120, "--pixel-size-nm", 110,
        "--camera", "other", "--camera-offset", 90, "--adu-per-photon", 1.5, "--excess-noise", 1.4,
        "--read-noise-photons", 2, "--background", 25, "--fidelity", "kl", "--upsampling", 2,
        "--molecule-photons", 1200, "--frames", "1:4", "--device", "cpu", "--out", tmp_path,
    )  # fmt: skip
    record = json.loads((tmp_path / "run.json").read_text())
    recipe = record["recipe"]
    assert recipe["optics"]["psf_sigma_nm"] == 120
    assert recipe["optics"]["pixel_size_nm"] == 110
    assert recipe["camera"] == {
        "type": "other", "offset_adu": 90, "adu_per_photon": 1.5, "excess_noise": 1.4,
        "read_noise_photons": 2, "offset_map": None, "gain_map": None, "variance_map": None,
    }  # fmt: skip
    assert recipe["background"]["photons"] == 25
    assert recipe["solver"]["fidelity"] == record["network"]["fidelity"] == "kl"
    assert record["molecule_photons"] == 1200
    assert len(record["network"]["step_sizes"]) == 30
    assert record["stack"]["frames"] == [1, 4]
    assert tifffile.imread(tmp_path / "reconstruction.tif").shape == (48, 48)
    frames = read_localizations(tmp_path / "localizations.csv")["frame"]
    assert set(frames) <= {1, 2, 3}


@pytest.mark.slow
def test_the_demo_writes_everything(tmp_path, run_cli):
    run_cli("demo", "--out", tmp_path / "demo")
    assert {p.name for p in (tmp_path / "demo").iterdir()} == {
        "stack.tif", "truth.csv", "reconstruction.tif", "localizations.csv", "figure.png",
        "report.json",
    }  # fmt: skip
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert report["scores"][1]["jaccard"] > 0.8
    assert (tmp_path / "demo" / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_presets_are_listed_and_shown(refused, run_cli):
    assert "dense-smlm" in run_cli("presets", "list")
    shown = json.loads(run_cli("presets", "show", "dense-smlm"))
    assert shown["trained_on"]
    assert shown["scores"]
    assert "no preset called 'nonsense'" in refused("presets", "show", "nonsense")


def entry_point():
    """Return the program that the installation puts beside the interpreter."""
    return shutil.which("napari-unfold", path=Path(sys.executable).parent)


@pytest.mark.slow
@pytest.mark.skipif(entry_point() is None, reason="napari-unfold is not installed here")
def test_the_installed_program_is_this_command_line(tmp_path):
    missing, out = str(tmp_path / "none.tif"), str(tmp_path / "out")
    done = subprocess.run(
        [entry_point(), "reconstruct", missing, "--out", out], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "none.tif" in done.stderr


@pytest.mark.parametrize(
    "command", ["reconstruct", "batch", "simulate", "evaluate", "demo", "presets"]
)
def test_help(command, run_cli):
    said = " ".join(run_cli(command, "--help").split())
    assert f"napari-unfold {command} " in said
    if command == "reconstruct":
        for unit in ("[nm]", "[ADU]", "[ADU/photon]", "[photons/pixel]"):
            assert unit in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--camera", "emccd", "--frames", "2:3"], "the size of the PSF is missing"),
        ([], "type of the camera is missing"),
        (["--psf-fwhm-nm", "258"], "type of the camera is missing"),
        (
            ["--psf-fwhm-nm", "258", "--camera", "emccd", "--frames", "2:3"],
            "(option --camera-offset)",
        ),
        (["--psf-fwhm-nm", "2.58"], "check both numbers and their units"),
        (["--psf-fwhm-nm", "-258"], "PSF FWHM of -258"),
        (["--psf-sigma-nm", "-110"], "PSF sigma (nm)"),
        (["--psf-fwhm-nm", "258", "--psf-sigma-nm", "110"], "given twice"),
        ([*PSF, "--pixel-size-nm", "0"], "Pixel size (nm)"),
        ([*PSF, "--adu-per-photon", "0"], "Gain (ADU/photon)"),
        ([*PSF, "--excess-noise", "nan"], "Excess noise"),
        ([*PSF, "--camera-offset", "9000"], "darker than the camera offset"),
        ([*PSF, "--background", "-3"], "background of -3 photons"),
        ([*PSF, "--background", "much"], "'much' is neither a number nor 'auto'"),
        ([*PSF, "--frames", "9:12"], "do not exist in a stack of 5 frames"),
        ([*PSF, "--frames", "two"], "not a range of frames"),
        ([*PSF, "--upsampling", "0"], "Upsampling"),
        ([*PSF, "--preset", "nonsense"], "no preset called 'nonsense'"),
        ([*PSF, "--preset", "cells.tif"], "not a preset of napari-unfold"),
        ([*PSF, "--molecule-photons", "0"], "photons per molecule cannot be"),
        ([*PSF, "--fidelity", "poisson"], "gaussian"),
        ([*PSF, "--device", "tpu"], "cuda"),
        ([*PSF, "--psf-image", "none.tif"], "no file none.tif"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(
    folder, tmp_path, options, message, monkeypatch, refused
):
    monkeypatch.chdir(folder)
    error = refused("reconstruct", folder / "cells.tif", "--out", tmp_path / "out", *options)
    assert message in error
    assert not list(tmp_path.rglob("*.*"))


def bad_stacks(folder: Path):
    rng = np.random.default_rng(0)
    frames = rng.poisson(140, (4, 20, 20)).astype(np.float32)
    files = {
        "colour": (np.zeros((4, 20, 20, 3), np.uint8), "colour"),
        "nan": (np.full_like(frames, np.nan), "not finite"),
        "dark": (frames - 130, "darker than the camera offset"),
        "tiny": (frames[:, :5, :5], "smaller than the PSF"),
        "many": (np.zeros((3, 4, 20, 20), np.uint16), "more than one axis"),
    }
    for name, (array, message) in files.items():
        path = folder / f"{name}.tif"
        tifffile.imwrite(path, array, photometric="rgb" if name == "colour" else "minisblack")
        yield path, message
    whole = folder / "whole.tif"
    tifffile.imwrite(whole, frames, photometric="minisblack")
    for name, content, message in (
        ("truncated", whole.read_bytes()[:3000], "truncated"),
        ("empty", b"", "empty"),
        ("text", b"frame,x,y\n1,2,3\n", "TIFF"),
    ):
        (folder / f"{name}.tif").write_bytes(content)
        yield folder / f"{name}.tif", message
    yield folder / "missing.tif", "missing.tif"
    (folder / "more").mkdir()
    yield folder / "more", "folder without TIFF files"


def test_bad_stacks_are_refused_in_one_sentence(tmp_path, refused):
    for path, message in bad_stacks(tmp_path):
        error = refused("reconstruct", path, *PSF, *QUICK, "--out", tmp_path / "out")
        assert message in error, (path, error)
        assert len(error.strip().splitlines()) == 1, error
        out = tmp_path / "out"
        assert not out.exists() or not list(out.iterdir())


def test_one_frame_is_enough(folder, tmp_path, run_cli):
    run_cli("reconstruct", folder / "cells.tif", *PSF, *QUICK, "--frames", "2:3", "--out", tmp_path)
    assert set(read_localizations(tmp_path / "localizations.csv")["frame"]) == {2}


def test_an_output_that_is_a_file_is_refused_and_kept(folder, tmp_path, refused):
    (tmp_path / "results").write_text("mine")
    error = refused(
        "reconstruct", folder / "cells.tif", *PSF, *QUICK, "--out", tmp_path / "results"
    )
    assert "results" in error
    assert (tmp_path / "results").read_text() == "mine"


def test_earlier_results_survive_a_failed_run(folder, tmp_path, refused):
    for name in ("reconstruction.tif", "localizations.csv", "run.json"):
        (tmp_path / name).write_text("earlier")
    refused("reconstruct", folder / "cells.tif", *PSF, "--frames", "7:9", "--out", tmp_path)
    assert {p.read_text() for p in tmp_path.iterdir()} == {"earlier"}


@pytest.mark.parametrize("how", ["truncated", "removed"])
def test_earlier_results_survive_a_stack_that_changes_while_it_is_read(
    folder, tmp_path, refused, monkeypatch, how
):
    stack, out = tmp_path / "cells.tif", tmp_path / "out"
    stack.write_bytes((folder / "cells.tif").read_bytes())
    out.mkdir()
    (out / "localizations.csv").write_text("earlier")
    read, calls = Stack.read, iter(range(99))

    def changing(self, *arguments, **options):
        if next(calls) == 2:
            os.truncate(stack, 1000) if how == "truncated" else stack.unlink()
        return read(self, *arguments, **options)

    monkeypatch.setattr(Stack, "read", changing)
    error = refused("reconstruct", stack, *PSF, *QUICK, "--out", out)
    assert "cells.tif' was" in error
    assert "while it was read" in error
    assert [p.read_text() for p in out.iterdir()] == ["earlier"]


@pytest.mark.slow
def test_a_channel_is_chosen_and_a_choice_of_time_is_said(folder, tmp_path, run_cli, refused):
    frames = tifffile.imread(folder / "cells.tif")
    both = np.stack([np.zeros_like(frames), frames], axis=1)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, both, metadata={"axes": "ZCYX"}, photometric="minisblack")
    command = ("reconstruct", path, *PSF, *QUICK, "--out", tmp_path / "out")
    assert "--channel" in refused(*command)
    assert "has no channel 7" in refused(*command, "--channel", 7)
    run_cli(*command, "--channel", 1)
    run_cli("reconstruct", folder / "cells.tif", *PSF, *QUICK, "--out", tmp_path / "plain")
    tables = [(tmp_path / name / "localizations.csv").read_text() for name in ("out", "plain")]
    assert tables[0] == tables[1]
    (note,) = json.loads((tmp_path / "out" / "run.json").read_text())["stack"]["notes"]
    assert "stored as planes of a z stack" in note


def test_evaluating_what_is_no_table(folder, refused):
    error = refused("evaluate", folder / "cells.tif", folder / "cells_truth.csv")
    assert "cells.tif" in error


def test_all_truth_dialects_are_understood(folder, tmp_path, run_cli):
    """The same truth as a plain table and as SMLM challenge file scores 1 against ours."""
    truth = read_localizations(folder / "cells_truth.csv")
    rows = list(zip(truth["frame"] + 1, truth["x_nm"], truth["y_nm"], strict=True))
    (tmp_path / "plain.csv").write_text(
        "frame,x_nm,y_nm\n" + "".join(f"{f},{x:.3f},{y:.3f}\n" for f, x, y in rows)
    )
    (tmp_path / "challenge.csv").write_text(
        "Ground-truth,frame,xnano,ynano,znano,intensity \n"
        + "".join(f"{i},{f},{x:.3f},{y:.3f},0,1000\n" for i, (f, x, y) in enumerate(rows, 1))
    )
    for name in ("plain.csv", "challenge.csv"):
        said = run_cli(
            "evaluate", folder / "cells_truth.csv", tmp_path / name, "--tolerance-nm", 1, "--json"
        )
        assert json.loads(said)["jaccard"] == 1.0


# tests that run in the background, or after the terminal was closed, inherit signals to be ignored
AS_IN_A_TERMINAL = (
    "import signal as s; s.signal(s.SIGHUP, s.SIG_DFL); s.signal(s.SIGINT, s.default_int_handler)\n"
)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.slow
def test_interrupting_leaves_nothing_behind(folder, tmp_path, name):
    """Ctrl-C, or a request to end, while it works: status 130, one sentence, an empty folder."""
    process = subprocess.Popen(
        [
            sys.executable, "-c", f"{AS_IN_A_TERMINAL}from napari_unfold.cli import main; main()",
            "reconstruct", str(folder / "cells.tif"), *PSF, "--preset", "none",
            "--iterations", "5000", "--save-frames", "--out", str(tmp_path),
        ],
        stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    while not list(tmp_path.rglob("frames.tif")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(getattr(signal, name))
    _, error = process.communicate()
    assert process.returncode == 130
    assert error.strip().splitlines()[-1] == "Cancelled; earlier results are as they were."
    assert not list(tmp_path.iterdir())


def test_results_do_not_overwrite_what_is_read(folder, tmp_path, refused, run_cli):
    stack = tmp_path / "reconstruction.tif"
    stack.write_bytes((folder / "cells.tif").read_bytes())
    before = stack.read_bytes()
    table = tmp_path / "a.csv"
    table.write_text("frame,x_nm,y_nm\n0,5,5\n")
    maps = tmp_path / "offset.tif"
    maps.write_bytes(before)
    for command in (
        ["reconstruct", stack, *PSF, "--out", tmp_path],
        ["reconstruct", folder / "cells.tif", *PSF, "--psf-image", stack, "--out", tmp_path],
        ["fluctuation", stack, *PSF, "--out", tmp_path],
        ["calibrate-camera", maps, "--out", tmp_path],
        ["measure-psf", stack, "--out", stack],
        ["train", stack, table, *PSF, "--out", table],
        ["simulate", stack, "--psf-image", stack],
        ["filter", table, "--where", "frame > 0", "--out", table],
        ["link", table, "--out", table],
        ["drift", table, "--out", tmp_path / "b.csv", "--curve", table],
        ["render", stack, "--out", stack],
    ):
        assert "is read and would be overwritten" in refused(*command)
    assert "named twice" in refused("drift", table, "--out", "b.csv", "--curve", "b.csv")
    assert stack.read_bytes() == maps.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.slow
def test_a_result_folder_holds_one_result(folder, tmp_path, run_cli):
    """Frames of an earlier run do not stay beside the results of a later one."""
    common = ("reconstruct", folder / "cells.tif", *PSF, *QUICK, "--out", tmp_path)
    run_cli(*common, "--save-frames")
    files = json.loads((tmp_path / "run.json").read_text())["files"]
    assert sorted(p.name for p in tmp_path.iterdir()) == files
    assert "frames.tif" in files
    run_cli(*common)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "localizations.csv", "reconstruction.png", "reconstruction.tif", "run.json",
    ]  # fmt: skip


@pytest.mark.parametrize("tolerance", ["0", "nan", "-5"])
def test_impossible_tolerances(folder, refused, tolerance):
    truth = folder / "cells_truth.csv"
    assert "--tolerance-nm" in refused("evaluate", truth, truth, "--tolerance-nm", tolerance)


def test_tables_without_rows_are_compared(tmp_path, run_cli):
    table = tmp_path / "a.csv"
    table.write_text("frame,x_nm,y_nm\n")
    for frames in ("0:5", ":", "2:"):
        assert "nan" in run_cli("evaluate", table, table, "--frames", frames)


def test_numbers_and_names_without_end(folder, tmp_path, refused):
    stack, out = folder / "cells.tif", tmp_path / "out"
    for options in (
        ["--frames", f"0:{'9' * 5000}"],
        ["--iterations", "9" * 5000, "--preset", "none"],
        ["--background", "9" * 5000],
        ["--psf-image", "n" * 300 + ".tif"],
        ["--offset-map", "n" * 300 + ".npy"],
        ["--preset", "n" * 300],
        ["--out", "n" * 300],
    ):
        assert refused("reconstruct", stack, *PSF, "--out", out, *options)
    assert refused("reconstruct", "n" * 300 + ".tif", *PSF, "--out", out)
    assert refused("evaluate", "n" * 300, "n" * 300)
    assert refused("filter", folder / "cells_truth.csv", "--where", "x_nm > 1", "--out", "n" * 300)


def test_a_preset_that_makes_no_finite_image_is_refused(folder, tmp_path, refused):
    content = load_preset(DEFAULT_PRESET).model_dump(mode="json")
    network = content["networks"]["gaussian"]
    network["step_sizes"] = [1e5] * len(network["step_sizes"])
    (tmp_path / "wild.json").write_text(json.dumps(content))
    error = refused(
        "reconstruct", folder / "cells.tif", *PSF, "--preset", tmp_path / "wild.json",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert "the reconstruction is not finite" in error
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
def test_a_full_disk_behind_the_output_is_said():
    run = [sys.executable, "-c", "from napari_unfold.cli import main; main()", "presets", "list"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(run, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: the disk is full")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_program_can_follow_a_job(folder, tmp_path, run_cli):
    """Every line is one JSON object: stages, notes, progress to its end, and the result."""
    said = run_cli("reconstruct", folder / "cells.tif", *PSF, *QUICK, "--out", tmp_path, "--json")
    events = [json.loads(line) for line in said.splitlines()]
    assert {"stage", "note", "progress"} <= {event["event"] for event in events}
    last, result = [e for e in events if e["event"] == "progress"][-1], events[-1]
    assert (last["done"], last["total"]) == (5, 5)
    assert result["event"] == "result"
    assert result["localizations"] == len(read_localizations(tmp_path / "localizations.csv"))
    assert Path(result["folder"]) == tmp_path


def test_a_stack_needs_the_name_of_a_tiff(tmp_path, refused):
    assert "does not end in .tif" in refused("simulate", tmp_path / "cells.png")


@pytest.mark.slow
def test_training_writes_a_preset_that_reconstruct_takes(folder, tmp_path, run_cli):
    preset = tmp_path / "my preset.json"
    common = (*PSF, "--iterations", 20, "--training-frames", 4, "--steps", 2, "--out", preset)
    run_cli("train", folder / "cells.tif", folder / "cells_truth.csv", *common)
    content = json.loads(preset.read_text())
    assert content["name"] == "my-preset"
    assert "cells.tif" in content["trained_on"]
    run_cli("train", "--simulate", "--resume", *common)
    run_cli(
        "reconstruct", folder / "cells.tif", *PSF, "--preset", preset, "--out", tmp_path / "out"
    )


@pytest.mark.slow
def test_adapting_compares_with_the_shipped_preset(folder, tmp_path, run_cli, monkeypatch):
    monkeypatch.setattr("napari_unfold.learning.adapt.HELD_OUT_FRAMES", 4)
    preset = tmp_path / "mine.json"
    options = (*PSF, "--iterations", 10, "--training-frames", 4, "--steps", 1, "--out", preset)
    out = run_cli("train", folder / "cells.tif", "--adapt", *options)
    lines = out.splitlines()
    assert lines[0].split() == ["dense-smlm", "mine"]
    assert any(line.startswith("missed / false / J at 50 nm") for line in lines)
    assert "etter than the shipped preset dense-smlm" in lines[-1]
    content = json.loads(preset.read_text())
    assert content["name"] == "mine"
    assert "cells.tif" in content["trained_on"]
    assert "etter than the shipped preset dense-smlm" in content["description"]


def test_training_needs_something_to_learn_from(folder, refused, tmp_path):
    out = ("--out", tmp_path / "p.json")
    assert "nothing to learn from" in refused("train", *PSF, *out)
    assert "nothing to learn from" in refused("train", folder / "cells.tif", *PSF, *out)
    assert "Gaussian PSF only" in refused("train", "--simulate", *out)
    assert "a stack alone" in refused("train", "--adapt", *PSF, *out)
    with_truth = (folder / "cells.tif", folder / "cells_truth.csv")
    assert "a stack alone" in refused("train", *with_truth, "--adapt", *PSF, *out)
    few = refused("train", "--simulate", *PSF, *out, "--training-frames", "1")
    assert "Frames: 1 is not usable" in few
    assert "--training-frames" in few
    assert not list(tmp_path.iterdir())
