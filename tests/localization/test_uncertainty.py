"""Stated uncertainties: the Cramer-Rao bound of one, more beside others, as large as the errors."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial import cKDTree

from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
from napari_unfold.files.stacks import as_stack
from napari_unfold.imaging.camera import CameraModel, noise_variance
from napari_unfold.jobs import run_to_end
from napari_unfold.localization.brightness import BrightnessPrior
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.profiles import GaussianSpot
from napari_unfold.localization.spots import Molecules
from napari_unfold.localization.uncertainty import pair_odds, uncertainties
from napari_unfold.reconstruction.reconstruct import reconstruct
from napari_unfold.simulation.scenes import render, simulate
from napari_unfold.simulation.simulated_microscope import EMCCD, MICROSCOPE

SIGMA, BACKGROUND, SIZE = 1.2, 20.0, 21
SPOT = GaussianSpot(SIGMA)


def stated(rows, camera=EMCCD, crowding=0.0, prior=BrightnessPrior()):  # noqa: B008
    """Uncertainties (y, x, photons) of molecules in one frame without noise."""
    table = torch.tensor(rows, dtype=torch.float64)
    y, x, photons = np.array(rows).T
    mean = torch.tensor(render(y, x, photons, (SIZE, SIZE), 1.0, SIGMA) + BACKGROUND)[None]
    frames = Frames(
        mean, torch.full_like(mean, BACKGROUND), SPOT,
        camera.excess_noise, camera.read_noise_photons**2, prior,
    )  # fmt: skip
    molecules = Molecules(torch.zeros(len(rows), dtype=torch.long), table[:, :2], table[:, 2])
    return uncertainties(molecules, frames, torch.full((len(rows),), crowding)).numpy()


def cramer_rao(rows, camera):
    """Bounds (y, x, photons) on the errors of a joint fit, derivatives by finite differences."""
    at, h = np.array(rows).ravel(), 1e-4

    def mean(p):
        y, x, photons = p.reshape(-1, 3).T
        return render(y, x, photons, (SIZE, SIZE), 1.0, SIGMA) + BACKGROUND

    slopes = np.stack([(mean(at + h * e) - mean(at - h * e)) / (2 * h) for e in np.eye(len(at))])
    information = np.einsum("ipq,jpq,pq->ij", slopes, slopes, 1 / noise_variance(mean(at), camera))
    return np.sqrt(np.linalg.inv(information).diagonal()).reshape(-1, 3)


@pytest.mark.parametrize(
    "camera", [EMCCD, CameraModel(100, 2, 1, 0), CameraModel(100, 2, 1, read_noise_photons=5)]
)
@pytest.mark.parametrize(
    "rows",
    [
        [(10.4, 10.7, 1500.0)],
        [(10.4, 9.7, 1500.0), (10.4, 11.7, 2500.0)],
        [(10.4, 9.0, 3000.0), (11.9, 10.4, 3000.0), (9.4, 11.1, 2000.0)],
        [(0.2, 10.3, 2000.0)],
    ],
    ids=["alone", "two", "three", "at the border"],
)
def test_the_cramer_rao_bound_of_the_joint_fit(rows, camera):
    # that molecules lie within a spot counts as information, a little
    np.testing.assert_allclose(stated(rows, camera), cramer_rao(rows, camera), rtol=0.03)


def test_a_neighbour_takes_certainty_away_most_along_the_line_between():
    alone = stated([(10.4, 9.7, 2000.0)])[0]
    beside = stated([(10.4, 9.7, 2000.0), (10.4, 11.2, 2000.0)])[0]
    assert beside[1] > 1.5 * alone[1]
    assert alone[0] < beside[0] < beside[1]
    assert beside[2] > 1.5 * alone[2]


def test_molecules_at_the_same_place_have_large_and_equal_uncertainties():
    prior = BrightnessPrior(2000.0, 0.2)
    two = stated([(10.4, 9.7, 2000.0), (10.4, 9.7, 2000.0)], prior=prior)
    assert np.isfinite(two).all()
    np.testing.assert_allclose(two[0], two[1], rtol=1e-3)
    assert two[0, 0] > 3 * stated([(10.4, 9.7, 2000.0)])[0, 0]


class Exponential:
    """Exponentially distributed photons."""

    def penalty(self, photons):
        return photons / 700.0


def test_two_exponential_brightnesses_make_a_gamma_distribution():
    photons = torch.tensor([200.0, 700.0, 3000.0])
    odds = pair_odds(photons, Exponential())
    torch.testing.assert_close(odds, photons / 700.0, rtol=0.01, atol=0)


def test_no_molecules_have_no_odds():
    assert len(pair_odds(torch.zeros(0), BrightnessPrior(1000.0, 0.2))) == 0


@pytest.mark.parametrize("of_several", [[2000.0], [1000.0, 2000.0, 9000.0]])
def test_equally_bright_molecules_hide_no_second_one(of_several):
    odds = pair_odds(torch.tensor([1000.0, *of_several]), BrightnessPrior(1000.0, 0.02))
    assert odds[0] < 0.01
    assert odds[1:][torch.tensor(of_several) == 2000.0] > 10


def test_crowding_adds_to_the_uncertainty_where_a_spot_may_be_a_pair():
    rows = [(10.4, 9.7, 2000.0)]
    for prior, added in ((BrightnessPrior(2000.0, 0.02), False), (BrightnessPrior(), True)):
        sparse, crowded = stated(rows, prior=prior)[0], stated(rows, crowding=1.0, prior=prior)[0]
        assert ((crowded[:2] > 1.1 * sparse[:2]) == added).all()
        assert crowded[2] == sparse[2]


def localized(density, frames, seed, **changes):
    """Simulate, reconstruct with the shipped preset, and return simulation and table."""
    made = simulate("random", frames=frames, density_per_um2=density, seed=seed, **changes)
    preset = load_preset(DEFAULT_PRESET)
    recipe = MICROSCOPE.model_copy(update={"localization": preset.localization})
    result = run_to_end(reconstruct(as_stack(made.stack), recipe, preset))
    return made, result.localizations


@pytest.mark.slow
@pytest.mark.parametrize(
    ("density", "frames", "photons"),
    [(0.1, 40, 1500.0), (2.0, 8, 1500.0), (2.0, 8, 600.0), (6.0, 5, 2500.0)],
)
def test_errors_are_as_large_as_stated(density, frames, photons):
    """Standard deviation of error over uncertainty, of all that lie within 100 nm of the truth."""
    made, table = localized(density, frames, 31, shape=(48, 48), molecule_photons=photons)
    points = [t[["frame", "y_nm", "x_nm"]].to_numpy() * [1e4, 1, 1] for t in (table, made.truth)]
    distance, nearest = cKDTree(points[1]).query(points[0])
    matched = distance < 100
    error = (points[0] - points[1][nearest])[matched, 1:]
    uncertainty = table.loc[matched, ["uncertainty_y_nm", "uncertainty_x_nm"]].to_numpy()
    assert 0.85 < (error / uncertainty).std() < 1.2


@pytest.fixture(scope="module")
def evenly_spread():
    return localized(2.5, 24, 41, shape=(40, 40))


@pytest.mark.slow
@pytest.mark.parametrize("period_nm", [100.0, 25.0], ids=["camera pixel", "fine pixel"])
@pytest.mark.parametrize("axis", ["x_nm", "y_nm"])
def test_positions_do_not_prefer_any_part_of_a_pixel(evenly_spread, axis, period_nm):
    phase = evenly_spread[1][axis].to_numpy() % period_nm / period_nm
    histogram, _ = np.histogram(phase, bins=10, range=(0, 1))
    assert histogram.sum() > 800
    assert stats.chisquare(histogram).pvalue > 1e-3


@pytest.mark.slow
def test_nothing_piles_up_at_the_border_nor_is_missing_there(evenly_spread):
    made, table = evenly_spread
    size = 4000.0

    def from_border(t):
        return np.minimum.reduce([t["x_nm"], t["y_nm"], size - t["x_nm"], size - t["y_nm"]])

    found, true = from_border(table), from_border(made.truth)
    assert found.min() >= 0
    for width in (5.0, 20.0, 100.0):
        n_found, n_true = (found < width).sum(), (true < width).sum()
        assert abs(n_found - n_true) <= 4 * np.sqrt(n_true + 1)


@pytest.mark.slow
def test_every_localization_says_what_is_known_of_it(evenly_spread):
    _, table = evenly_spread
    known = ["photons", "background_photons", "noise_photons", "sigma_nm", "uncertainty_nm",
             "uncertainty_x_nm", "uncertainty_y_nm", "uncertainty_photons", "quality"]  # fmt: skip
    assert np.isfinite(table[known].to_numpy()).all()
    assert (table[known[:-1]].to_numpy() > 0).all()
    squares = (table["uncertainty_x_nm"] ** 2 + table["uncertainty_y_nm"] ** 2) / 2
    np.testing.assert_allclose(table["uncertainty_nm"] ** 2, squares)
