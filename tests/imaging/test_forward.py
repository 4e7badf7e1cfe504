"""The forward operator against its definition, its transpose and an independent renderer."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_unfold.errors import InputError
from napari_unfold.imaging.forward import MeasuredOperator, SeparableOperator, forward_operator
from napari_unfold.imaging.psf import GaussianPSF, MeasuredPSF, gaussian_matrix, measured_psf
from napari_unfold.simulation.scenes import render


def bead_image(sigma_px: float, size: int = 31) -> np.ndarray:
    return render(
        np.array([size / 2]), np.array([size / 2]), np.array([1.0]), (size, size), 1.0, sigma_px
    )


def an_operator(kind, shape, q, sigma):
    if kind == "gaussian":
        return SeparableOperator(shape, q, sigma, dtype=torch.float64)
    return MeasuredOperator(shape, q, MeasuredPSF(bead_image(sigma), 1.0), dtype=torch.float64)


@given(
    kind=st.sampled_from(["gaussian", "measured"]),
    shape=st.tuples(st.integers(6, 90), st.integers(6, 90)),
    q=st.integers(1, 5),
    sigma=st.floats(0.6, 2.5),
    batch=st.integers(1, 3),
    seed=st.integers(0, 2**16),
)
def test_adjoint_is_the_transpose(kind, shape, q, sigma, batch, seed):
    operator = an_operator(kind, shape, q, sigma)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(batch, shape[0] * q, shape[1] * q, generator=generator, dtype=torch.float64)
    r = torch.rand(batch, *shape, generator=generator, dtype=torch.float64)
    left = (operator.forward(x) * r).sum()
    right = (x * operator.adjoint(r)).sum()
    torch.testing.assert_close(left, right, rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [(64, 64), (65, 97), (200, 130), (31, 257)])
def test_blocks_give_what_the_whole_matrix_gives(shape):
    q, sigma = 3, 1.4
    g_y, g_x = (gaussian_matrix(n, q, sigma) for n in shape)
    operator = SeparableOperator(shape, q, sigma, dtype=torch.float64)
    x = torch.rand(2, shape[0] * q, shape[1] * q, dtype=torch.float64)
    r = torch.rand(2, *shape, dtype=torch.float64)
    torch.testing.assert_close(operator.forward(x), g_y @ x @ g_x.T, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(operator.adjoint(r), g_y.T @ r @ g_x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["gaussian", "measured"])
def test_adjoint_into_a_given_tensor(kind):
    operator = an_operator(kind, (70, 80), 2, 1.0)
    r = torch.rand(2, 70, 80, dtype=torch.float64)
    out = torch.empty(2, 140, 160, dtype=torch.float64)
    assert operator.adjoint(r, out=out) is out
    torch.testing.assert_close(out, operator.adjoint(r))


@pytest.mark.parametrize("kind", ["gaussian", "measured"])
def test_a_molecule_on_the_grid_looks_as_an_independent_renderer_draws_it(kind):
    q, sigma, (row, column) = 4, 1.2, (61, 42)
    operator = an_operator(kind, (32, 24), q, sigma)
    x = torch.zeros(32 * q, 24 * q, dtype=torch.float64)
    x[row, column] = 1000.0
    expected = render(
        np.array([(row + 0.5) / q]), np.array([(column + 0.5) / q]), np.array([1000.0]),
        (32, 24), 1.0, sigma,
    )  # fmt: skip
    # a measured PSF is blurred once more by its own pixels, and by interpolation
    tolerance = 1e-6 if kind == "gaussian" else 12.0
    np.testing.assert_allclose(operator.forward(x).numpy(), expected, atol=tolerance)
    assert operator.forward(x).sum() == pytest.approx(1000.0, rel=1e-3)


def test_light_is_kept_inside_and_lost_outside():
    columns = gaussian_matrix(32, 4, 1.3).sum(dim=0)
    np.testing.assert_allclose(columns[28:-28], 1.0, atol=1e-6)
    assert columns[0] == pytest.approx(0.538, abs=2e-3)  # Phi(0.125 / 1.3), half and a bit
    assert (columns <= 1.0).all()


@pytest.mark.parametrize("kind", ["gaussian", "measured"])
@pytest.mark.parametrize("shape", [(24, 40), (24, 80)])
def test_norm_is_the_largest_singular_value_or_a_close_bound(kind, shape):
    operator = an_operator(kind, shape, 4, 1.1)
    x = torch.rand(shape[0] * 4, shape[1] * 4, dtype=torch.float64)
    for _ in range(60):
        x = operator.adjoint(operator.forward(x))
        largest, x = x.norm(), x / x.norm()
    assert largest <= operator.norm_squared * (1 + 1e-9)
    assert operator.norm_squared == pytest.approx(largest.item(), rel=0.05)


@pytest.mark.parametrize("kind", ["gaussian", "measured"])
def test_point_energy_is_that_of_a_molecule_in_the_middle(kind):
    operator = an_operator(kind, (31, 31), 4, 1.3)
    x = torch.zeros(124, 124, dtype=torch.float64)
    x[62, 62] = 1.0
    energy = operator.forward(x).square().sum().item()
    assert operator.point_energy == pytest.approx(energy, rel=0.02)
    # 1 / (4 pi sigma^2) for a Gaussian; pixels, and the bead's own pixels, widen it a little
    assert energy == pytest.approx(1 / (4 * np.pi * (1.3**2 + 1 / 12)), rel=0.06)


def test_the_matrix_is_differentiable_in_sigma():
    sigma = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: gaussian_matrix(7, 3, s), (sigma,))


def test_a_bead_image_gives_back_its_sigma():
    photons = bead_image(1.5) * 1e5 + 100.0
    psf = measured_psf(photons, 50.0, 100.0)  # finer pixels than the camera's
    assert psf.sigma_px == pytest.approx(0.75, rel=0.04)
    assert psf.on_fine_grid(4).sum() == pytest.approx(1.0)
    assert isinstance(forward_operator((20, 20), 4, psf), MeasuredOperator)
    assert isinstance(forward_operator((20, 20), 4, GaussianPSF(1.0)), SeparableOperator)


@pytest.mark.parametrize("image", [np.ones((20, 20)), np.zeros((3, 3)), np.ones((5, 20, 20))])
def test_an_image_without_a_bead_is_refused(image):
    with pytest.raises(InputError, match="PSF image"):
        measured_psf(image, 100.0, 100.0)
