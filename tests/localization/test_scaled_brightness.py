"""Molecules that are lit half as bright have the same distribution, of half the photons."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_unfold.localization.brightness import (
    Brightness,
    BrightnessPrior,
    LearnedBrightness,
    ScaledBrightness,
)

PHOTONS = np.random.default_rng(0).lognormal(7.0, 0.3, 500)
PRIORS = [
    BrightnessPrior(1000.0, 0.2),
    LearnedBrightness(PHOTONS, np.ones(500), lambda photons: 5.0 + 0.1 * photons),
]


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
def test_the_penalty_is_that_of_the_photons_in_usual_light(prior: Brightness, scale: float) -> None:
    photons = torch.linspace(100.0, 4000.0, 50)
    scaled = ScaledBrightness(prior, scale)
    torch.testing.assert_close(scaled.penalty(scale * photons), prior.penalty(photons))


@pytest.mark.parametrize("prior", PRIORS)
def test_its_slope_is_its_derivative(prior: Brightness) -> None:
    scaled, step = ScaledBrightness(prior, 0.6), 2.0
    photons = torch.linspace(300.0, 1500.0, 20)
    slope, curvature = scaled.slope_and_curvature(photons)
    change = scaled.penalty(photons + step) - scaled.penalty(photons - step)
    torch.testing.assert_close(slope, change / (2 * step), atol=3e-4, rtol=0.1)
    assert (curvature > 0).all()
    assert (scaled.information(photons) >= 0).all()
