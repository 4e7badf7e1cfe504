"""A pixel as its neighbours predict it, against what is known of light behind a PSF."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf

from napari_unfold.imaging.neighbours import Prediction, filled, prediction_weights


def spot(shape: tuple[int, int], y: float, x: float, sigma: float) -> np.ndarray:
    """Return a Gaussian of one photon, integrated over pixels."""
    edges = [np.arange(n + 1) for n in shape]
    down, right = (
        np.diff(0.5 * erf((e - c) / sigma / 2**0.5)) for e, c in zip(edges, (y, x), strict=True)
    )
    return np.outer(down, right)


def test_even_light_is_predicted_exactly_whatever_pixels_are_missing() -> None:
    rng = np.random.default_rng(0)
    unusable = rng.random((20, 30)) < 0.4
    frames = np.full((3, 20, 30), 7.0, np.float32)
    spoilt = np.where(unusable, 1e4, frames).astype(np.float32)
    np.testing.assert_allclose(filled(spoilt, unusable), frames, rtol=1e-5)


def test_weights_are_the_best_linear_unbiased_ones() -> None:
    # no other weights of sum one have a smaller expected square error under the covariance
    rng = np.random.default_rng(1)
    d = np.argwhere(np.ones((3, 3)))[[0, 1, 2, 3, 5, 6, 7, 8]] - 1.0
    weights = prediction_weights(d)

    def covariance(v: np.ndarray) -> np.ndarray:
        return np.exp(-(v**2).sum(-1) / 4)

    matrix = covariance(d[:, None] - d[None]) + 0.1 * np.eye(8)

    def error(w: np.ndarray) -> float:
        return 1 - 2 * w @ covariance(d) + w @ matrix @ w

    assert weights.sum() == pytest.approx(1)
    for _ in range(50):
        aside = rng.normal(size=8) * 0.05
        assert error(weights + aside - aside.mean()) > error(weights)


@pytest.mark.parametrize("sigma", [1.1, 1.5, 2.5])
def test_a_missing_pixel_of_a_spot_is_restored_within_a_sixth_of_its_light(sigma) -> None:
    image = spot((15, 15), 7.5, 7.6, sigma)[None].astype(np.float32)
    unusable = np.zeros((15, 15), bool)
    unusable[7, 7] = True
    spoilt = np.where(unusable, 0, image)
    restored = filled(spoilt, unusable)
    assert abs(restored - image).max() < image.max() / 6
    np.testing.assert_array_equal(restored[:, ~unusable], image[:, ~unusable])


def test_pixels_do_not_predict_themselves() -> None:
    everywhere = np.ones((9, 8), bool)
    matrix = Prediction(everywhere, everywhere).matrix.toarray()
    np.testing.assert_array_equal(np.diag(matrix), 0)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)


def test_whole_rows_at_the_border_can_be_missing() -> None:
    rows = np.arange(12, dtype=np.float32)[:, None] * np.ones(10, np.float32)
    unusable = np.zeros((12, 10), bool)
    unusable[:3] = True
    out = filled(np.where(unusable, np.float32(-500), rows), unusable)
    assert np.isfinite(out).all()
    assert -4 < out[:3].min() <= out[:3].max() < 7


def test_without_a_usable_pixel_nothing_is_done() -> None:
    frame = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    assert filled(frame, np.ones((3, 4), bool)) is frame
