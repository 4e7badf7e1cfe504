"""Scaled gradient projection on problems whose minimiser is known."""

import numpy as np
import pytest
import torch
from scipy import optimize

from napari_unfold.learning.sgp import SGP

DOUBLE = torch.float64


def minimise(function, groups, steps=200, **options):
    """Run SGP on ``function(*parameters)``; return the losses, the first one included."""
    optimizer = SGP(groups, **options)
    parameters = [p for g in groups for p in g["params"]]

    def closure(backward):
        loss = function(*parameters)
        if backward:
            loss.backward()
        return loss

    first = function(*parameters).item()
    return [first, *(optimizer.step(closure) for _ in range(steps))]


def parameter(values):
    return torch.nn.Parameter(torch.tensor(values, dtype=DOUBLE))


@pytest.mark.parametrize("seed", range(2))
def test_bound_constrained_quadratic(seed):
    """Against the bounded least squares solver of scipy."""
    rng = np.random.default_rng(seed)
    a, c = rng.normal(size=(12, 6)), rng.normal(size=12) * 3
    expected = optimize.lsq_linear(a, c, bounds=(-0.5, 0.7)).x
    theta = parameter(np.zeros(6))
    matrix, target = torch.tensor(a), torch.tensor(c)
    minimise(
        lambda t: 0.5 * (matrix @ t - target).square().sum(),
        [{"params": [theta], "lower": -0.5, "upper": 0.7}],
    )
    np.testing.assert_allclose(theta.detach(), expected, atol=1e-6)


def test_rosenbrock_in_a_box():
    """The minimum inside the box x <= 0.8 lies on its edge, at (0.8, 0.64)."""
    theta = parameter([-1.0, 1.5])
    minimise(
        lambda t: (1 - t[0]) ** 2 + 100 * (t[1] - t[0] ** 2) ** 2,
        [{"params": [theta], "lower": -2.0, "upper": 0.8}],
        steps=600,
    )
    np.testing.assert_allclose(theta.detach(), [0.8, 0.64], atol=1e-4)


def test_the_scale_makes_groups_of_unequal_size_move_together():
    small, large = parameter([1e-3]), parameter([1e3])

    def function(a, b):
        return (a / 1e-3 - 3).square().sum() + (b / 1e3 - 2).square().sum()

    groups = [
        {"params": [small], "lower": 0.0, "upper": 1.0, "scale": 1e-3},
        {"params": [large], "lower": 0.0, "upper": 1e6, "scale": 1e3},
    ]
    minimise(function, groups, steps=15)
    assert small.item() == pytest.approx(3e-3, rel=1e-6)
    assert large.item() == pytest.approx(2e3, rel=1e-6)


@pytest.mark.parametrize("memory", [1, 5])
def test_no_loss_exceeds_the_largest_of_its_window(memory):
    theta = parameter(np.linspace(-2, 2, 9))
    losses = minimise(
        lambda t: (torch.sin(3 * t) + 0.1 * t * t).sum(), [{"params": [theta], "lower": -3.0}],
        steps=60, memory=memory,
    )  # fmt: skip
    for i in range(1, len(losses)):
        assert losses[i] <= max(losses[max(0, i - memory) : i]) + 1e-12


def test_parameters_stay_in_their_box():
    theta = parameter([0.5, 0.5])
    visited = []

    def function(t):
        visited.append(t.detach().clone())
        return (t * torch.tensor([5.0, -7.0])).sum()

    minimise(function, [{"params": [theta], "lower": 0.1, "upper": 0.9}], steps=10)
    assert torch.stack(visited).min() >= 0.1 - 1e-12
    assert torch.stack(visited).max() <= 0.9 + 1e-12
    np.testing.assert_allclose(theta.detach(), [0.1, 0.9])


def test_a_step_into_a_region_without_value_is_taken_back():
    """Where the loss is nan, as after a step size that blows the network up."""
    theta = parameter([1.0])
    minimise(
        lambda t: (t - 0.3).square().sum() + (0.0 if t.item() > 0.2 else torch.nan),
        [{"params": [theta], "lower": -5.0, "upper": 5.0}], first_step=3.0,
    )  # fmt: skip
    assert theta.item() == pytest.approx(0.3, abs=1e-5)
