"""The paper's fidelities, the penalties and the smoothed projection against their formulas."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from napari_unfold.unfolding.fidelities.gaussian import GaussianFidelity
from napari_unfold.unfolding.fidelities.kl import KLFidelity
from napari_unfold.unfolding.penalties.l1 import L1Penalty
from napari_unfold.unfolding.penalties.log_sum import LogSumPenalty
from napari_unfold.unfolding.projection import smoothed_projection


def some_data(seed=0, gain=3.0):
    """Light, frames with zeros among them, background; a batch of two, brightness not one."""
    rng = np.random.default_rng(seed)
    light = rng.gamma(2.0, gain, (2, 5, 6))
    b = np.full((2, 5, 6), 0.7 * gain)
    y = rng.poisson(light + b).astype(float) * gain
    y[0, 0, :3] = 0.0
    return (torch.tensor(a, dtype=torch.float64) for a in (light, y, b))


def test_gaussian_value():
    light, y, b = some_data()
    expected = 0.5 * ((light + b - y) ** 2).numpy().sum(axis=(1, 2))
    np.testing.assert_allclose(GaussianFidelity().value(light, y, b), expected)


def test_kl_value_is_the_divergence_of_scipy():
    light, y, b = some_data()
    expected = special.kl_div(y.numpy(), (light + b).numpy()).sum(axis=(1, 2))
    np.testing.assert_allclose(KLFidelity().value(light, y, b), expected)


def test_log_sum_tends_to_l1():
    x = torch.rand(3, 4, 4, dtype=torch.float64)
    far = LogSumPenalty(1e6)
    torch.testing.assert_close(far.value(x), L1Penalty().value(x), rtol=1e-5, atol=0)


def test_log_sum_is_evaluated_at_zero_for_negative_values():
    x = torch.tensor([[-1.0, 0.0]], dtype=torch.float64)
    assert LogSumPenalty(2.0).gradient(x).tolist() == [[1.0, 1.0]]


@given(width=st.floats(1e-6, 1e3))
def test_projection_through_its_two_points_with_slopes_zero_and_one(width):
    t = torch.tensor([-1.0, 0.0, 1.0, 3.0], dtype=torch.float64) * width
    t.requires_grad_()
    p = smoothed_projection(t, width)
    np.testing.assert_allclose(p.detach(), np.array([0, 0, 1, 3]) * width)
    (slope,) = torch.autograd.grad(p.sum(), t)
    assert slope.tolist() == [0.0, 0.0, 1.0, 1.0]


def test_projection_is_the_cubic_between():
    t = torch.linspace(0, 0.4, 50, dtype=torch.float64)
    expected = 2 * t**2 / 0.4 - t**3 / 0.4**2
    torch.testing.assert_close(smoothed_projection(t, 0.4), expected)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=20))
def test_projection_is_monotone_and_close_to_the_exact_one(values):
    t = torch.tensor(sorted(values), dtype=torch.float64)
    p = smoothed_projection(t, 0.5)
    assert (p.diff() >= -1e-12).all()
    # the cubic exceeds t by at most 4 width / 27 and never falls below 0
    assert ((p - t.clamp(min=0)).abs() <= 0.5 * 4 / 27 + 1e-12).all()
