"""``measure-psf``: from a recording of beads to an image that ``--psf-image`` takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_unfold.imaging.psf import measured_psf
from napari_unfold.localization.profiles import spot_of
from napari_unfold.simulation.scenes import render


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
