"""How many molecules: isolated ones stay one, pairs are two, noise is none."""

import numpy as np
import pytest
import torch

from napari_unfold.imaging.camera import to_photons
from napari_unfold.localization.brightness import SPREAD, BrightnessPrior
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.model_selection import ModelSelection
from napari_unfold.localization.profiles import GaussianSpot
from napari_unfold.localization.refine import fit
from napari_unfold.localization.spots import Molecules
from napari_unfold.simulation.exposure import expose
from napari_unfold.simulation.scenes import render
from napari_unfold.simulation.simulated_microscope import EMCCD

SIGMA, TYPICAL, BACKGROUND, SIZE = 1.1, 1500.0, 20.0, 17
SPOT = GaussianSpot(SIGMA)
RARE, CROWDED = 0.01, 2.0


def exposed(rows, n, seed=0):
    """Frames of the same molecules (y, x, photons in pixels), with fresh noise in each."""
    y, x, photons = np.array(rows, dtype=float).reshape(-1, 3).T
    clean = render(y, x, photons, (SIZE, SIZE), 1.0, SIGMA) + BACKGROUND
    camera = EMCCD
    frames = expose(np.repeat(clean[None], n, 0), camera, np.random.default_rng(seed))
    data = torch.tensor(to_photons(frames, camera))
    prior = BrightnessPrior(TYPICAL, SPREAD)
    return Frames(data, torch.full_like(data, BACKGROUND), SPOT, camera.excess_noise, 0.0, prior)


def in_each_frame(rows, n):
    """Return the same molecules to start from in every frame."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 3).repeat(n, 1)
    frame = torch.arange(n).repeat_interleave(len(table) // n)
    return Molecules(frame, table[:, :2], table[:, 2])


def settle(frames, start, crowding):
    """Split, add and remove as the localizer does."""
    selection = ModelSelection(frames, torch.full((SIZE, SIZE), crowding), TYPICAL)
    found = fit(start, frames)
    for _ in range(3):
        found = fit(selection.add(selection.split(found)), frames)
    return fit(selection.remove(found), frames)


def counts(found, n):
    """Return the number of molecules in every frame."""
    return np.bincount(found.frame.numpy(), minlength=n)


@pytest.mark.slow
@pytest.mark.parametrize("multiple", [0.3, 1.0, 1.5, 2.0, 3.0, 6.0])
def test_an_isolated_molecule_stays_one_however_bright(multiple):
    n, rows = 100, [(8.4, 8.7, multiple * TYPICAL)]
    found = settle(exposed(rows, n), in_each_frame(rows, n), RARE)
    assert (counts(found, n) == 1).mean() >= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("angle_degrees", [0, 40, 90])
def test_two_molecules_150_nm_apart_are_two(angle_degrees):
    n, angle = 60, np.deg2rad(angle_degrees)
    half = 0.75 * np.array([np.sin(angle), np.cos(angle)])
    truth = np.array([8.4, 8.7]) + np.array([half, -half])
    rows = [(*truth[0], 2000.0), (*truth[1], 2000.0)]
    found = settle(exposed(rows, n), in_each_frame([(8.4, 8.7, 4000.0)], n), RARE)
    assert (counts(found, n) == 2).mean() >= 0.97
    distance = np.linalg.norm(found.position.numpy()[:, None] - truth, axis=2)
    assert np.sqrt(np.mean(distance.min(axis=1) ** 2)) < 0.3


@pytest.mark.slow
def test_brightness_decides_in_a_crowd_and_not_where_molecules_are_rare():
    """Thirty nanometres apart no shape tells: twice the light does, if pairs are to be expected."""
    n = 60
    rows = [(8.4, 8.55, TYPICAL), (8.4, 8.85, TYPICAL)]
    frames, start = exposed(rows, n), in_each_frame([(8.4, 8.7, 2 * TYPICAL)], n)
    assert counts(settle(frames, start, CROWDED), n).mean() > 1.9
    assert counts(settle(frames, start, RARE), n).mean() < 1.2


def test_a_missed_molecule_is_added():
    n = 40
    rows = [(5.2, 5.7, TYPICAL), (11.3, 12.1, TYPICAL)]
    found = settle(exposed(rows, n), in_each_frame(rows[:1], n), RARE)
    assert (counts(found, n) == 2).all()
    nearest = np.linalg.norm(found.position.numpy()[:, None] - np.array(rows)[:, :2], axis=2)
    assert nearest.min(axis=1).max() < 0.6


def test_noise_is_no_molecule():
    n = 200
    found = settle(exposed([], n), in_each_frame([], n), RARE)
    assert len(found) <= 2


def test_what_the_frame_can_do_without_is_removed_and_its_light_kept():
    n = 40
    rows = [(8.4, 8.7, 1.2 * TYPICAL)]
    start = in_each_frame([(8.4, 8.3, 900.0), (8.4, 9.1, 900.0), (3.0, 3.0, 300.0)], n)
    found = settle(exposed(rows, n), start, RARE)
    assert (counts(found, n) == 1).mean() >= 0.95
    assert found.photons.mean().item() == pytest.approx(1.2 * TYPICAL, rel=0.05)


def test_evidence_is_the_likelihood_ratio_of_a_lone_molecule():
    """Without neighbours and prior: log-likelihood with the molecule minus without it."""
    rows = [(8.4, 8.7, 800.0)]
    frames = exposed(rows, 3)
    frames = Frames(frames.y.double(), frames.b.double(), SPOT, frames.excess_noise)
    found = in_each_frame(rows, 3)
    found = Molecules(found.frame, found.position.double(), found.photons.double())
    selection = ModelSelection(frames, torch.full((SIZE, SIZE), RARE), TYPICAL)
    evidence, lone = selection.evidence(found)
    mean = render(*(np.array([v]) for v in rows[0]), (SIZE, SIZE), 1.0, SIGMA) + BACKGROUND
    y = frames.y.numpy()
    with_it = (y * np.log(mean) - mean).sum(axis=(1, 2)) / 2.0
    without = (y * np.log(BACKGROUND) - BACKGROUND).sum(axis=(1, 2)) / 2.0
    assert lone.all()
    # the patch ends at four sigma
    np.testing.assert_allclose(evidence, with_it - without, rtol=1e-3)
