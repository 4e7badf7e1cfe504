"""Temporal statistics against numpy, and what they say of simulated emitters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unfold.fluctuation.statistics import TemporalStatistics, time_blocks
from napari_unfold.imaging.camera import noise_variance, to_photons
from napari_unfold.simulation.photophysics import Blinking, FilamentPatterns, blink, record
from napari_unfold.simulation.simulated_microscope import EMCCD


def residuals(frames, degree):
    """Return what a polynomial in time leaves of every pixel, by numpy's own fit."""
    t = np.arange(len(frames)) - len(frames) / 2
    flat = frames.reshape(len(frames), -1)
    fit = np.polynomial.polynomial.polyfit(t, flat, degree)
    return (flat - np.polynomial.polynomial.polyval(t, fit).T).reshape(frames.shape)


def add_in_batches(statistics, frames, cuts):
    for batch in np.split(frames, sorted(cuts)):
        if len(batch):
            statistics.add(batch)


@given(
    n=st.integers(8, 60),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    lags=st.sets(st.integers(0, 4), min_size=1),
    detrend=st.booleans(),
    level=st.sampled_from([0.0, 100.0, 1e6]),
    seed=st.integers(0, 2**16),
)
def test_statistics_in_one_pass_are_those_of_numpy(n, cuts, lags, detrend, level, seed):
    rng = np.random.default_rng(seed)
    frames = level + rng.normal(0, 3, (n, 2, 3)) + 0.1 * np.arange(n)[:, None, None]
    statistics = TemporalStatistics(sorted(lags), detrend)
    add_in_batches(statistics, frames, [c for c in cuts if c < n])
    images = statistics.images()
    np.testing.assert_allclose(images.mean, frames.mean(axis=0), rtol=1e-12)
    e = residuals(frames, 1 if detrend else 0)
    for lag in lags:
        sum_ = (e[: n - lag] * e[lag:]).sum(axis=0)
        expected = sum_ / (n - (2 if detrend else 1) if lag == 0 else n - lag)
        np.testing.assert_allclose(images.covariance[lag], expected, rtol=1e-6, atol=1e-6)


def test_covariances_of_noise_without_memory_are_unbiased():
    rng = np.random.default_rng(0)
    frames = rng.normal(50, 4, (400, 60, 60))
    statistics = TemporalStatistics((0, 1, 2))
    for first, last in time_blocks(400, 20, statistics.smallest_block):
        statistics.add(frames[first:last])
        statistics.end_block()
    images = statistics.images(noise_variance=16.0)
    assert images.n_blocks == 20
    error = 16.0 / np.sqrt(400 * 3600)
    for lag, expected in {0: 16.0, 1: 0.0, 2: 0.0}.items():
        assert abs(images.covariance[lag].mean() - expected) < 5 * np.sqrt(2) * error


def test_bleaching_is_no_fluctuation():
    light = 1000.0 * np.exp(-np.arange(500) / 400)[:, None, None] * np.ones((500, 4, 4))
    blocks, whole = TemporalStatistics((0,)), TemporalStatistics((0,), detrend=False)
    for first, last in time_blocks(500, 100, 4):
        blocks.add(light[first:last])
        blocks.end_block()
    whole.add(light)
    assert whole.images().covariance[0].max() > 30_000
    assert blocks.images().covariance[0].max() < 30


def test_a_block_needs_more_frames_than_its_trend():
    statistics = TemporalStatistics((0, 1))
    statistics.add(np.ones((3, 2, 2)))
    with pytest.raises(ValueError, match="3 frames"):
        statistics.end_block()
    with pytest.raises(ValueError, match="no frames"):
        TemporalStatistics().images()


@given(n=st.integers(4, 2000), block=st.integers(10, 500), smallest=st.integers(1, 4))
def test_time_blocks_cover_all_frames_once(n, block, smallest):
    blocks = time_blocks(n, block, smallest)
    assert [i for a, b in blocks for i in range(a, b)] == list(range(n))
    assert min(b - a for a, b in blocks) >= smallest


def a_movie(sigma_px, seed=0, frames=400, photons=80.0, emitters=1500, background=10.0):
    rng = np.random.default_rng(seed)
    positions = FilamentPatterns(np.array([4800.0, 4800.0]), rng)(emitters, rng)
    light = blink(len(positions), frames, Blinking(photons=photons), rng)
    movie = record(positions, light, (48, 48), 100, 100 * sigma_px, background, EMCCD, rng)
    return to_photons(movie, EMCCD), positions, light


@pytest.mark.slow
def test_photon_noise_is_in_the_variance_and_not_in_the_next_frame():
    """Two states with rates: the covariance with the next frame is that of the light alone."""
    frames, _, _ = a_movie(1.0)
    statistics = TemporalStatistics((0, 1))
    for first, last in time_blocks(400, 100, 4):
        statistics.add(frames[first:last])
        statistics.end_block()
    images = statistics.images(noise_variance(statistics.images().mean, EMCCD))
    signal = images.covariance[0] - noise_variance(images.mean, EMCCD)
    # that of the default emitters, a little less for what the trend takes away
    expected = Blinking().correlation
    assert images.covariance[1].sum() / signal.sum() == pytest.approx(expected, abs=0.04)
