"""The off-grid fit: derivatives, precision against the Cramer-Rao bound, neighbours."""

import numpy as np
import pytest
import torch

from napari_unfold.imaging.camera import CameraModel, to_photons
from napari_unfold.localization.likelihood import CameraLikelihood, Frames
from napari_unfold.localization.localizer import merge
from napari_unfold.localization.peaks import find_spots
from napari_unfold.localization.profiles import GaussianSpot
from napari_unfold.localization.refine import fit
from napari_unfold.localization.spots import Molecules, SpotModel
from napari_unfold.simulation.exposure import expose
from napari_unfold.simulation.scenes import render
from napari_unfold.simulation.simulated_microscope import EMCCD

SIGMA = 1.2
SPOT = GaussianSpot(SIGMA)


def molecules(rows, frame=None, dtype=torch.float64):
    """Molecules from rows of (y, x, photons)."""
    table = torch.tensor(rows, dtype=dtype).reshape(-1, 3)
    frames = torch.zeros(len(table), dtype=torch.long) if frame is None else torch.tensor(frame)
    return Molecules(frames, table[:, :2], table[:, 2])


def test_spots_are_drawn_as_an_independent_renderer_draws_them():
    rows = [(5.3, 6.9, 800.0), (0.2, 15.7, 300.0), (7.0, 7.0, 50.0)]
    model = SpotModel((1, 12, 16), SPOT)
    many = molecules(rows)
    model.locate(many)
    y, x, photons = np.array(rows).T
    expected = render(y, x, photons, (12, 16), 1.0, SIGMA)
    # patches end at four sigma
    np.testing.assert_allclose(model.light(many)[0], expected, atol=800 * 1e-4)


def test_the_jacobian_is_the_derivative():
    one = molecules([(5.3, 6.9, 800.0)])
    model = SpotModel((1, 12, 12), SPOT)
    model.locate(one)

    def patch(position, photons):
        return model.light(Molecules(one.frame, position, photons))

    by_position, by_photons = torch.autograd.functional.jacobian(patch, (one.position, one.photons))
    parts = [by_position[..., 0, 0], by_position[..., 0, 1], by_photons[..., 0]]
    for i, expected in enumerate(parts):
        torch.testing.assert_close(model.add_up(model.jacobian(one)[:, i]), expected)


def test_cutting_out_is_the_transpose_of_adding_up():
    many = molecules([(0.1, 0.1, 1.0), (11.9, 5.0, 1.0), (6.0, 6.0, 1.0)], frame=[0, 1, 1])
    model = SpotModel((2, 12, 9), SPOT)
    model.locate(many)
    frames = torch.rand(2, 12, 9, dtype=torch.float64)
    patches = torch.rand_like(model.cut_out(frames))
    torch.testing.assert_close(
        (model.add_up(patches) * frames).sum(), (patches * model.cut_out(frames)).sum()
    )


def test_the_residual_is_the_derivative_of_the_likelihood():
    y, b = torch.rand(2, 4, 5, dtype=torch.float64) * 50, torch.full((2, 4, 5), 7.0)
    spots = (torch.rand(2, 4, 5, dtype=torch.float64) * 30).requires_grad_()
    pedestal = 9.0 / 2.0
    likelihood = CameraLikelihood(y + pedestal, b.double() + pedestal, 2.0)
    (derivative,) = torch.autograd.grad(likelihood.per_frame(spots).sum(), spots)
    torch.testing.assert_close(likelihood.residual_and_weight(spots)[0], -derivative)


def test_two_molecules_are_told_apart_along_the_right_direction():
    """Fit one spot to two; the elongation points from one to the other."""
    for angle in np.deg2rad([0, 35, 90, 140]):
        step = 0.6 * np.array([np.sin(angle), np.cos(angle)])
        rows = [(8.2 + step[0], 7.7 + step[1], 1e4), (8.2 - step[0], 7.7 - step[1], 1e4)]
        y, x, photons = np.array(rows).T
        frame = torch.tensor(render(y, x, photons, (16, 16), 1.0, SIGMA))[None] + 10.0
        one = molecules([(8.2, 7.7, 2e4)])
        model = SpotModel((1, 16, 16), SPOT)
        model.locate(one)
        likelihood = CameraLikelihood(frame, torch.full_like(frame, 10.0), 1.0)
        residual, _ = likelihood.residual_and_weight(model.light(one))
        found = model.elongation(one, residual)[0].numpy()
        assert abs(found @ step) / 0.6 == pytest.approx(1.0, abs=0.01)


def cramer_rao_px(photons, background, camera, size=17):
    """Bound on the standard deviation of x for a lone molecule, by finite differences."""

    def mean(p):
        return render(p[:1], p[1:2], p[2:], (size, size), 1.0, SIGMA) + background

    at, h = np.array([8.4, 8.6, photons]), 1e-4
    slopes = np.stack([(mean(at + h * e) - mean(at - h * e)) / (2 * h) for e in np.eye(3)])
    variance = camera.excess_noise * mean(at) + camera.read_noise_photons**2
    information = np.einsum("ipq,jpq,pq->ij", slopes, slopes, 1 / variance)
    return np.sqrt(np.linalg.inv(information)[1, 1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "camera",
    [EMCCD, CameraModel(100, 2, 1, 0), CameraModel(100, 2, 1, read_noise_photons=5)],
)
def test_lone_molecules_reach_the_cramer_rao_bound(camera):
    n, photons, background = 600, 1500.0, 20.0
    clean = render(np.array([8.4]), np.array([8.6]), np.array([photons]), (17, 17), 1.0, SIGMA)
    rng = np.random.default_rng(0)
    frames = to_photons(expose(np.repeat(clean[None] + background, n, 0), camera, rng), camera)
    y = torch.tensor(frames)
    start = molecules([(8.0, 9.0, 1000.0)] * n, frame=list(range(n)), dtype=torch.float32)
    read_variance = camera.read_noise_photons**2
    frames = Frames(y, torch.full_like(y, background), SPOT, camera.excess_noise, read_variance)
    found = fit(start, frames, iterations=15)
    error = found.position.numpy() - [8.4, 8.6]
    bound = cramer_rao_px(photons, background, camera)
    assert error.std() == pytest.approx(bound, rel=0.08)
    assert np.abs(error.mean(axis=0)).max() < 5 * bound / np.sqrt(n)
    assert found.photons.mean().item() == pytest.approx(photons, rel=0.01)


def test_overlapping_molecules_are_fitted_together():
    rows = [(8.0, 7.0, 2000.0), (8.5, 8.4, 1500.0), (9.5, 7.2, 1800.0)]
    y, x, photons = np.array(rows).T
    frame = torch.tensor(render(y, x, photons, (17, 16), 1.0, SIGMA) + 5.0)[None]
    start = molecules([(7.7, 6.8, 1500.0), (8.6, 8.7, 1500.0), (9.8, 7.3, 1500.0)])
    found = fit(start, Frames(frame, torch.full_like(frame, 5.0), SPOT), iterations=60)
    # patches end at four sigma, hence not quite exact
    np.testing.assert_allclose(found.position, np.array(rows)[:, :2], atol=0.01)
    np.testing.assert_allclose(found.photons, photons, rtol=0.01)


def test_frames_of_a_batch_do_not_influence_each_other():
    rng = np.random.default_rng(1)
    y = torch.tensor(rng.poisson(20, (3, 20, 20)).astype(np.float64))
    rows = rng.uniform([3, 3, 300], [17, 17, 900], (9, 3))
    frame = np.repeat([0, 1, 2], 3)
    b = torch.full_like(y, 12.0)
    together = fit(molecules(rows, frame=frame), Frames(y, b, SPOT))
    for t in range(3):
        alone = fit(molecules(rows[frame == t]), Frames(y[t : t + 1], b[:1], SPOT))
        torch.testing.assert_close(together.position[frame == t], alone.position)


def test_nothing_to_fit():
    y = torch.zeros(1, 9, 9)
    assert len(fit(molecules([]), Frames(y, y + 1, SPOT))) == 0


def test_spots_are_local_maxima_with_their_centre_of_light():
    x = torch.zeros(2, 24, 24)
    x[0, 5, 7], x[0, 5, 8] = 60.0, 30.0
    x[1, 20, 3] = 15.0
    found = find_spots(x, threshold_photons=10.0, upsampling=4)
    assert found.frame.tolist() == [0, 1]
    np.testing.assert_allclose(
        found.position, [[5.5 / 4, (7.5 + 1 / 3) / 4], [20.5 / 4, 3.5 / 4]], rtol=1e-6
    )
    np.testing.assert_allclose(found.photons, [90, 15])
    assert len(find_spots(x, threshold_photons=20.0, upsampling=4)) == 1


def test_merging_keeps_the_light_and_its_centre_within_each_frame():
    rows = [(5, 5, 100.0), (5, 5.2, 300.0), (9, 9, 50.0), (5, 5.1, 70.0)]
    merged = merge(molecules(rows, frame=[0, 0, 0, 1]), 0.3)
    assert sorted(merged.photons.tolist()) == [50.0, 70.0, 400.0]
    brightest = merged.photons.argmax()
    np.testing.assert_allclose(merged.position[brightest], [5, 5.15])
