"""The command *estimate* as a user types it."""

import json
import shlex

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_unfold.cli import app
from napari_unfold.errors import InputError
from napari_unfold.simulation.scenes import simulate


def run(*arguments):
    done = CliRunner().invoke(app, ["estimate", *map(str, arguments)], catch_exceptions=True)
    if isinstance(done.exception, InputError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Write a stack of an EMCCD (offset 100, 2 ADU/photon), FWHM 259 nm, without pixel size."""
    path = tmp_path_factory.mktemp("estimate") / "cells.tif"
    tifffile.imwrite(path, simulate("random", frames=40, seed=1).stack)
    return path


def test_values_with_errors_and_the_options_for_reconstruct(stack):
    lines = run(stack, "--camera", "emccd", "--pixel-size-nm", 120).splitlines()
    titles = ["PSF FWHM", "Camera offset", "Gain"]
    assert [line[:14].strip() for line in lines[:3]] == titles
    assert all("±" in line for line in lines[:3])
    options = shlex.split(lines[-1].partition(":")[2])
    given = dict(zip(options[::2], options[1::2], strict=True))
    assert given.pop("--camera") == "emccd"
    given = {flag: float(number) for flag, number in given.items()}
    assert given["--psf-fwhm-nm"] == pytest.approx(1.2 * 259, rel=0.03)
    assert given["--adu-per-photon"] == pytest.approx(2, rel=0.1)
    assert given["--camera-offset"] == pytest.approx(100, abs=6)
    assert given["--pixel-size-nm"] == 120


def test_the_excess_noise_decides_on_the_gain(stack):
    emccd, ccd = (json.loads(run(stack, "--json", "--excess-noise", f)) for f in (2, 1))
    product = "adu_per_photon_times_excess_noise"
    assert ccd[product]["value"] == pytest.approx(4, rel=0.1)
    assert ccd["adu_per_photon"]["value"] == pytest.approx(ccd[product]["value"])
    assert emccd["adu_per_photon"]["value"] == pytest.approx(emccd[product]["value"] / 2)


def test_without_the_type_only_the_product_of_gain_and_excess_noise_shows(stack):
    found = json.loads(run(stack, "--json"))
    assert found["adu_per_photon"] is None
    assert found["offset_adu"]["value"] == pytest.approx(100, abs=6)
    assert "state the type with --camera" in run(stack)


def test_an_assumed_pixel_size_is_said(stack):
    found = json.loads(run(stack, "--json"))
    assert "Pixels of 100 nm are assumed" in found["notes"][0]
    assert found["given"]["pixel_size_nm"] == 100


def test_what_cannot_be_told_is_null_and_explained(tmp_path):
    flat = np.random.default_rng(0).poisson(50, (20, 32, 32)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "flat.tif", flat, photometric="minisblack")
    found = json.loads(run(tmp_path / "flat.tif", "--json"))
    assert (found["psf_fwhm_nm"], found["adu_per_photon"], found["options"]) == (None, None, [])
    assert len(found["notes"]) == 2
    assert "Options" not in run(tmp_path / "flat.tif")


def test_bad_input_names_the_setting(stack):
    with pytest.raises(InputError, match="Excess noise") as error:
        run(stack, "--excess-noise", 0.5)
    assert error.value.field == "camera.excess_noise"
    with pytest.raises(InputError, match="one frame"):
        run(stack, "--frames", "3:4")
