"""Simulated emitters blink and bleach with the rates asked for, on patterns that differ."""

import numpy as np
import pytest

from napari_unfold.simulation.photophysics import Blinking, FilamentPatterns, blink


def test_emitters_are_on_for_their_share_differ_in_brightness_and_bleach():
    rng = np.random.default_rng(0)
    blinking = Blinking(photons=50, on_frames=3, off_frames=9, brightness_spread=0.0)
    light = blink(3000, 200, blinking, rng)
    assert light.max() == pytest.approx(50)
    assert light.mean() / 50 == pytest.approx(blinking.share_on, rel=0.03)
    bleaching = Blinking(photons=50, bleaching_frames=100)
    fading = blink(20_000, 200, bleaching, rng)
    early, late = (fading[t : t + 20].mean() for t in (0, 100))
    assert late / early == pytest.approx(np.exp(-1), rel=0.06)
    spread = blink(20_000, 1, Blinking(photons=50, off_frames=1, on_frames=1e9), rng)
    assert spread.std() / spread.mean() == pytest.approx(0.3, rel=0.05)


def test_patterns_lie_in_the_field_and_differ():
    rng = np.random.default_rng(0)
    draw = FilamentPatterns(np.array([3200.0, 6400.0]), rng)
    patterns = [draw(2000, rng) for _ in range(3)]
    for positions in patterns:
        assert (positions >= 0).all()
        assert (positions < (3200, 6400)).all()
        assert 700 < len(positions) < 5000
    images = [np.histogram2d(*p.T, bins=32, range=[[0, 3200], [0, 6400]])[0] for p in patterns]
    assert np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1] < 0.5
