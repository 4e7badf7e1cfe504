"""Single molecules told from spots that hold several, and how well photons are known."""

from dataclasses import replace

import numpy as np
import pytest

from napari_unfold.estimation.single_molecules import photon_deviation, share_of_singles
from napari_unfold.simulation.exposure import expose
from napari_unfold.simulation.simulated_microscope import EMCCD
from napari_unfold.simulation.spot_shapes import render


def spots(draw, mu, n, rng):
    """Photons of spots that hold a Poisson number of molecules, at least one."""
    counts = rng.poisson(mu, 10 * n)
    counts = counts[counts > 0][:n]
    return np.array([draw(k).sum() for k in counts]), counts


@pytest.mark.parametrize("mu", [0.2, 0.8, 1.5])
@pytest.mark.parametrize("spread", [0.05, 0.2])
def test_the_mean_of_a_single_molecule_is_found_in_a_crowd(mu, spread):
    rng = np.random.default_rng(1)
    photons, counts = spots(lambda k: rng.normal(1000, spread * 1000, k), mu, 3000, rng)
    share = share_of_singles(photons, mu)
    assert photons.mean() > 1080
    # what scatters beyond the compound distribution counts as single
    near = 0.07 if mu < 1 else 0.15
    assert np.average(photons, weights=share) == pytest.approx(1000, rel=near)
    assert share.mean() == pytest.approx((counts == 1).mean(), abs=near)


def test_spots_without_others_are_single_whatever_their_brightness():
    rng = np.random.default_rng(2)
    photons = rng.lognormal(7, 0.6, 2000)
    assert share_of_singles(photons, 0.001).min() > 0.9


@pytest.mark.parametrize("camera", [EMCCD, replace(EMCCD, excess_noise=1.0, read_noise_photons=3)])
def test_the_deviation_is_that_of_the_best_estimate(camera):
    """The matched estimate over many frames scatters by it (Cramer-Rao)."""
    rng = np.random.default_rng(3)
    spot = render(np.array([10.5]), np.array([10.5]), np.array([1.0]), (21, 21), 1.0, 1.1)
    mean = 20.0 + 800.0 * spot
    weight = spot / (camera.excess_noise * mean + camera.read_noise_photons**2)
    frames = (
        expose(np.broadcast_to(mean, (4000, 21, 21)), camera, rng) - camera.offset_adu
    ) / camera.adu_per_photon
    found = ((frames - 20.0) * weight).sum((1, 2)) / (spot * weight).sum()
    assert photon_deviation(800.0, 20.0, camera, 1.1) == pytest.approx(found.std(), rel=0.05)
