"""Fourier ring correlation gives the resolution that theory predicts."""

import math

import numpy as np
import pandas as pd
import pytest

from napari_unfold.errors import InputError
from napari_unfold.jobs import run_to_end
from napari_unfold.settings.tables import Resolution
from napari_unfold.tables.frc import THRESHOLD, measure_resolution, ring_correlation


def measured(table: pd.DataFrame, **settings):
    return run_to_end(measure_resolution(table, Resolution(**settings)))


def blinking(sigma_nm: float, times: list[int], seed: int = 0, places: int = 4000) -> pd.DataFrame:
    """Molecules at random places in 6 x 6 um, the i-th of them found ``times[i]`` times."""
    rng = np.random.default_rng(seed)
    xy = np.repeat(rng.uniform(0, 6000, (places, 2)), times, axis=0)
    xy += rng.normal(0, sigma_nm, xy.shape)
    frame = rng.integers(0, 1000, len(xy))
    return pd.DataFrame({"frame": frame, "x_nm": xy[:, 0], "y_nm": xy[:, 1]})


@pytest.mark.parametrize("sigma_nm", [10.0, 20.0])
def test_molecules_seen_once_in_each_half(sigma_nm: float) -> None:
    """The correlation is ``exp(-4 pi^2 sigma^2 q^2)``: 1/7 at ``1/q = 2 pi sigma / sqrt(ln 7)``."""
    table = blinking(sigma_nm, [2] * 4000)
    table["frame"] = np.arange(len(table)) % 2
    expected = 2 * math.pi * sigma_nm / math.sqrt(math.log(7))
    assert measured(table).resolution_nm == pytest.approx(expected, rel=0.08)


@pytest.mark.slow
@pytest.mark.parametrize("halves", ["blocks", "random"])
@pytest.mark.parametrize("mean", [6, 20])
def test_molecules_that_blink_at_random(halves: str, mean: int) -> None:
    """With m Poisson detections a half the correlation is ``m E / (1 + m E)``, E as above."""
    rng = np.random.default_rng(1)
    table = blinking(20.0, rng.poisson(mean, 4000))
    expected = 2 * math.pi * 20.0 / math.sqrt(math.log(6 * mean / 2))
    assert measured(table, halves=halves).resolution_nm == pytest.approx(expected, rel=0.08)


def test_the_resolution_does_not_depend_on_the_pixels() -> None:
    table = blinking(20.0, [4] * 4000)
    fine, coarse = (measured(table, pixel_size_nm=size).resolution_nm for size in (4.0, 12.0))
    assert fine == pytest.approx(coarse, rel=0.05)


def test_identical_images_correlate_fully_and_opposite_ones_not_at_all() -> None:
    image = np.random.default_rng(0).poisson(1.0, (64, 80)).astype(float)
    frequency, same = ring_correlation(image, image)
    np.testing.assert_allclose(same, 1.0, rtol=1e-5)
    np.testing.assert_allclose(ring_correlation(image, -image)[1], -1.0, rtol=1e-5)
    assert 0 < frequency[0] < 0.05
    assert frequency[-1] == pytest.approx(0.5, abs=0.01)


def test_independent_images_do_not_correlate() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 256, 256))
    correlation = ring_correlation(one, two)[1]
    assert np.abs(correlation[20:]).mean() < 0.1


def test_the_curve_crosses_the_threshold_at_the_resolution() -> None:
    found = measured(blinking(20.0, [4] * 4000))
    curve = found.curve
    at = np.interp(1000 / found.resolution_nm, curve["frequency_per_um"], curve["smoothed"])
    assert at == pytest.approx(THRESHOLD, abs=1e-6)
    assert found.chart().level == THRESHOLD


def test_random_halves_are_the_same_every_time() -> None:
    table = blinking(20.0, [4] * 1000, places=1000)
    results = [measured(table, halves="random").resolution_nm for _ in range(2)]
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("table", "settings", "message", "field"),
    [
        (blinking(1.0, [8] * 500, places=500), {"pixel_size_nm": 20.0}, "finer than two", "pixel_"),
        (blinking(10.0, [1] * 3000, places=3000), {}, "nothing in common", "halves"),
        (blinking(9.0, [2] * 9, places=9).assign(frame=0), {}, "all localizations", "halves"),
        (blinking(9.0, [1], places=1), {}, "cannot be divided", None),
        (blinking(9.0, [2] * 9, places=9), {"pixel_size_nm": 0.1}, "too small", "pixel_"),
    ],
)
def test_what_cannot_be_measured_is_said(table, settings, message: str, field) -> None:
    with pytest.raises(InputError, match=message) as caught:
        measured(table, **settings)
    assert (field is None) == (caught.value.field is None)
    assert field is None or field in caught.value.field
