"""Steps that suit every pixel: the bound they rest on."""

import pytest
import torch

from napari_unfold.imaging.forward import ForwardOperator, MeasuredOperator, SeparableOperator
from napari_unfold.imaging.psf import MeasuredPSF
from napari_unfold.settings.terms import FIDELITIES
from napari_unfold.unfolding.fidelity import fidelity_named
from napari_unfold.unfolding.metric import pixel_curvature

DOUBLE = torch.float64
GAUSSIAN = fidelity_named("gaussian")


def curvature(operator: ForwardOperator, z, reserve, fidelity=GAUSSIAN, background=2.0):
    light = operator.forward(z)
    b = torch.full_like(light, background)
    return pixel_curvature(operator, fidelity, z, light, 1.3 * light + b, b, reserve)


def sparse_image(shape, molecules, seed):
    generator = torch.Generator().manual_seed(seed)
    z = torch.zeros(shape, dtype=DOUBLE)
    z.flatten()[torch.randperm(z.numel(), generator=generator)[:molecules]] = 50.0
    return z


@pytest.mark.parametrize("molecules", [1, 30, 2000])
def test_no_change_of_the_lit_pixels_is_curved_more(molecules):
    """``|A v|^2 <= sum d v^2``, which makes ``1 / d`` a step that lowers the energy."""
    operator = SeparableOperator((20, 16), 4, 1.1, dtype=DOUBLE)
    z = sparse_image((80, 64), molecules, seed=1)
    d = curvature(operator, z, reserve=0.2)
    for seed in range(20):
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)
        v = noise * (z > 0)
        for change in (v, v.abs()):  # all brighter is the worst there is
            assert operator.forward(change).square().sum() <= (d * change.square()).sum()


def test_where_all_is_lit_it_is_the_norm_of_the_operator():
    operator = SeparableOperator((40, 40), 4, 1.1, dtype=DOUBLE)
    d = curvature(operator, torch.ones(160, 160, dtype=DOUBLE), reserve=None)
    assert d.max().item() == pytest.approx(operator.norm_squared, rel=0.02)
    assert d[80, 80].item() == pytest.approx(16.0, rel=1e-3)


def test_where_little_is_lit_it_is_that_of_a_molecule():
    operator = SeparableOperator((40, 40), 4, 1.1, dtype=DOUBLE)
    z = torch.zeros(160, 160, dtype=DOUBLE)
    z[81, 81] = 100.0
    d = curvature(operator, z, reserve=1e-9)
    assert d[81, 81].item() == pytest.approx(operator.point_energy, rel=0.15)


@pytest.mark.parametrize("shape", [(12, 9), (130, 7)])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_counting_per_camera_pixel_is_the_formula(fidelity, shape):
    """``A^T D'' A 1_S`` with every lit pixel spread evenly over its camera pixel."""
    q, term = 3, fidelity_named(fidelity)
    operator = SeparableOperator(shape, q, 1.0, dtype=DOUBLE)
    z = sparse_image((shape[0] * q, shape[1] * q), 40, seed=2)
    light = operator.forward(z)
    b = torch.full_like(light, 2.0)
    y = 1.3 * light + b
    lit = torch.nn.functional.avg_pool2d((z > 0).double()[None], q)[0] + 0.5 / q**2
    spread = torch.kron(lit, torch.ones(q, q, dtype=DOUBLE))
    seen = operator.adjoint(term.curvature_bound(light, y, b) * operator.forward(spread))
    wanted = torch.nn.functional.avg_pool2d(seen[None], q)[0]
    found = pixel_curvature(operator, term, z, light, y, b, reserve_pixels=0.5)
    torch.testing.assert_close(found, torch.kron(wanted, torch.ones(q, q, dtype=DOUBLE)))


def test_a_measured_psf_has_the_same_steps():
    exact = SeparableOperator((16, 16), 2, 1.2, dtype=DOUBLE)
    axis = torch.arange(-10, 11, dtype=DOUBLE) / 2
    kernel = torch.exp(-0.5 * (axis / 1.2) ** 2)
    kernel = torch.outer(kernel, kernel)
    psf = MeasuredPSF((kernel / kernel.sum()).numpy(), 0.5)
    measured = MeasuredOperator((16, 16), 2, psf, dtype=DOUBLE)
    z = sparse_image((32, 32), 9, seed=3)
    torch.testing.assert_close(
        curvature(measured, z, 0.2), curvature(exact, z, 0.2), rtol=0.1, atol=0.02
    )


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_the_bound_of_the_curvature_is_one(fidelity):
    term = fidelity_named(fidelity)
    light = torch.linspace(0.1, 80.0, 50, dtype=DOUBLE)
    b = torch.full_like(light, 3.0)
    for y in (torch.zeros_like(light), light + b, 9.0 * (light + b)):
        bound = term.curvature_bound(light, y, b)
        assert (bound > 0).all()
        assert (bound >= term.curvature(light, y, b)).all()
