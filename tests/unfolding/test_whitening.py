"""The misfit in which all scales weigh alike."""

import numpy as np
import pytest
import torch

from napari_unfold.errors import InputError
from napari_unfold.imaging.convolution import along_both_axes, band
from napari_unfold.imaging.forward import MeasuredOperator, SeparableOperator
from napari_unfold.imaging.psf import MeasuredPSF, gaussian_matrix
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.metric import whitened_curvature
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.parameters import NetworkParameters
from napari_unfold.unfolding.whitening import curvature_kernel, whitening_kernel

DOUBLE = torch.float64


@pytest.mark.parametrize("shape", [(9, 7), (300, 5), (40, 270)])
def test_the_convolution_is_that_of_scipy(shape):
    from scipy.ndimage import convolve1d

    kernel = np.array([0.1, -0.5, 2.0, -0.5, 0.1])
    image = np.random.default_rng(0).normal(size=(2, *shape))
    wanted = convolve1d(convolve1d(image, kernel, 1, mode="constant"), kernel, 2, mode="constant")
    found = along_both_axes(torch.tensor(image), torch.tensor(kernel))
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.6, 1.1, 1.6])
@pytest.mark.parametrize("mu", [0.01, 0.1, 1.0])
def test_waves_are_weighed_by_what_the_psf_lets_through(sigma, mu):
    operator = SeparableOperator((32, 32), 4, sigma)
    kernel = whitening_kernel(operator, torch.tensor(mu, dtype=DOUBLE)).numpy()
    n = 401
    blur = gaussian_matrix(n, 4, sigma).double().numpy()
    middle = (blur @ blur.T)[n // 2]  # as an axis of A A^T sees one camera pixel
    distance = np.arange(n) - n // 2
    reach = np.arange(len(kernel)) - len(kernel) // 2
    for frequency in np.linspace(0.0, np.pi, 9):
        share = (middle * np.cos(frequency * distance)).sum() / middle.sum()
        weight = (kernel * np.cos(frequency * reach)).sum()
        assert weight == pytest.approx((1 + mu) / (share + mu), rel=0.025)


def test_a_large_mu_leaves_least_squares_as_it_is():
    operator = SeparableOperator((16, 16), 4, 1.1)
    kernel = whitening_kernel(operator, torch.tensor(1e6, dtype=DOUBLE))
    wanted = torch.zeros_like(kernel)
    wanted[len(kernel) // 2] = 1.0
    torch.testing.assert_close(kernel, wanted, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("mu", [0.02, 0.3])
def test_the_energy_is_never_negative(mu):
    operator = SeparableOperator((40, 40), 3, 1.1, dtype=DOUBLE)
    m = band(whitening_kernel(operator, torch.tensor(mu, dtype=DOUBLE)), 40, 40)
    assert torch.linalg.eigvalsh(m).min() > 0


@pytest.mark.parametrize("mu", [0.02, 0.1])
@pytest.mark.parametrize("row", [0, 1, 2, 5, 9, 40])
def test_the_curvature_of_a_molecule_at_the_border_is_not_underestimated(mu, row):
    operator = SeparableOperator((24, 24), 4, 1.1, dtype=DOUBLE)
    counted = torch.zeros(96, 96, dtype=DOUBLE)
    counted[row, 50] = 1.0
    m = whitening_kernel(operator, torch.tensor(mu, dtype=DOUBLE))
    exact = operator.adjoint(along_both_axes(operator.forward(counted), m))[row, 50]
    found = whitened_curvature(operator, mu, counted, 0.0)[row, 50]
    assert exact <= 1.01 * found < 2.5 * exact


def test_the_gradient_is_that_of_the_whitened_energy():
    operator = SeparableOperator((10, 12), 2, 1.0, dtype=DOUBLE)
    parameters = classical_parameters(operator, 50.0, 3.0, penalty="l1", iterations=1)
    network = UnfoldedNetwork(
        operator, parameters.model_copy(update={"whitening": 0.1}), dtype=DOUBLE
    )
    x = torch.rand(20, 24, dtype=DOUBLE).requires_grad_()
    b = torch.full((10, 12), 3.0, dtype=DOUBLE)
    y = operator.forward(x.detach()) + b + 1.0
    (wanted,) = torch.autograd.grad(network.energy(x, y, b).sum(), x)
    with torch.no_grad():
        residual = network.whitened(operator.forward(x) + b - y)
        found = operator.adjoint(residual) + network.weight
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("q", [3, 4])
def test_the_curvature_of_one_molecule_is_not_underestimated(q):
    operator = SeparableOperator((32, 32), q, 1.1)
    kernel, block, missed, _ = curvature_kernel(operator, 0.1)
    blur = gaussian_matrix(65, q, 1.1).double()
    m = band(whitening_kernel(operator, torch.tensor(0.1, dtype=DOUBLE)), 65, 65)
    alone = (blur.T @ m @ blur).abs().diagonal()[32 * q : 33 * q].max()
    assert missed * kernel.max() ** 2 >= alone**2 * (1 - 1e-6)
    assert block == {3: 1, 4: 2}[q]


def test_only_least_squares_with_a_gaussian_psf_can_be_whitened():
    operator = SeparableOperator((8, 8), 2, 1.0)
    kl = classical_parameters(operator, 50.0, 3.0, fidelity="kl", iterations=2).model_dump()
    with pytest.raises(ValueError, match="cannot be whitened"):
        NetworkParameters.model_validate({**kl, "whitening": 0.1})
    measured = MeasuredOperator((8, 8), 2, MeasuredPSF(np.full((3, 3), 1 / 9), 0.5))
    parameters = classical_parameters(measured, 50.0, 3.0, iterations=2)
    with pytest.raises(ValueError, match="suit every pixel"):
        NetworkParameters.model_validate({**parameters.model_dump(), "whitening": 0.1})
    with pytest.raises(InputError, match="Gaussian PSF"):
        UnfoldedNetwork(measured, parameters.model_copy(update={"whitening": 0.1}))
