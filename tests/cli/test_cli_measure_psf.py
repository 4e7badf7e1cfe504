"""``measure-psf``: from a recording of beads to an image that ``--psf-image`` takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_unfold.imaging.psf import measured_psf
from napari_unfold.localization.profiles import spot_of
from napari_unfold.settings.microscope import FWHM_PER_SIGMA
from napari_unfold.simulation.scenes import render, simulate


@pytest.fixture(scope="module")
def beads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording of four Gaussian beads with a sigma of 1.1 pixels."""
    y, x = np.array([(16.2, 17.9), (45.1, 15.5), (17.7, 46.3), (44.6, 45.8)]).T
    mean = render(y, x, np.full(4, 3e4), (62, 62), 1.0, 1.1) + 30.0
    stack = 100 + 2 * np.random.default_rng(0).poisson(mean, (5, 62, 62))
    path = tmp_path_factory.mktemp("beads") / "beads.tif"
    tifffile.imwrite(path, stack.astype(np.uint16))
    return path


def test_the_image_is_written_and_its_options_said(
    beads: Path, tmp_path: Path, run_cli: Callable[..., str]
) -> None:
    out = tmp_path / "psf.tif"
    said = run_cli("measure-psf", beads, "--out", out, "--pixel-size-nm", 100)
    assert "PSF of 4 beads: FWHM 25" in said
    assert f"--psf-image {out} --psf-image-pixel-nm 12.5" in said
    spot = spot_of(measured_psf(tifffile.imread(out), 12.5, 100.0))
    assert spot.sigma_px == pytest.approx(1.1, rel=0.02)


def test_a_name_that_is_no_tiff_is_refused(
    beads: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    assert "does not end in .tif" in refused("measure-psf", beads, "--out", tmp_path / "psf.png")


def test_without_a_name_for_the_image_one_is_asked_for(
    beads: Path, refused: Callable[..., str]
) -> None:
    assert "--learn for a stack of blinking molecules" in refused("measure-psf", beads)


@pytest.mark.slow
def test_the_width_is_learned_from_molecules(tmp_path: Path, run_cli: Callable[..., str]) -> None:
    """FWHM 259 nm, sigma 110 nm."""
    stack, out = tmp_path / "cells.tif", tmp_path / "psf.tif"
    made = simulate("random", frames=12, shape=(40, 36), density_per_um2=1.0, seed=2)
    tifffile.imwrite(stack, made.stack)
    camera = ["--camera", "emccd", "--camera-offset", 100, "--adu-per-photon", 2]
    said = run_cli(
        "measure-psf", stack, "--learn", *camera, "--pixel-size-nm", 100, "--psf-fwhm-nm", 230,
        "--out", out,
    )  # fmt: skip
    assert "the fluctuations" in said
    fwhm = float(said.rpartition("--psf-fwhm-nm ")[2])
    assert fwhm == pytest.approx(259, rel=0.03)
    profile = tifffile.imread(out).sum(0)
    at = 25.0 * (np.arange(len(profile)) - len(profile) // 2)
    assert (profile * at**2).sum() ** 0.5 * FWHM_PER_SIGMA == pytest.approx(fwhm, rel=0.01)


def test_that_it_cannot_be_learned_is_an_error(tmp_path: Path, refused: Callable[..., str]) -> None:
    stack = tmp_path / "noise.tif"
    noise = 100 + 2 * np.random.default_rng(0).poisson(20, (12, 32, 32))
    tifffile.imwrite(stack, noise.astype(np.uint16))
    camera = ["--camera", "ccd", "--camera-offset", 100, "--adu-per-photon", 2]
    said = refused("measure-psf", stack, "--learn", *camera, "--psf-fwhm-nm", 260)
    assert "the width of the PSF cannot be learned" in said
