"""The compiled fits are those that are written in torch, whatever the spot, prior and camera.

Single precision on the CPU is fitted by the compiled form, double precision by the one in torch:
the same scene is fitted in both.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unfold.localization import kernels
from napari_unfold.localization.anchors import Anchors
from napari_unfold.localization.brightness import (
    BrightnessPrior,
    LearnedBrightness,
    ScaledBrightness,
)
from napari_unfold.localization.compiled_spots import prior_at, profile, solve
from napari_unfold.localization.likelihood import NO_PRIOR, Frames
from napari_unfold.localization.patch_arrays import CompiledPatches
from napari_unfold.localization.patches import Patches, neighbourhoods, patches_around
from napari_unfold.localization.profiles import GaussianSpot, MeasuredSpot
from napari_unfold.localization.refine import fit
from napari_unfold.localization.refine_tracks import fit_tracks, row_terms
from napari_unfold.localization.spots import Molecules
from napari_unfold.localization.tracks import Tracks

PHOTONS = np.random.default_rng(0).lognormal(7.0, 0.3, 500)
LEARNED = LearnedBrightness(PHOTONS, np.ones(500), lambda photons: 5.0 + 0.1 * photons)
PRIORS = [NO_PRIOR, BrightnessPrior(1000.0, 0.2), LEARNED, ScaledBrightness(LEARNED, 0.7)]


def lopsided_spot():
    """Return a measured image that is no product of profiles."""
    at = np.arange(-48, 49) / 8.0
    y, x = at[:, None], at
    core = np.exp(-(x**2 + y**2) / 2.6)
    tail = 0.3 * np.exp(-((x - 1.2) ** 2 + (y + 0.4) ** 2 + 0.9 * (x - 1.2) * (y + 0.4)) / 3.0)
    return MeasuredSpot(core + tail, 8, 1.2)


SPOTS = [GaussianSpot(1.1), GaussianSpot(0.6), lopsided_spot()]
SHAPE = (3, 22, 18)


def scene(seed, spot, prior=PRIORS[1], n=30, dtype=torch.float32):
    """Noisy frames of molecules, some of them at the border, and molecules near the true ones."""
    draw = torch.Generator().manual_seed(seed)

    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(*shape, generator=draw, dtype=torch.float64)

    size = torch.tensor(SHAPE[1:])
    true = Molecules(
        torch.randint(0, SHAPE[0], (n,), generator=draw),
        uniform(0.0, 1.0, n, 2) * size,
        uniform(400.0, 1600.0, n),
    )
    b = uniform(5.0, 15.0, *SHAPE)
    variance = uniform(0.5, 3.0, *SHAPE[1:])
    empty = Frames(b, b, spot, 1.4, variance)
    y = torch.poisson(empty.spot_model(true).light(true) + b, generator=draw)
    start = Molecules(
        true.frame, true.position + uniform(-0.2, 0.2, n, 2), true.photons * uniform(0.8, 1.2, n)
    )
    frames = Frames(y.float().to(dtype), b.float().to(dtype), spot, 1.4, variance.to(dtype), prior)
    return frames, Molecules(start.frame, start.position.to(dtype), start.photons.to(dtype))


def in_both(seed, spot, prior=PRIORS[1]):
    """Return a scene in single precision, to be compiled, and in double precision, for torch."""
    return [scene(seed, spot, prior, dtype=dtype) for dtype in (torch.float32, torch.float64)]


def anchors_for(molecules):
    """Return what other frames might tell of the positions."""
    h = molecules.position.new_tensor([[40.0, 7.0], [7.0, 25.0]]).expand(len(molecules), 2, 2)
    return Anchors(molecules.position + 0.1, 2.0 + torch.zeros_like(molecules.position), h)


def hoods(frames, molecules, anchors=None):
    light = frames.spot_model(molecules).light(molecules)
    everyone = torch.arange(len(molecules))
    return list(neighbourhoods(frames, molecules, everyone, light, 3.0, 4, anchors))


def as_tracks(molecules):
    """Tracks of two rows each, and one that frames before the window know."""
    n = len(molecules)
    tracks = Tracks.of(molecules)
    twice = replace(
        tracks,
        track=torch.cat([tracks.track, tracks.track[: n // 2]]),
        frame=torch.cat([tracks.frame, (tracks.frame[: n // 2] + 1) % SHAPE[0]]),
        photons=torch.cat([tracks.photons, tracks.photons[: n // 2]]),
    )
    known = anchors_for(molecules)
    return replace(twice, carried=known)


seeds = st.integers(0, 2**31)
a_few = settings(max_examples=10, deadline=None)


@pytest.mark.parametrize("spot", SPOTS)
@pytest.mark.parametrize("axis", [0, 1])
def test_profiles_and_their_slopes(spot, axis):
    pixels = torch.arange(-3, 15)[None]
    for at in (-0.9, 0.0, 5.0, 5.37, 11.999):
        position = torch.tensor([at], dtype=torch.float32)
        wanted = [part[0].T for part in spot.profiles(axis, pixels, position.double())]
        found = np.empty((2, *wanted[0].shape), np.float32)
        pieces = spot.splines[axis]
        profile(pieces, spot.splines, -3, 12, position.numpy()[0], found[0], found[1])
        for value, expected in zip(found, wanted, strict=True):
            inside = (pixels[0] >= 0) & (pixels[0] < 12)
            np.testing.assert_allclose(value, expected * inside, atol=2e-6)


@pytest.mark.parametrize("prior", PRIORS)
def test_the_prior_and_its_derivatives(prior):
    photons = torch.logspace(-1, 5, 60, dtype=torch.float32)
    numbers = prior.as_numbers()
    found = np.array([prior_at(numbers, q) for q in photons.numpy()]).T
    slope, safe = prior.slope_and_curvature(photons)
    for value, expected in zip(
        found, (prior.penalty(photons), slope, safe, prior.information(photons)), strict=True
    ):
        largest = float(expected.abs().max())
        np.testing.assert_allclose(value, expected, rtol=2e-3, atol=1e-4 * largest)


@a_few
@given(seeds, st.integers(1, 12))
def test_symmetric_equations_are_solved(seed, n):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n + 3))
    matrix, right = a @ a.T, rng.normal(size=(n, 2))
    expected = np.linalg.solve(matrix, right)
    solve(np.triu(matrix), right)
    np.testing.assert_allclose(right, expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("spot", SPOTS)
@pytest.mark.parametrize("anchored", [False, True])
@a_few
@given(seed=seeds)
def test_patches_have_the_same_loss_and_derivatives(spot, anchored, seed):
    compiled, readable = (
        hoods(frames, molecules, anchors_for(molecules) if anchored else None)
        for frames, molecules in in_both(seed, spot, LEARNED)
    )
    for fast, slow in zip(compiled, readable, strict=True):
        assert isinstance(fast.patches, CompiledPatches)
        assert isinstance(slow.patches, Patches)
        loss = slow.patches.loss(slow.spots)
        torch.testing.assert_close(fast.patches.loss(fast.spots).double(), loss, rtol=0, atol=0.01)
        for found, expected in zip(
            fast.patches.gradient_and_information(fast.spots),
            slow.patches.gradient_and_information(slow.spots),
            strict=True,
        ):
            largest = float(expected.abs().max())
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * largest)


@pytest.mark.parametrize("spot", SPOTS)
@pytest.mark.parametrize("anchored", [False, True])
@a_few
@given(seed=seeds)
def test_patches_are_fitted_alike(spot, anchored, seed):
    (frames, molecules), (exact, same) = in_both(seed, spot)
    alone = [m.table[:, None] for m in (molecules, same)]
    anchors = [anchors_for(m) for m in (molecules, same)]
    anchors = [Anchors(*(p[:, None] for p in vars(a).values())) for a in anchors]
    fitted = []
    for f, m, spots, known in zip((frames, exact), (molecules, same), alone, anchors, strict=True):
        light = f.spot_model(m).light(m)
        around = patches_around(m, spots, f, light, known if anchored else None)
        fitted.append(around.fit(spots, 12))
    (spots, loss), (expected, least) = fitted
    torch.testing.assert_close(loss.double(), least, rtol=0, atol=0.02)
    inside = ((expected[:, 0, :2] > 0) & (expected[:, 0, :2] < 18)).all(1)
    torch.testing.assert_close(
        spots[inside, 0, :2].double(), expected[inside, 0, :2], rtol=0, atol=0.01
    )


@pytest.mark.parametrize("spot", SPOTS)
@pytest.mark.parametrize("prior", PRIORS)
@a_few
@given(seed=seeds)
def test_frames_are_fitted_alike(spot, prior, seed):
    (frames, molecules), (exact, same) = in_both(seed, spot, prior)
    one, expected = fit(molecules, frames, 1), fit(same, exact, 1)
    torch.testing.assert_close(one.position.double(), expected.position, rtol=0, atol=2e-3)
    torch.testing.assert_close(one.photons.double(), expected.photons, rtol=2e-3, atol=0)
    assert torch.equal(one.frame, same.frame)
    many, best = fit(molecules, frames, 8), fit(same, exact, 8)
    losses = [
        exact.likelihood.per_frame(exact.spot_model(m).light(m)).index_add(
            0, m.frame, exact.prior.penalty(m.photons)
        )
        for m in (Molecules(many.frame, many.position.double(), many.photons.double()), best)
    ]
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=0.2)


@pytest.mark.parametrize("spot", SPOTS)
@a_few
@given(seed=seeds)
def test_tracks_are_fitted_alike(spot, seed):
    (frames, molecules), (exact, same) = in_both(seed, spot)
    fast, slow = as_tracks(molecules), as_tracks(same)
    found, expected = row_terms(fast, frames), row_terms(slow, exact)
    for name in ("gradient", "information"):
        value, wanted = getattr(found, name).double(), getattr(expected, name)
        torch.testing.assert_close(value, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    fitted, wanted = fit_tracks(fast, frames, 3), fit_tracks(slow, exact, 3)
    torch.testing.assert_close(fitted.position.double(), wanted.position, rtol=0, atol=0.01)
    torch.testing.assert_close(fitted.photons.double(), wanted.photons, rtol=0.01, atol=2.0)


@pytest.fixture
def threads():
    """Set the number of threads for a test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_two_threads_find_what_one_finds(threads):
    frames, molecules = scene(7, SPOTS[0], LEARNED, n=300)
    found = []
    for n in (1, 2):
        threads(n)
        fitted = fit(molecules, frames)
        tracks = fit_tracks(as_tracks(molecules), frames)
        patches = [hood.patches.fit(hood.spots) for hood in hoods(frames, fitted)]
        found.append([fitted.table, tracks.position, tracks.photons, *sum(patches, ())])
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)


def test_without_numba_torch_fits(monkeypatch):
    frames, molecules = scene(8, SPOTS[2])
    compiled = fit(molecules, frames, 2)
    monkeypatch.setattr(kernels, "AVAILABLE", False)
    readable = fit(molecules, frames, 2)
    assert all(isinstance(hood.patches, Patches) for hood in hoods(frames, molecules))
    torch.testing.assert_close(compiled.position, readable.position, rtol=0, atol=2e-3)


def test_a_large_frame_is_fitted_as_its_parts_are_by_themselves():
    # molecules stand apart, each in a part of its own
    corners = [(0, 0), (0, 150), (150, 140)]
    draw = torch.Generator().manual_seed(7)
    b = torch.full((1, 180, 170), 8.0)
    y, true = torch.poisson(b, generator=draw), []
    for row, column in corners:
        frames, start = scene(row + column, SPOTS[0])
        height, width = SHAPE[1:]
        y[0, row : row + height, column : column + width] = frames.y[0]
        inside = (start.frame == 0) & (start.position > 4).all(1) & (start.position < 15).all(1)
        kept = start.select(inside)
        true.append((kept, torch.tensor([float(row), float(column)])))
    whole = Molecules.none()
    for kept, corner in true:
        whole = whole.joined(Molecules(kept.frame, kept.position + corner, kept.photons))
    together = fit(whole, Frames(y, b, SPOTS[0]))
    at = 0
    for kept, corner in true:
        low, high = corner.int(), corner.int() + torch.tensor(SHAPE[1:])
        rows, columns = slice(low[0], high[0]), slice(low[1], high[1])
        alone = fit(kept, Frames(y[:, rows, columns], b[:, rows, columns], SPOTS[0]))
        mine = together.select(torch.arange(at, at + len(kept)))
        assert torch.allclose(mine.position - corner, alone.position, atol=1e-3)
        assert torch.allclose(mine.photons, alone.photons, rtol=1e-3)
        at += len(kept)
    assert at >= 5


@pytest.mark.parametrize("spot", SPOTS)
def test_light_of_molecules(spot):
    (frames, molecules), (exact_frames, exact) = in_both(11, spot)
    light = frames.light(molecules)
    assert torch.allclose(light.double(), exact_frames.light(exact), rtol=1e-3, atol=0.05)
    assert light.sum() > 1000
