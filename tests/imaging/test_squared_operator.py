"""A∘A: the variance of pixels from that of emitters."""

import numpy as np
import pytest
import torch

from napari_unfold.imaging.forward import MeasuredOperator, SeparableOperator, forward_operator
from napari_unfold.imaging.psf import GaussianPSF, MeasuredPSF
from napari_unfold.simulation.scenes import render

DOUBLE = torch.float64


def a_bead(lopsided: bool = True) -> MeasuredPSF:
    """Image of a bead, wider along x, with a second lobe so that no flip goes unnoticed."""
    image = render(np.array([10.5]), np.array([10.5]), np.ones(1), (21, 21), 1.0, 1.6)
    if lopsided:
        image[7:9, 12:14] += 0.02
    return MeasuredPSF(image, 0.5)


def matrix_of(operator) -> torch.Tensor:
    """Write an operator as a matrix, from its images of single fine pixels."""
    q, (rows, columns) = operator.upsampling, operator.shape
    n = rows * q * columns * q
    points = torch.eye(n, dtype=DOUBLE).reshape(n, rows * q, columns * q)
    return operator.forward(points).reshape(n, -1).T


PSFS = [GaussianPSF(0.8), a_bead()]


@pytest.mark.parametrize("psf", PSFS, ids=["gaussian", "measured"])
@pytest.mark.parametrize("q", [1, 2, 3])
def test_every_element_is_squared(psf, q):
    plain = forward_operator((7, 6), q, psf, dtype=DOUBLE)
    squared = forward_operator((7, 6), q, psf, dtype=DOUBLE, squared=True)
    expected = matrix_of(plain).square()
    torch.testing.assert_close(matrix_of(squared), expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("psf", PSFS, ids=["gaussian", "measured"])
def test_the_adjoint_is_the_transpose(psf):
    operator = forward_operator((7, 6), 3, psf, dtype=DOUBLE, squared=True)
    x, r = torch.rand(2, 21, 18, dtype=DOUBLE), torch.rand(2, 7, 6, dtype=DOUBLE)
    torch.testing.assert_close(
        (operator.forward(x) * r).sum(), (x * operator.adjoint(r)).sum(), rtol=1e-10, atol=0
    )
    out = torch.empty(2, 21, 18, dtype=DOUBLE)
    assert operator.adjoint(r, out=out) is out
    torch.testing.assert_close(out, operator.adjoint(r))


@pytest.mark.parametrize("psf", PSFS, ids=["gaussian", "measured"])
@pytest.mark.parametrize("shape", [(12, 9), (12, 80)])
def test_the_norm_is_known_and_not_underestimated(psf, shape):
    operator = forward_operator(shape, 2, psf, dtype=DOUBLE, squared=True)
    x = torch.rand(1, shape[0] * 2, shape[1] * 2, dtype=DOUBLE)
    for _ in range(60):
        x = operator.adjoint(operator.forward(x))
        norm_squared = float(x.norm())
        x = x / norm_squared
    assert 0.999 * norm_squared <= operator.norm_squared <= 1.3 * norm_squared


def test_the_energy_of_a_point_is_that_of_its_squared_image():
    for psf in PSFS:
        operator = forward_operator((21, 21), 3, psf, dtype=DOUBLE, squared=True)
        x = torch.zeros(63, 63, dtype=DOUBLE)
        x[31, 31] = 1.0
        assert operator.point_energy == pytest.approx(float(operator.forward(x).square().sum()))


@pytest.mark.parametrize("squared", [False, True])
def test_long_axes_are_cut_into_blocks_without_a_trace(squared):
    whole = SeparableOperator((64, 64), 2, 1.1, dtype=DOUBLE, squared=squared)
    cut = SeparableOperator((64, 100), 2, 1.1, dtype=DOUBLE, squared=squared)
    x = torch.rand(128, 80, dtype=DOUBLE)
    narrow, wide = torch.zeros(128, 128, dtype=DOUBLE), torch.zeros(128, 200, dtype=DOUBLE)
    narrow[:, :80], wide[:, :80] = x, x
    torch.testing.assert_close(
        cut.forward(wide)[:, :64], whole.forward(narrow), rtol=1e-6, atol=1e-9
    )


@pytest.mark.slow
def test_variance_of_independent_emitters():
    """Poisson emitters have the variance of their mean; light without noise shows A∘A of it."""
    rng = np.random.default_rng(0)
    mean = np.zeros((16, 16))
    mean[rng.integers(0, 16, 12), rng.integers(0, 16, 12)] = 30.0
    x = torch.tensor(rng.poisson(mean, (20_000, 16, 16)).astype(float))
    plain = MeasuredOperator((8, 8), 2, a_bead(), dtype=DOUBLE)
    squared = forward_operator((8, 8), 2, a_bead(), dtype=DOUBLE, squared=True)
    seen = plain.forward(x).var(dim=0)
    expected = squared.forward(torch.tensor(mean))
    torch.testing.assert_close(seen, expected, rtol=0.08, atol=0.01)
