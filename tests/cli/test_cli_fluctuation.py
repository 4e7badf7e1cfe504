"""The command *fluctuation* as a user types it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from napari_unfold.simulation.photophysics import Blinking, FilamentPatterns, blink, record
from napari_unfold.simulation.simulated_microscope import EMCCD

FILES = {"mean.tif", "variance.tif", "reconstruction.tif", "psf.tif", "run.json"}


def fluctuation(*arguments):
    """Run the command; whatever happens, no user may ever see a traceback."""
    done = subprocess.run(
        [sys.executable, "-c", "from napari_unfold.cli import main; main()", "fluctuation",
         *map(str, arguments)],
        capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100"},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    rng = np.random.default_rng(1)
    positions = FilamentPatterns(np.array([3200.0, 3200.0]), rng)(600, rng)
    light = blink(len(positions), 150, Blinking(photons=250), rng)
    movie = record(positions, light, (32, 32), 100, 110, 5, EMCCD, rng)
    path = tmp_path_factory.mktemp("fluctuation") / "cells.tif"
    tifffile.imwrite(path, movie)
    return path


def test_images_psf_and_record_are_written_with_their_pixel_sizes(stack, tmp_path):
    out = tmp_path / "out"
    done = fluctuation(
        stack, "--camera", "emccd", "--out", out, "--upsampling", 2, "--learning-steps", 0
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == FILES
    shapes = {}
    for path in out.glob("*.tif"):
        with tifffile.TiffFile(path) as file:
            shapes[path.name] = file.asarray().shape
            per_micrometre = np.divide(*file.pages[0].tags["XResolution"].value)
            fine = path.name in {"reconstruction.tif", "psf.tif"}
            assert 1000 / per_micrometre == pytest.approx(50 if fine else 100)
    assert shapes["mean.tif"] == shapes["variance.tif"] == (32, 32)
    assert shapes["reconstruction.tif"] == (64, 64)
    record = json.loads((out / "run.json").read_text("utf-8"))
    assert record["psf"]["sigma_nm"] == pytest.approx(110, rel=0.05)
    assert record["psf"]["fwhm_nm"] == pytest.approx(2.3548 * record["psf"]["sigma_nm"], rel=1e-4)
    assert record["psf"]["from_data_standard_error_nm"] < 5
    assert f"FWHM {record['psf']['fwhm_nm']:.1f} nm" in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--psf", "settings"), "PSF is missing"),
        (("--psf", "learned", "--learning-steps", "0"), "needs learning steps"),
        (("--weight", "2"), "(option --weight)"),
        (("--frames", "0:5"), "5 frames are too few"),
        (("--block-frames", "3"), "(option --block-frames)"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_written(stack, tmp_path, options, said):
    done = fluctuation(stack, "--camera", "emccd", "--out", tmp_path / "out", *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True
