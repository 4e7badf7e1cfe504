"""Maps of a camera on the command line: made of dark and lit stacks, and used."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

RNG = np.random.default_rng(0)


@pytest.fixture
def recorded(tmp_path):
    """Return a folder with a dark stack and two lit ones."""
    stacks = {"dark": RNG.normal(100, 3, (250, 12, 20)).round()}
    stacks |= {f"lit{n}": 100 + 2.0 * RNG.poisson(n, (250, 12, 20)) for n in (100, 1000)}
    for name, values in stacks.items():
        tifffile.imwrite(
            tmp_path / f"{name}.tif", values.astype(np.uint16), photometric="minisblack"
        )
    return tmp_path


def test_maps_are_made_and_the_options_to_use_them_said(recorded, run_cli) -> None:
    stacks = [recorded / f"{name}.tif" for name in ("dark", "lit100", "lit1000")]
    said = run_cli("calibrate-camera", *stacks, "--out", recorded / "maps")
    for name, expected in (("offset", 100), ("variance", 9), ("gain", 2)):
        path = recorded / "maps" / f"{name}.tif"
        assert f"--camera-{name}-map {path}" in said
        values = tifffile.imread(path)
        assert values.shape == (12, 20)
        assert np.median(values) == pytest.approx(expected, rel=0.05)


def test_without_lit_stacks_there_is_no_gain(recorded, run_cli) -> None:
    run_cli("calibrate-camera", recorded / "dark.tif", "--out", recorded / "maps")
    assert {p.name for p in (recorded / "maps").iterdir()} == {"offset.tif", "variance.tif"}


def test_a_lit_stack_that_is_dark_is_refused(recorded, refused) -> None:
    dark = recorded / "dark.tif"
    assert "no brighter" in refused("calibrate-camera", dark, dark, "--out", recorded / "maps")


def test_maps_of_another_camera_are_refused(recorded, refused) -> None:
    tifffile.imwrite(recorded / "gain.tif", np.full((5, 5), 2, np.float32))
    sentence = refused(
        "reconstruct", recorded / "lit100.tif", "--camera", "scmos", "--camera-offset", 100,
        "--camera-gain-map", recorded / "gain.tif", "--psf-fwhm-nm", 258,
        "--out", recorded / "out",
    )  # fmt: skip
    assert "gain map of the camera is 5 x 5 pixels" in sentence
    assert "--camera-gain-map" in sentence
