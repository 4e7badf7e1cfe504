"""Switching against the mathematics of two states with constant rates."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unfold.simulation.switching import (
    Switching,
    frame_correlation,
    frame_shares,
    frame_variance,
    rate_of_correlation,
)

RATES = [(0.3, 2.0), (2.0, 8.0), (4.0, 50.0)]


@pytest.mark.parametrize(("on", "off"), RATES)
def test_emitters_stay_on_and_off_for_their_mean_times(on, off):
    """Total time over number of switches: a mean that times cut off at the end leave right."""
    n, frames = 4000, 200
    emitter, start, stop = Switching(on, off).on_intervals(n, frames, np.random.default_rng(1))
    time_on = (stop - start).sum()
    switched_off, switched_on = (stop < frames).sum(), (start > 0).sum()
    assert time_on / switched_off == pytest.approx(on, rel=4 / math.sqrt(switched_off))
    time_off = n * frames - time_on
    assert time_off / switched_on == pytest.approx(off, rel=4 / math.sqrt(switched_on))
    assert set(emitter) <= set(range(n))


@pytest.mark.parametrize(("on", "off"), RATES)
def test_the_share_of_the_time_on_is_the_same_from_the_first_frame(on, off):
    switching = Switching(on, off)
    frame, _, share = switching.on_shares(20_000, 40, np.random.default_rng(2))
    assert switching.share_on == on / (on + off)
    per_frame = np.bincount(frame, weights=share) / 20_000
    np.testing.assert_allclose(per_frame, switching.share_on, atol=5 * 0.5 / math.sqrt(20_000))


def test_the_time_on_is_exponential():
    """Of those that start within the stack and could last, a share exp(-2) lasts twice the mean."""
    _, start, stop = Switching(3.0, 10.0).on_intervals(20_000, 60, np.random.default_rng(3))
    fresh = (start > 0) & (start < 30)
    length = (stop - start)[fresh]
    for multiple in (0.5, 1.0, 2.0):
        expected = math.exp(-multiple)
        assert (length > 3.0 * multiple).mean() == pytest.approx(expected, abs=0.01)


def test_bleaching_ends_exponentially():
    switching = Switching(2.0, 2.0, bleaching_frames=30.0)
    frame, _, share = switching.on_shares(40_000, 61, np.random.default_rng(4))
    light = np.bincount(frame, weights=share)
    assert light[30] / light[0] == pytest.approx(math.exp(-1), rel=0.03)
    assert light[60] / light[0] == pytest.approx(math.exp(-2), rel=0.05)


@given(
    intervals=st.lists(
        st.tuples(st.integers(0, 3), st.floats(0, 9), st.floats(0.01, 5)), max_size=8
    )
)
def test_cutting_into_frames_keeps_the_time_of_every_emitter(intervals):
    emitter = np.array([e for e, _, _ in intervals], dtype=np.intp)
    start = np.array([s for _, s, _ in intervals], dtype=float)
    stop = start + np.array([d for _, _, d in intervals], dtype=float)
    frame, of, share = frame_shares(emitter, start, stop)
    for number in range(4):
        kept = share[of == number].sum()
        assert kept == pytest.approx((stop - start)[emitter == number].sum())
        moments = frame[of == number]
        assert len(np.unique(moments)) == len(moments)
    assert (np.diff(frame) >= 0).all()


def test_a_frame_holds_the_part_that_falls_into_it():
    frame, emitter, share = frame_shares(np.array([7]), np.array([1.75]), np.array([4.5]))
    assert frame.tolist() == [1, 2, 3, 4]
    assert share.tolist() == [0.25, 1.0, 1.0, 0.5]
    assert set(emitter) == {7}


@pytest.mark.parametrize(("on", "off"), RATES)
def test_variance_and_correlation_of_frames_are_those_of_an_exponential_memory(on, off):
    """Shares of many emitters, against the integral of ``exp(-rate |t - t'|)`` over frames."""
    switching = Switching(on, off)
    n, frames = 3000, 300
    frame, emitter, share = switching.on_shares(n, frames, np.random.default_rng(5))
    light = np.zeros((frames, n))
    light[frame, emitter] = share
    p = switching.share_on
    deviation = light - p
    variance = (deviation**2).mean()
    assert variance == pytest.approx(p * (1 - p) * frame_variance(switching.rate), rel=0.03)
    neighbours = (deviation[1:] * deviation[:-1]).mean() / variance
    assert neighbours == pytest.approx(switching.correlation, abs=0.02)


def test_slow_switching_is_the_limit_of_the_formulas():
    for rate in (0.9e-3, 1.1e-3):
        assert frame_variance(rate) == pytest.approx(1 - rate / 3, abs=1e-6)
        assert frame_correlation(rate) == pytest.approx(1 - 2 * rate / 3, abs=1e-6)


@given(correlation=st.floats(0.1, 0.95))
def test_the_rate_of_a_correlation_has_that_correlation(correlation):
    assert frame_correlation(rate_of_correlation(correlation)) == pytest.approx(correlation)


def test_no_emitters_make_no_light():
    shares = Switching().on_shares(0, 10, np.random.default_rng(0))
    assert [len(values) for values in shares] == [0, 0, 0]
