"""The residuals of good fits are noise; a wrong camera or PSF is seen in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_unfold.localization.fit_quality import FitQuality, fit_quality
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.profiles import GaussianSpot
from napari_unfold.localization.refine import fit
from napari_unfold.localization.spots import Molecules
from napari_unfold.simulation.scenes import render

SIGMA, BACKGROUND = 1.1, 20.0


def scene(sigma_px: float = SIGMA) -> tuple[Frames, Molecules]:
    """Return 30 frames of nine lone molecules each, and these as fitted."""
    rng = np.random.default_rng(3)
    grid = np.array([[y, x] for y in (9.0, 24.0, 39.0) for x in (9.0, 24.0, 39.0)])
    images, rows = [], []
    for t in range(30):
        at = grid + rng.uniform(-0.5, 0.5, grid.shape)
        light = render(at[:, 0], at[:, 1], np.full(9, 1500.0), (48, 48), 1.0, sigma_px)
        images.append(rng.poisson(light + BACKGROUND))
        rows += [(t, *place) for place in at]
    y = torch.tensor(np.array(images), dtype=torch.float32)
    frames = Frames(y, torch.full_like(y, BACKGROUND), GaussianSpot(SIGMA))
    table = torch.tensor(rows)
    start = Molecules(table[:, 0].long(), table[:, 1:].float(), torch.full((len(rows),), 1500.0))
    return frames, fit(start, frames, iterations=10)


def quality_of(frames: Frames, found: Molecules) -> FitQuality:
    return fit_quality(found, frames, torch.full((len(found),), 0.5))


def test_right_model_leaves_the_noise_of_the_camera() -> None:
    quality = quality_of(*scene())
    assert quality.lit_noise == pytest.approx(1.0, abs=0.05)
    assert quality.dark_noise == pytest.approx(1.0, abs=0.03)
    assert abs(quality.width_change) < 4 * quality.width_error
    assert quality.width_error < 0.01
    assert (quality.lone, quality.molecules, quality.crowded) == (270, 270, 0)


@pytest.mark.parametrize("change", [0.92, 0.97, 1.03, 1.08])
def test_the_change_of_width_that_lone_spots_ask_for(change: float) -> None:
    quality = quality_of(*scene(change * SIGMA))
    assert 1.0 + quality.width_change == pytest.approx(change, abs=0.015)


def test_noise_that_the_camera_does_not_have() -> None:
    frames, found = scene()
    assert quality_of(replace(frames, excess_noise=2.0), found).dark_noise == pytest.approx(
        0.5, abs=0.02
    )


def test_pixels_that_tell_nothing_do_not_count() -> None:
    frames, found = scene()
    spoilt = frames.y.clone()
    spoilt[:, 20:22] = 0.0
    ignored = torch.zeros(frames.y.shape[1:])
    ignored[20:22] = 1e8
    quality = quality_of(replace(frames, y=spoilt, read_variance=ignored), found)
    assert quality.dark_noise == pytest.approx(1.0, abs=0.03)
    assert quality.dark_pixels < 30 * 46 * 48


def test_batches_add_up() -> None:
    frames, found = scene()
    whole = quality_of(frames, found)
    parts = FitQuality()
    for t in (slice(0, 10), slice(10, 30)):
        inside = (found.frame >= t.start) & (found.frame < t.stop)
        some = found.select(inside)
        some = Molecules(some.frame - t.start, some.position, some.photons)
        parts += quality_of(replace(frames, y=frames.y[t], b=frames.b[t]), some)
    assert parts.width_change == pytest.approx(whole.width_change, rel=1e-3)
    assert parts.lit_noise == pytest.approx(whole.lit_noise, rel=1e-3)


def test_no_molecules_is_no_error() -> None:
    frames, _ = scene()
    quality = fit_quality(Molecules.none(), frames, torch.zeros(0))
    assert quality.molecules == quality.lone == 0
