"""The background follows the lamp, and stays exactly as it is where the lamp does."""

from __future__ import annotations

import numpy as np
import pytest

from napari_unfold.estimation.background import estimate_background
from napari_unfold.estimation.lamp import Lamp, frames_of_one_level, watch_lamp
from napari_unfold.imaging.camera import to_photons
from napari_unfold.simulation.exposure import expose
from napari_unfold.simulation.scenes import render
from napari_unfold.simulation.simulated_microscope import EMCCD

FRAMES = 60
SHAPE = (48, 48)


def scene(factors: np.ndarray, per_frame: int, background: float = 25.0) -> np.ndarray:
    """Return frames in photons of molecules on a background times a factor per frame."""
    rng = np.random.default_rng(5)
    size = 100.0 * SHAPE[0]
    light = np.stack(
        [
            render(*rng.uniform(0, size, (2, per_frame)), np.full(per_frame, 1500.0), SHAPE,
                   100.0, 110.0)
            for _ in factors
        ]
    )  # fmt: skip
    return to_photons(expose(light + background * factors[:, None, None], EMCCD, rng), EMCCD)


@pytest.mark.parametrize("per_frame", [5, 60])
def test_a_constant_lamp_costs_nothing(per_frame: int) -> None:
    photons = scene(np.ones(FRAMES), per_frame)
    background = estimate_background(photons, EMCCD)
    lamp = watch_lamp(photons, background, EMCCD)
    assert (lamp.factors(photons, background, EMCCD) == 1.0).all()


FLICKER = 1.0 + 0.2 * np.random.default_rng(1).standard_normal(FRAMES)


@pytest.mark.parametrize(
    "factors",
    [
        np.repeat([1.0, 0.5], FRAMES // 2),
        np.exp(-np.arange(FRAMES) / FRAMES),
        FLICKER,
    ],
    ids=["half", "bleaching", "flicker"],
)
def test_factors_are_found_up_to_their_mean(factors: np.ndarray) -> None:
    photons = scene(factors, 10)
    background = np.full(SHAPE, 25.0 * factors.mean())
    lamp = watch_lamp(photons, background, EMCCD)
    found = lamp.factors(photons, background, EMCCD)
    np.testing.assert_allclose(found / found.mean(), factors / factors.mean(), atol=0.08)
    assert np.std(found / found.mean() - factors / factors.mean()) < 0.03


def test_a_sudden_frame_is_seen_though_the_lamp_seemed_constant() -> None:
    photons = scene(np.ones(FRAMES), 10)
    background = np.full(SHAPE, 25.0)
    lamp = watch_lamp(photons, background, EMCCD)
    later = scene(np.array([1.0, 1.6, 1.0]), 10)
    found = lamp.factors(later, background, EMCCD)
    assert found[[0, 2]].tolist() == [1.0, 1.0]
    assert found[1] == pytest.approx(1.6, abs=0.1)


def test_few_frames_and_hardly_any_light_tell_nothing() -> None:
    dim = np.full(SHAPE, 1.0)
    assert watch_lamp(scene(np.ones(4), 5), np.full(SHAPE, 25.0), EMCCD) == Lamp()
    assert watch_lamp(scene(np.ones(20), 5, 1.0), dim, EMCCD) == Lamp()


def test_the_map_is_read_from_frames_of_one_level() -> None:
    """Two halves at different light: the larger group, and none of the other."""
    factors = np.r_[np.ones(25), np.full(35, 0.6)]
    chosen = frames_of_one_level(scene(factors, 20))
    np.testing.assert_array_equal(chosen, factors == 0.6)
    assert frames_of_one_level(scene(np.ones(FRAMES), 20)).all()
