"""What is expected of photons: stated around one value, or learned from molecules."""

import math

import numpy as np
import pytest
import torch

from napari_unfold.localization.brightness import BrightnessPrior, LearnedBrightness

TIGHT = 40.0


def learned(photons, weights=None, deviation=TIGHT):
    photons = np.asarray(photons, float)
    weights = np.ones_like(photons) if weights is None else weights
    return LearnedBrightness(photons, weights, lambda _: deviation)


def priors():
    rng = np.random.default_rng(1)
    return {
        "stated": BrightnessPrior(1000.0, 0.2),
        "narrow": learned(rng.normal(1000, 30, 2000)),
        "wide": learned(rng.lognormal(math.log(1000), 0.6, 2000)),
    }


@pytest.mark.parametrize("name", ["stated", "narrow", "wide"])
def test_the_slope_is_the_derivative_of_the_penalty(name):
    prior = priors()[name]
    q = torch.tensor([150.0, 400.0, 900.0, 1100.0, 2500.0, 6000.0], dtype=torch.float64)
    step = 2e-2 * q
    difference = (prior.penalty(q + step) - prior.penalty(q - step)) / (2 * step)
    slope, _ = prior.slope_and_curvature(q)
    torch.testing.assert_close(slope, difference.to(slope), rtol=0.2, atol=3e-4)


@pytest.mark.parametrize("name", ["stated", "narrow", "wide"])
def test_curvatures_are_positive_and_steps_shorter_than_the_photons(name):
    prior = priors()[name]
    q = torch.logspace(0, 6, 200)
    slope, curvature = prior.slope_and_curvature(q)
    assert (curvature > 0).all()
    assert (prior.information(q) >= 0).all()
    if name != "stated":
        assert ((slope / curvature).abs() <= 1.0001 * q).all()


def test_the_penalty_follows_the_distribution_of_the_molecules():
    """Seen twice as often, a brightness costs log 2 less."""
    rng = np.random.default_rng(2)
    prior = learned(np.concatenate([rng.normal(500, 60, 2000), rng.normal(1500, 60, 4000)]))
    faint, bright = prior.penalty(torch.tensor([500.0, 1500.0]))
    assert float(faint - bright) == pytest.approx(math.log(2), abs=0.25)
    assert float(prior.penalty(torch.tensor(1000.0))) > float(faint)


def test_weights_count_as_often_as_they_say():
    q = np.linspace(800, 1200, 101)
    weights = np.where(q < 1000, 3.0, 1.0)
    often = learned(np.repeat(q, weights.astype(int)))
    torch.testing.assert_close(
        learned(q, weights).penalty(torch.tensor(q)), often.penalty(torch.tensor(q))
    )
    assert learned(q, weights).mean == pytest.approx(often.mean)


def test_the_commonest_brightness_costs_what_measuring_it_tells():
    """Normal photons of deviation S, measured within s: -log of s / sqrt(s^2 + S^2), about."""
    rng = np.random.default_rng(3)
    for spread in (150.0, 400.0):
        prior = learned(rng.normal(3000, spread, 20_000), deviation=TIGHT)
        wider = math.hypot(spread, prior.width)
        expected = -math.log(TIGHT / math.hypot(wider, TIGHT))
        commonest = float(prior.penalty(torch.linspace(2000, 4000, 500)).min())
        assert commonest == pytest.approx(expected, abs=0.5)


def test_photons_never_seen_are_possible_at_a_price():
    prior = learned(np.random.default_rng(4).normal(1000, 30, 500))
    penalty = prior.penalty(torch.tensor([1e-3, 10.0, 1000.0, 1e4, 1e7]))
    assert torch.isfinite(penalty).all()
    assert float(penalty.max()) < 25
