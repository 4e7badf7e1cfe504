"""The network with an unknown PSF: its derivative by sigma, and that it is the same network."""

import math

import numpy as np
import pytest
import torch

from napari_unfold.fluctuation.semiblind import SemiBlindNetwork, SemiBlindOperator
from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.imaging.psf import gaussian_matrix
from napari_unfold.unfolding.checkpointed import checkpointed
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.inference import final_iterate

DOUBLE = torch.float64
SHAPE, Q, SIGMA = (6, 5), 2, 0.9


def a_network(iterations=6, sigma=SIGMA, squared=True):
    operator = SemiBlindOperator(SHAPE, Q, sigma, dtype=DOUBLE, squared=squared)
    start = classical_parameters(operator.frozen(), 1.0, 1e-3, penalty="l1", iterations=iterations)
    start = start.model_copy(update={"projection_width_photons": 0.05})
    return SemiBlindNetwork(operator, start), start


def images(n=2):
    rng = np.random.default_rng(1)
    truth = torch.tensor(rng.random((n, SHAPE[0] * Q, SHAPE[1] * Q)) ** 4)
    y = SeparableOperator(SHAPE, Q, SIGMA, dtype=DOUBLE, squared=True).forward(truth)
    return y, torch.zeros_like(y)


@pytest.mark.slow
@pytest.mark.parametrize("squared", [False, True])
def test_it_is_the_operator_of_a_known_psf(squared):
    operator = SemiBlindOperator(SHAPE, Q, SIGMA, dtype=DOUBLE, squared=squared)
    known = SeparableOperator(SHAPE, Q, SIGMA, dtype=DOUBLE, squared=squared)
    x, r = torch.rand(2, 12, 10, dtype=DOUBLE), torch.rand(2, *SHAPE, dtype=DOUBLE)
    torch.testing.assert_close(operator.forward(x), known.forward(x))
    torch.testing.assert_close(operator.adjoint(r), known.adjoint(r))
    assert known.norm_squared <= operator.norm_squared * (1 + 1e-9)
    assert operator.point_energy == known.point_energy


def test_the_derivative_of_the_blur_by_sigma():
    """Of ``Phi((e - c) / s)`` it is ``-(e - c) / s^2`` times the normal density."""
    sigma = torch.tensor(1.3, dtype=DOUBLE)
    derivative = torch.autograd.functional.jacobian(
        lambda s: gaussian_matrix(6, 3, s).square(), sigma
    )
    edges = torch.arange(7, dtype=DOUBLE)[:, None]
    t = edges - (torch.arange(18, dtype=DOUBLE) + 0.5) / 3
    density = torch.exp(-0.5 * (t / 1.3) ** 2) / math.sqrt(2 * math.pi)
    of_matrix = (-t / 1.3**2 * density).diff(dim=0)
    expected = 2 * gaussian_matrix(6, 3, 1.3) * of_matrix
    torch.testing.assert_close(derivative, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("squared", [False, True])
def test_the_output_is_differentiable_in_sigma_and_all_other_parameters(squared):
    network, _ = a_network(iterations=4, squared=squared)
    y, b = images()
    not_here = {"threshold", "coupling"}  # after the last iteration; of frames in time
    learned = {n: v for n, v in network.named_parameters() if n not in not_here}
    assert set(learned) == {"operator.sigma_px", "step_sizes", "weight"}

    def run(*values):
        return torch.func.functional_call(network, dict(zip(learned, values, strict=True)), (y, b))

    inputs = tuple(v.detach().clone().requires_grad_() for v in learned.values())
    assert torch.autograd.gradcheck(run, inputs, eps=1e-7, atol=1e-6)


def test_check_pointed_gradients_are_the_same():
    network, _ = a_network(iterations=11)
    y, b = images()
    gradients = []
    for run in (SemiBlindNetwork.forward, checkpointed):
        network.zero_grad()
        run(network, y, b).square().sum().backward()
        learned = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
        assert "operator.sigma_px" in learned
        gradients.append({n: g for n, g in learned.items() if g.any()})
    assert set(gradients[0]) == set(gradients[1])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-9, atol=1e-12)


def test_the_frozen_network_gives_the_same_images():
    network, start = a_network(iterations=20)
    y, b = images()
    frozen = network.frozen(start)
    assert "operator.sigma_px" not in dict(frozen.named_parameters())
    torch.testing.assert_close(final_iterate(frozen, y, b), network(y, b).detach())


def test_steps_follow_the_norm_of_the_operator():
    """They stay the same multiple of ``1 / L`` when sigma changes, so none becomes unsafe."""
    network, _ = a_network()
    before = network.step(0).item() * network.operator.norm_squared
    with torch.no_grad():
        network.operator.sigma_px.mul_(0.6)
    assert network.step(0).item() * network.operator.norm_squared == pytest.approx(before)


def test_work_can_be_stopped_in_the_middle():
    network, _ = a_network()
    y, b = images()
    x = checkpointed(network, y, b)

    def stop():
        raise KeyboardInterrupt

    network.tick = stop
    with pytest.raises(KeyboardInterrupt):
        x.sum().backward()
