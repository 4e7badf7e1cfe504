"""Molecules that stay on: one place, the light of each frame, and in which frames they are on."""

import dataclasses

import numpy as np
import pytest
import torch

from napari_unfold.localization.anchors import Anchors
from napari_unfold.localization.brightness import BrightnessPrior
from napari_unfold.localization.cut_tracks import cut
from napari_unfold.localization.join_tracks import join
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.model_selection import ModelSelection
from napari_unfold.localization.profiles import GaussianSpot
from napari_unfold.localization.refine import fit
from napari_unfold.localization.refine_tracks import anchors_of_rows, fit_tracks, row_terms
from napari_unfold.localization.row_knowledge import row_knowledge
from napari_unfold.localization.spots import Molecules
from napari_unfold.localization.staying import measure_staying
from napari_unfold.localization.track_selection import TrackSelection
from napari_unfold.localization.tracks import Tracks
from napari_unfold.simulation.scenes import render

SIGMA, PHOTONS, BACKGROUND, SIZE = 1.2, 1000.0, 10.0, 24
SPOT = GaussianSpot(SIGMA)
STAYING, DENSITY = 0.9, 0.01


def movie(molecules, n_frames, seed=0, noise=True, dtype=torch.float32):
    """Frames of molecules (y, x, first frame, last frame), all equally bright."""
    clean = np.full((n_frames, SIZE, SIZE), BACKGROUND)
    for y, x, first, last in molecules:
        spot = render(np.array([y]), np.array([x]), np.array([PHOTONS]), (SIZE, SIZE), 1.0, SIGMA)
        clean[first : last + 1] += spot
    seen = np.random.default_rng(seed).poisson(clean) if noise else clean
    y = torch.tensor(seen, dtype=dtype)
    prior = BrightnessPrior(PHOTONS, 0.2)
    return Frames(y, torch.full_like(y, BACKGROUND), SPOT, 1.0, 0.0, prior)


def rows(of_tracks, dtype=torch.float32):
    """Tracks (y, x, first frame, last frame) with rows in all their frames."""
    track = [i for i, (_, _, a, b) in enumerate(of_tracks) for _ in range(a, b + 1)]
    frame = [t for _, _, a, b in of_tracks for t in range(a, b + 1)]
    position = torch.tensor([[y, x] for y, x, _, _ in of_tracks], dtype=dtype)
    each = torch.arange(len(of_tracks))
    return Tracks(
        each, position, Anchors.none(position), torch.zeros(len(each), dtype=torch.bool),
        torch.tensor(track), torch.tensor(frame), torch.full((len(track),), PHOTONS, dtype=dtype),
    )  # fmt: skip


def intervals(tracks):
    """First and last frame of every track; rows too faint for the table do not count."""
    tracks = tracks.select_rows(tracks.photons > 0.15 * PHOTONS)
    return sorted(zip(tracks.first.tolist(), tracks.last.tolist(), strict=True))


def knowledge_of(tracks, frames):
    return row_knowledge(tracks, frames, anchors_of_rows(tracks, row_terms(tracks, frames)))


def dense(tracks):
    return torch.full((len(tracks),), DENSITY, dtype=torch.float64)


# ---- the fit


def test_the_terms_of_rows_are_the_derivatives_of_the_loss():
    frames = movie([(9.0, 9.0, 0, 2), (10.0, 11.5, 1, 3)], 4, dtype=torch.float64)
    tracks = rows([(9.1, 8.9, 0, 2), (10.2, 11.4, 1, 3)], torch.float64)
    position = tracks.position.clone().requires_grad_()
    photons = (0.9 * tracks.photons).requires_grad_()
    moved = Tracks(
        tracks.number, position, tracks.carried, tracks.begun, tracks.track, tracks.frame, photons
    )
    light = frames.spot_model(moved.molecules).light(moved.molecules)
    loss = frames.likelihood.per_frame(light).sum() + frames.prior.penalty(photons).sum()
    by_position, by_photons = torch.autograd.grad(loss, (position, photons))
    with torch.no_grad():
        terms = row_terms(moved, frames)
    torch.testing.assert_close(
        moved.total(terms.gradient[:, :2]), -by_position, rtol=1e-3, atol=1e-2
    )
    torch.testing.assert_close(terms.gradient[:, 2], -by_photons, rtol=1e-3, atol=1e-4)


def test_tracks_of_one_frame_are_fitted_as_molecules():
    frames = movie([(8.0, 8.0, 0, 0), (9.5, 10.0, 0, 0), (15.0, 6.0, 1, 1)], 2)
    start = Molecules(
        torch.tensor([0, 0, 1]),
        torch.tensor([[8.2, 7.9], [9.3, 10.1], [15.1, 6.2]]),
        torch.full((3,), 900.0),
    )
    alone, together = fit(start, frames, 12), fit_tracks(Tracks.of(start), frames, 12)
    torch.testing.assert_close(together.position, alone.position, atol=5e-3, rtol=0)
    torch.testing.assert_close(together.photons, alone.photons, rtol=0.01, atol=0)


@pytest.mark.parametrize("n", [1, 4, 16])
def test_n_frames_place_a_molecule_square_root_of_n_times_better(n):
    errors, stated = [], []
    for seed in range(20):
        at = [
            (5.3, 6.1, 0, n - 1),
            (6.0, 18.2, 0, n - 1),
            (17.7, 5.9, 0, n - 1),
            (18, 18, 0, n - 1),
        ]
        frames = movie(at, n, seed)
        tracks = fit_tracks(rows(at), frames)
        errors.append((tracks.position - rows(at).position).numpy())
        covariance = knowledge_of(tracks, frames).of_tracks(tracks)
        stated.append(covariance.diagonal(dim1=1, dim2=2).sqrt().numpy())
    # the bound of one frame: 1.2 px / sqrt(1000 photons), more by the background
    assert 0.9 < np.mean(stated) * np.sqrt(n) / (SIGMA / np.sqrt(PHOTONS)) < 1.5
    assert 0.85 < (np.array(errors) / np.array(stated)).std() < 1.15


def test_frames_before_the_window_keep_a_track_in_its_place():
    frames = movie([(10.0, 10.0, 0, 0)], 1, noise=False)
    start = rows([(10.0, 10.0, 0, 0)])
    place = torch.tensor([[10.4, 10.0]])
    knowing = Anchors(place, torch.zeros(1, 2), 1e6 * torch.eye(2)[None])
    held = fit_tracks(
        Tracks(start.number, place, knowing, torch.tensor([True]), start.track, start.frame,
               start.photons), frames,
    )  # fmt: skip
    torch.testing.assert_close(held.position, place, atol=1e-3, rtol=0)


def test_covariances_of_overlapping_molecules_are_those_of_the_joint_fit():
    # the second is alone in half of its frames, which tell its place
    at = [(10.0, 9.2, 0, 3), (10.0, 11.0, 0, 7)]
    frames = movie(at, 8, noise=False, dtype=torch.float64)
    tracks = rows(at, torch.float64)

    def loss(p):
        moved = Tracks(
            tracks.number, p[:4].view(2, 2), tracks.carried, tracks.begun, tracks.track,
            tracks.frame, 1000 * p[4:],
        )  # fmt: skip
        light = frames.spot_model(moved.molecules).light(moved.molecules)
        return frames.likelihood.per_frame(light).sum() + frames.prior.penalty(moved.photons).sum()

    at_truth = torch.cat([tracks.position.flatten(), tracks.photons / 1000])
    exact = torch.linalg.inv(torch.autograd.functional.hessian(loss, at_truth))[:4, :4]
    covariance = knowledge_of(tracks, frames).of_tracks(tracks)
    stated = covariance.diagonal(dim1=1, dim2=2).flatten().sqrt()
    torch.testing.assert_close(stated, exact.diagonal().sqrt(), rtol=0.15, atol=0)


def test_no_frame_takes_certainty_away():
    # far too many molecules for the light, known from a thousand frames: rounding is all there is
    at = [(10.0 + 0.05 * i, 10.0, 0, 2) for i in range(6)]
    frames = movie(at[:1], 3)
    tracks = rows(at)
    sure = Anchors(tracks.position, torch.zeros(6, 2), 1e7 * torch.eye(2).expand(6, 2, 2))
    tracks = dataclasses.replace(tracks, carried=sure, photons=0 * tracks.photons + 1.0)
    information = knowledge_of(tracks, frames).information
    assert (torch.linalg.eigvalsh(information) >= -1e-9).all()


# ---- joining and cutting


@pytest.mark.parametrize(("distance", "count"), [(0.05, 1), (0.15, 1), (0.6, 2)])
def test_what_follows_at_the_same_place_is_one_molecule(distance, count):
    tracks = rows([(10.0, 10.0, 2, 5), (10.0 + distance, 10.0, 6, 9)])
    covariance = (0.05**2 * torch.eye(2, dtype=torch.float64)).expand(2, 2, 2)
    joined = join(tracks, covariance, dense(tracks), STAYING)
    assert len(joined) == count
    assert joined.number[0] == 0
    assert len(joined.track) == len(tracks.track)


def test_a_track_goes_on_as_the_likeliest_of_several():
    tracks = rows([(10.0, 10.0, 0, 3), (10.1, 10.0, 4, 6), (10.02, 10.0, 4, 8)])
    covariance = (0.05**2 * torch.eye(2, dtype=torch.float64)).expand(3, 2, 2)
    assert intervals(join(tracks, covariance, dense(tracks), STAYING)) == [(0, 8), (4, 6)]


def test_a_jump_is_two_molecules_where_it_happened():
    frames = movie([(10.0, 10.0, 0, 4), (10.0, 10.5, 5, 11)], 12)
    tracks = fit_tracks(rows([(10.0, 10.3, 0, 11)]), frames)
    halves = cut(tracks, knowledge_of(tracks, frames), dense(tracks), STAYING, 7)
    assert intervals(halves) == [(0, 4), (5, 11)]
    assert halves.number.tolist() == [0, 7]


@pytest.mark.parametrize("drift_px", [0.0, 0.04])
def test_a_molecule_that_stays_or_drifts_slowly_is_one(drift_px):
    steps = [(10.0, 10.0 + drift_px * t, t, t) for t in range(12)]
    frames = movie(steps, 12)
    tracks = fit_tracks(rows([(10.0, 10.0 + 6 * drift_px, 0, 11)]), frames)
    assert len(cut(tracks, knowledge_of(tracks, frames), dense(tracks), STAYING, 7)) == 1


# ---- in which frames


def selection(frames):
    crowding = torch.full((SIZE, SIZE), 0.1)
    return TrackSelection(ModelSelection(frames, crowding, PHOTONS), STAYING)


@pytest.mark.parametrize("seed", range(5))
def test_tracks_are_extended_as_far_as_there_is_light(seed):
    frames = movie([(10.0, 10.0, 2, 7)], 10, seed)
    tracks = rows([(10.0, 10.0, 4, 5)])
    for _ in range(4):
        tracks = fit_tracks(selection(frames).extend(tracks), frames)
    assert intervals(tracks) == [(2, 7)]


@pytest.mark.parametrize("seed", range(5))
def test_tracks_are_shortened_to_where_there_is_light(seed):
    frames = movie([(10.0, 10.0, 2, 7)], 10, seed)
    tracks = fit_tracks(rows([(10.0, 10.0, 0, 9)]), frames)
    for _ in range(3):
        tracks = fit_tracks(selection(frames).remove(tracks), frames)
    assert intervals(tracks) == [(2, 7)]


def test_a_molecule_whose_place_is_known_is_told_from_one_beside_it():
    # 0.6 sigma apart, on together in frame 3, where a single frame sees one bright spot
    at = [(10.0, 10.0, 0, 3), (10.0, 10.7, 3, 8)]
    frames = movie(at, 9)
    merged = rows([(10.0, 10.0, 0, 2), (10.0, 10.35, 3, 3), (10.0, 10.7, 4, 8)])
    tracks = fit_tracks(merged, frames)
    for _ in range(4):
        tracks = fit_tracks(selection(frames).extend(tracks), frames)
        tracks = fit_tracks(selection(frames).remove(tracks), frames)
    covariance = knowledge_of(tracks, frames).of_tracks(tracks)
    tracks = join(tracks, covariance, dense(tracks), STAYING)
    assert intervals(tracks) == [(0, 3), (3, 8)]


# ---- whether molecules stay on


@pytest.mark.parametrize("on_frames", [1, 3, 20])
def test_staying_is_measured(on_frames):
    rng = np.random.default_rng(3)
    frame, position = [], []
    for start in rng.integers(-60, 100, 900):
        length = rng.geometric(1.0 / on_frames) if on_frames > 1 else 1
        place = rng.uniform(0, 64, 2)
        for t in range(max(start, 0), min(start + length, 100)):
            frame.append(t)
            position.append(place + rng.normal(scale=0.1, size=2))
    variance = np.full((len(frame), 2), 0.01)
    staying = measure_staying(np.array(frame), np.array(position), variance)
    expected = 1.0 - 1.0 / on_frames
    assert abs(staying.probability - max(expected, 0.05)) < 0.05 + 4 * staying.error
    assert staying.is_worthwhile == (on_frames > 1)


def test_few_molecules_tell_nothing_of_staying():
    assert not measure_staying(np.zeros(0, int), np.zeros((0, 2)), np.zeros((0, 2))).is_worthwhile
