"""Rendered images put the right amount of light at the right place."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from napari_unfold.errors import InputError
from napari_unfold.jobs import Note, run_to_end
from napari_unfold.settings.tables import Rendering
from napari_unfold.tables.render import render


def image_of(table: pd.DataFrame, size_nm=None, **settings) -> np.ndarray:
    return run_to_end(render(table, Rendering(**settings), size_nm)).image


def at(x_nm, y_nm, **columns) -> pd.DataFrame:
    return pd.DataFrame({"frame": 0, "x_nm": x_nm, "y_nm": y_nm, **columns})


def test_a_histogram_counts_what_lies_between_the_edges_of_a_pixel() -> None:
    table = at([0.0, 19.9, 20.0, 79.9], [0.0, 39.9, 0.0, 59.9])
    image = image_of(table, (60, 80), style="histogram", pixel_size_nm=20)
    expected = np.zeros((3, 4))
    expected[0, 0] = expected[1, 0] = expected[0, 1] = expected[2, 3] = 1
    np.testing.assert_array_equal(image, expected)


def test_a_gaussian_is_integrated_over_the_pixels() -> None:
    image = image_of(at([43.0], [27.0], uncertainty_nm=[12.0]), (80, 100), pixel_size_nm=10)
    y = np.diff(norm.cdf(np.arange(0, 81, 10), 27, 12))
    x = np.diff(norm.cdf(np.arange(0, 101, 10), 43, 12))
    np.testing.assert_allclose(image, np.outer(y, x), atol=1e-4)


def test_each_localization_has_its_own_width_and_its_own_light() -> None:
    table = at([500.0, 1500.0], 500.0, uncertainty_nm=[10.0, 60.0], photons=[300.0, 900.0])
    image = image_of(table, (1000, 2000), pixel_size_nm=10, weight="photons").astype(float)
    x_nm = 10.0 * np.arange(200) + 5.0
    for half, sigma, photons in ((slice(0, 100), 10, 300), (slice(100, 200), 60, 900)):
        profile = image[:, half].sum(axis=0)
        mean = np.average(x_nm[half], weights=profile)
        assert profile.sum() == pytest.approx(photons, rel=1e-3)
        # a pixel of 10 nm widens the profile by 10^2 / 12 nm^2
        variance = np.average((x_nm[half] - mean) ** 2, weights=profile)
        assert variance == pytest.approx(sigma**2 + 100 / 12, rel=0.01)


def test_many_localizations_add_up() -> None:
    rng = np.random.default_rng(3)
    n = 3000
    table = at(rng.uniform(400, 1600, n), rng.uniform(400, 1600, n))
    table["uncertainty_nm"] = rng.gamma(4.0, 5.0, n)
    image = image_of(table, (2000, 2000)).astype(float)
    assert image.sum() == pytest.approx(n, rel=1e-3)
    one_by_one = sum(image_of(table.iloc[[i]], (2000, 2000)).astype(float) for i in range(20))
    # the tails beyond four sigma are cut
    np.testing.assert_allclose(image_of(table.iloc[:20], (2000, 2000)), one_by_one, atol=1e-5)


def test_light_beyond_the_edge_is_lost_and_localizations_beyond_it_do_no_harm() -> None:
    image = image_of(at([0.0, -500.0, 45.0], [20.0, 20.0, 900.0]), (40, 50), width_nm=5.0)
    assert image.sum() == pytest.approx(0.5, rel=1e-3)


def test_the_image_ends_with_the_last_localization() -> None:
    table = at([5.0, 99.9], [5.0, 50.0])
    assert image_of(table, width_nm=10.0, pixel_size_nm=10).shape == (6, 10)


def test_one_width_for_all() -> None:
    table = at([205.0, 405.0], 205.0, uncertainty_nm=[50.0, 5.0])
    image = image_of(table, (410, 610), width_nm=20.0)
    # the share of a Gaussian of 20 nm within 5 nm of its middle, along both axes
    peak = (norm.cdf(0.25) - norm.cdf(-0.25)) ** 2
    np.testing.assert_allclose(image[20, [20, 40]], peak, rtol=1e-4)


def test_an_unknown_uncertainty_is_replaced_by_the_median_and_said() -> None:
    table = at([100.0, 300.0, 500.0], 100.0, uncertainty_nm=[10.0, np.nan, 10.0])
    notes = []
    job = render(table, Rendering(), (200, 600))
    image = run_to_end(job, lambda e: notes.append(e.text) if isinstance(e, Note) else None).image
    np.testing.assert_allclose(image[:, :20], image[:, 20:40], atol=1e-6)
    assert "1 localizations without an uncertainty" in notes[0]


@pytest.mark.parametrize(
    ("settings", "message", "field"),
    [
        ({}, "no uncertainty to draw them by", "rendering.width_nm"),
        ({"style": "histogram", "weight": "photons"}, "photons", "rendering.weight"),
        ({"style": "histogram", "pixel_size_nm": 0.1}, "too large", "rendering.pixel_size_nm"),
    ],
)
def test_what_cannot_be_rendered_is_said(settings, message: str, field: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        image_of(at([1.0, 9000.0], [1.0, 9000.0]), **settings)
    assert caught.value.field == field


def test_an_empty_table_has_no_extent_but_may_have_an_image() -> None:
    empty = at([1.0], [1.0]).iloc[:0]
    with pytest.raises(InputError, match="no localizations"):
        image_of(empty)
    assert not image_of(empty, (100, 100), width_nm=5.0).any()
