"""Steps that suit every pixel: the bound they rest on."""

import pytest
import torch

from napari_unfold.imaging.convolution import along_both_axes
from napari_unfold.imaging.forward import ForwardOperator, MeasuredOperator, SeparableOperator
from napari_unfold.imaging.psf import MeasuredPSF
from napari_unfold.settings.terms import FIDELITIES
from napari_unfold.unfolding.fidelity import fidelity_named
from napari_unfold.unfolding.metric import coarseness, pixel_curvature
from napari_unfold.unfolding.whitening import whitening_kernel

DOUBLE = torch.float64
WIDTH = 1e-3
GAUSSIAN = fidelity_named("gaussian")


MOLECULE = 60.0


def curvature(operator: ForwardOperator, z, reserve, fidelity=GAUSSIAN, **changes):
    light = operator.forward(z)
    b = torch.full_like(light, 2.0)
    known = {
        "gradient": torch.ones_like(z), "faint_share": 1.0, "molecule_photons": MOLECULE,
        "width_photons": WIDTH, **changes,
    }  # fmt: skip
    return pixel_curvature(
        operator, fidelity, z, light=light, y=1.3 * light + b, b=b, reserve_pixels=reserve, **known
    )


def sparse_image(shape, molecules, seed):
    generator = torch.Generator().manual_seed(seed)
    z = torch.zeros(shape, dtype=DOUBLE)
    z.flatten()[torch.randperm(z.numel(), generator=generator)[:molecules]] = 50.0
    return z


@pytest.mark.parametrize("molecules", [1, 30, 2000])
@pytest.mark.parametrize("faint_share", [0.1, 1.0])
@pytest.mark.parametrize("mu", [None, 0.02, 0.5])
def test_no_change_of_the_lit_pixels_is_curved_more(molecules, faint_share, mu):
    """``v A^T M A v <= sum d v^2``, which makes ``1 / d`` a step that lowers the energy."""
    operator = SeparableOperator((20, 16), 4, 1.1, dtype=DOUBLE)
    z = sparse_image((80, 64), molecules, seed=1)
    z *= torch.rand(z.shape, generator=torch.Generator().manual_seed(2), dtype=DOUBLE)
    d = curvature(operator, z, reserve=0.2, faint_share=faint_share, whitening=mu)
    m = None if mu is None else whitening_kernel(operator, torch.tensor(mu, dtype=DOUBLE))
    for seed in range(20):
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)
        v = noise * (z > 0)
        for change in (v, v.abs(), z):  # all brighter is the worst there is without whitening
            seen = operator.forward(change)
            whitened = seen if m is None else along_both_axes(seen, m)
            assert (seen * whitened).sum() <= (d * change.square()).sum()


def test_dark_pixels_that_will_be_lit_count_as_lit():
    """Else a dark patch that lights up at once would be taken for a lone molecule."""
    operator = SeparableOperator((24, 24), 4, 1.1, dtype=DOUBLE)
    dark = torch.zeros(96, 96, dtype=DOUBLE)
    gradient = torch.ones_like(dark)
    gradient[32:64, 32:64] = -1.0
    d = curvature(operator, dark, 1e-9, gradient=gradient)
    exact = operator.adjoint(operator.forward((gradient < 0).double()))
    assert (d >= 0.97 * exact)[gradient < 0].all()  # the corners of a patch are the worst


def test_where_all_is_lit_it_is_the_norm_of_the_operator():
    operator = SeparableOperator((40, 40), 4, 1.1, dtype=DOUBLE)
    d = curvature(operator, torch.ones(160, 160, dtype=DOUBLE), reserve=None)
    assert d.max().item() == pytest.approx(coarseness(operator) * operator.norm_squared, rel=0.02)
    assert d[80, 80].item() == pytest.approx(16.0 * coarseness(operator), rel=1e-3)


def test_where_little_is_lit_it_is_that_of_a_molecule():
    operator = SeparableOperator((40, 40), 4, 1.1, dtype=DOUBLE)
    z = torch.zeros(160, 160, dtype=DOUBLE)
    z[81, 81] = 100.0
    d = curvature(operator, z, reserve=1e-9)
    assert 1.0 <= d[81, 81].item() / operator.point_energy <= coarseness(operator)


@pytest.mark.parametrize("shape", [(12, 9), (130, 7)])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_counting_per_camera_pixel_is_the_formula(fidelity, shape):
    """``A^T D'' A 1_S`` with every lit pixel spread evenly over its camera pixel."""
    q, term = 3, fidelity_named(fidelity)
    operator = SeparableOperator(shape, q, 1.0, dtype=DOUBLE)
    z = sparse_image((shape[0] * q, shape[1] * q), 40, seed=2)
    light = operator.forward(z)
    b = torch.full_like(light, 2.0)
    lit = torch.nn.functional.avg_pool2d((z > 0).double()[None], q)[0]
    spread = torch.kron(lit, torch.ones(q, q, dtype=DOUBLE))
    expected = term.expected_curvature(light, 1.3 * light + b, b)
    seen = operator.adjoint(expected * (operator.forward(spread) + 0.5))
    wanted = coarseness(operator) * torch.nn.functional.avg_pool2d(seen[None], q)[0]
    found = curvature(operator, z, 0.5, term)
    torch.testing.assert_close(found, torch.kron(wanted, torch.ones(q, q, dtype=DOUBLE)))


def test_a_measured_psf_has_the_same_steps():
    exact = SeparableOperator((16, 16), 2, 1.2, dtype=DOUBLE)
    axis = torch.arange(-10, 11, dtype=DOUBLE) / 2
    kernel = torch.exp(-0.5 * (axis / 1.2) ** 2)
    kernel = torch.outer(kernel, kernel)
    psf = MeasuredPSF((kernel / kernel.sum()).numpy(), 0.5)
    measured = MeasuredOperator((16, 16), 2, psf, dtype=DOUBLE)
    z = sparse_image((32, 32), 9, seed=3)
    ratio = curvature(exact, z, 0.2)[4:-4, 4:-4] / curvature(measured, z, 0.2)[4:-4, 4:-4]
    assert ratio.min() > 0.95
    assert ratio.max() < 1.05 * coarseness(exact) ** 2


@pytest.mark.parametrize("sigma", [0.5, 0.625, 1.1, 2.0])
def test_neighbours_across_the_corner_of_camera_pixels_are_not_forgotten(sigma):
    operator = SeparableOperator((24, 24), 4, sigma, dtype=DOUBLE)
    for size in (1, 2, 4, 6):
        z = torch.zeros(96, 96, dtype=DOUBLE)
        z[48 - size // 2 : 48 + (size + 1) // 2, 48 - size // 2 : 48 + (size + 1) // 2] = 1.0
        lit = (z > 0).double()
        exact = operator.adjoint(operator.forward(lit))
        assert (curvature(operator, z, 1e-9) >= 0.999 * exact)[z > 0].all()


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_step_by_the_expected_curvature_explains_a_pixel(fidelity):
    term = fidelity_named(fidelity)
    light = torch.linspace(0.1, 80.0, 50, dtype=DOUBLE)
    b = torch.full_like(light, 3.0)
    for y in (b, light + b, 9.0 * (light + b)):
        step = term.residual(light, y, b) / term.expected_curvature(light, y, b)
        torch.testing.assert_close(light - step, y - b)
    explained = light + b
    torch.testing.assert_close(
        term.expected_curvature(light, explained, b), term.curvature(light, explained, b)
    )
