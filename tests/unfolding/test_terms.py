"""What every fidelity and every penalty keeps to, whatever it is: a new one is tested by these."""

import numpy as np
import pytest
import torch

from napari_unfold.settings.terms import FIDELITIES, PENALTIES
from napari_unfold.unfolding.fidelity import Fidelity, fidelity_named
from napari_unfold.unfolding.penalty import Penalty, penalty_named

MOLECULE_PHOTONS = 30.0


def some_data(seed=0, gain=3.0):
    """Light, frames with zeros among them, background; a batch of two, brightness not one."""
    rng = np.random.default_rng(seed)
    light = rng.gamma(2.0, gain, (2, 5, 6))
    b = np.full((2, 5, 6), 0.7 * gain)
    y = rng.poisson(light + b).astype(float) * gain
    y[0, 0, :3] = 0.0
    return (torch.tensor(a, dtype=torch.float64) for a in (light, y, b))


def an_image(requires_grad=False):
    x = 40.0 * torch.rand(2, 4, 5, dtype=torch.float64) + 1e-3
    return x.requires_grad_(requires_grad)


@pytest.fixture(params=FIDELITIES)
def fidelity(request) -> Fidelity:
    return fidelity_named(request.param)


@pytest.fixture(params=PENALTIES)
def penalty_class(request) -> type[Penalty]:
    return penalty_named(request.param)


@pytest.fixture
def penalty(penalty_class) -> Penalty:
    return penalty_class(**penalty_class.classical(MOLECULE_PHOTONS))


def test_every_term_has_a_title():
    assert all(title.strip() for title in (*FIDELITIES.values(), *PENALTIES.values()))


def test_values_of_frames_do_not_mix(fidelity):
    light, y, b = some_data()
    both = fidelity.value(light, y, b)
    alone = [fidelity.value(light[i], y[i], b[i]) for i in range(2)]
    torch.testing.assert_close(both, torch.stack(alone))


def test_the_residual_is_the_derivative_of_the_value(fidelity):
    light, y, b = some_data()
    light.requires_grad_()
    (derivative,) = torch.autograd.grad(fidelity.value(light, y, b).sum(), light)
    torch.testing.assert_close(fidelity.residual(light, y, b), derivative)


def test_the_curvature_of_a_fidelity_is_the_derivative_of_the_residual(fidelity):
    light, y, b = some_data()
    light.requires_grad_()
    (derivative,) = torch.autograd.grad(fidelity.residual(light, y, b).sum(), light)
    torch.testing.assert_close(fidelity.curvature(light, y, b), derivative)


def test_a_perfect_model_costs_nothing(fidelity):
    light, _, b = some_data()
    assert fidelity.value(light, light + b, b).abs().max() < 1e-9
    assert fidelity.residual(light, light + b, b).abs().max() < 1e-12


def test_a_fidelity_stays_finite_for_negative_data_and_light(fidelity):
    light, y, b = some_data()
    assert torch.isfinite(fidelity.value(-light, -y, b)).all()
    assert torch.isfinite(fidelity.residual(-light, -y, b)).all()


def test_the_degree_tells_how_the_value_grows_with_the_light(fidelity):
    light, y, b = some_data()
    expected = 5.0**fidelity.degree * fidelity.value(light, y, b)
    torch.testing.assert_close(fidelity.value(5 * light, 5 * y, 5 * b), expected)


@pytest.mark.parametrize("c", [0.1, 7.0])
def test_largest_weight_and_safe_step_scale_as_the_degree_demands(fidelity, c):
    weight, step = fidelity.largest_weight(90.0, 20.0), fidelity.safe_step(20.0, 3.0)
    weight_factor, step_factor = c ** (fidelity.degree - 1), c ** (2 - fidelity.degree)
    assert fidelity.largest_weight(90 * c, 20 * c) == pytest.approx(weight_factor * weight)
    assert fidelity.safe_step(20 * c, 3 * weight_factor) == pytest.approx(step_factor * step)


def test_the_pedestal_scales_with_the_light(fidelity):
    assert fidelity.pedestal_photons(1500.0, 2.0, 9.0) >= 0
    assert fidelity.pedestal_photons(300.0, 0.4, 1.8) == pytest.approx(
        fidelity.pedestal_photons(1500.0, 2.0, 9.0) / 5
    )


def test_a_penalty_is_zero_and_of_slope_one_where_there_is_no_light(penalty):
    dark = torch.zeros(1, 2, 2, dtype=torch.float64)
    assert penalty.value(dark).item() == 0.0
    torch.testing.assert_close(penalty.gradient(dark), torch.ones_like(dark))
    torch.testing.assert_close(penalty.gradient(dark - 7.0), torch.ones_like(dark))


def test_the_gradient_of_a_penalty_is_its_derivative(penalty):
    x = an_image(requires_grad=True)
    (derivative,) = torch.autograd.grad(penalty.value(x).sum(), x)
    torch.testing.assert_close(penalty.gradient(x.detach()), derivative)


def test_the_curvature_of_a_penalty_is_the_derivative_of_its_gradient(penalty):
    x = an_image().requires_grad_()
    slope = penalty.gradient(x).sum() + 0 * x.sum()  # the l1 norm does not depend on x
    (derivative,) = torch.autograd.grad(slope, x)
    torch.testing.assert_close(penalty.curvature(x.detach()), derivative)


def test_the_parameters_of_a_penalty_have_their_derivatives(penalty_class):
    x = an_image()
    values = {
        name: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for name, value in penalty_class.classical(MOLECULE_PHOTONS).items()
    }
    derivatives = penalty_class(**values).gradient_by_parameters(x)
    assert set(derivatives) == set(values)
    for name, value in values.items():
        torch.testing.assert_close(
            derivatives[name].sum(),
            torch.autograd.grad(penalty_class(**values).gradient(x).sum(), value)[0],
        )


def test_a_step_in_place_is_a_step_along_the_gradient(penalty):
    z = an_image() - 10.0
    moved = z.clone()
    penalty.descend(moved, 0.7, torch.empty_like(z))
    torch.testing.assert_close(moved, z - 0.7 * penalty.gradient(z))


def test_a_penalty_scales_with_the_light(penalty_class, penalty):
    x = an_image()
    brighter = penalty_class(**penalty_class.rescaled(penalty_class.classical(MOLECULE_PHOTONS), 5))
    torch.testing.assert_close(brighter.value(5 * x), 5 * penalty.value(x))


def test_learning_starts_within_the_bounds(penalty_class):
    for declared in penalty_class.learnables().values():
        assert 0 < declared.lower < declared.classical < declared.upper


def test_an_untrained_network_keeps_the_penalty_for_most_iterations(penalty_class):
    assert 0 <= penalty_class.l1_iterations(100) <= 50
