"""Whitening: what the PSF blurred counts less than its noise, so that all scales converge alike.

Least squares asks for the broad features of an image many times more strongly than for the fine
ones, which the PSF has nearly erased; gradient descent therefore finds them last. The whitened
fidelity ``1/2 r^T M r`` of the misfit ``r = A x + b - y`` weighs every spatial frequency by

    (1 + mu) / (s + mu)

where ``s`` is the share of its power that the PSF lets through, 1 for even light. ``mu`` is about
the power of the noise beside that of the signal: a large one leaves least squares as it is, a small
one deconvolves the misfit and its noise. ``M`` is the same convolution along both axes of the
camera, so that ``A^T M A`` keeps the norm of ``A^T A`` or less, and the same steps are safe.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch

from napari_unfold.imaging.convolution import band
from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.imaging.psf import gaussian_matrix

REACH_SIGMA, REACH_PX = 8.0, 4
"""How far, to each side, the misfit of a pixel is felt: 1e-3 of the centre for ``mu = 0.01``."""

FREQUENCIES = 256
SMALLEST = 1e-4
"""Smaller parts of a kernel are left out."""


def whitening_kernel(operator: SeparableOperator, mu: torch.Tensor) -> torch.Tensor:
    """Return the convolution ``(2 reach + 1,)`` that ``M`` is along one axis of the camera.

    Parameters
    ----------
    operator : SeparableOperator
        A, for a Gaussian PSF.
    mu : tensor ()
        The derivative by it is known.
    """
    share, waves = (known.to(mu.device) for known in _spectrum(operator))
    return (waves @ ((1.0 + mu.double()) / (share + mu.double()))).to(mu.dtype)


@lru_cache(maxsize=8)
def _spectrum(operator: SeparableOperator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the share of every frequency that passes, and the waves that make a kernel of them."""
    reach = math.ceil(REACH_SIGMA * operator.sigma_px) + REACH_PX
    omega = torch.arange(FREQUENCIES, dtype=torch.float64) * (2.0 * torch.pi / FREQUENCIES)
    profile = operator.profile(math.ceil(5.5 * operator.sigma_px) + 1)
    n = profile.shape[1]
    apart = torch.arange(1, n, dtype=torch.float64)
    overlap = torch.stack([(profile[:, : n - k] * profile[:, k:]).sum() for k in range(n)])
    power = overlap[0] + 2.0 * torch.cos(omega[:, None] * apart) @ overlap[1:]
    distance = torch.arange(-reach, reach + 1, dtype=torch.float64)
    waves = torch.cos(distance[:, None] * omega) / FREQUENCIES
    return (power / power[0]).clamp(min=0.0), waves


class CurvatureKernel(NamedTuple):
    """How the elements of ``|A^T M A|`` fall off along one axis.

    Attributes
    ----------
    kernel : tensor (n,)
        Mean over the fine pixels of two blocks, over the distance of the blocks.
    block : int
        Fine pixels of a block: half a camera pixel, or one.
    coarseness : float
        How much smaller the product of both axes becomes, at most, by this mean.
    border : tensor (m,)
        By what the elements of the first blocks of an axis are larger than those far inside, where
        the misfit of the camera pixels beyond is not there to make them smaller.
    """

    kernel: torch.Tensor
    block: int
    coarseness: float
    border: torch.Tensor

    def at_borders(self, n: int) -> torch.Tensor:
        """Return the factors of all `n` blocks of an axis."""
        factors = self.border.new_ones(n)
        m = min(n, len(self.border))
        factors[:m] = self.border[:m]
        return torch.maximum(factors, factors.flip(0))


@lru_cache(maxsize=8)
def curvature_kernel(operator: SeparableOperator, mu: float) -> CurvatureKernel:
    """Return the `CurvatureKernel` of an operator and a ``mu``."""
    q = operator.upsampling
    block = q // 2 if q % 2 == 0 else 1
    parts = q // block
    whitening = whitening_kernel(operator, torch.tensor(mu, dtype=torch.float64))
    reach = math.ceil(11.0 * operator.sigma_px) + 2 + len(whitening) // 2
    n = 2 * reach + 1
    matrix = gaussian_matrix(n, q, operator.sigma_px)
    elements = (matrix.T @ band(whitening, n, n) @ matrix).abs()
    middle = elements[reach * q : (reach + 1) * q]
    means = middle.reshape(parts, block, n * parts, block).mean(dim=(1, 3))
    # the blocks of the middle pixel, laid over each other
    length = (n - 1) * parts + 1
    kernel = torch.stack([means[i, i : i + length] for i in range(parts)]).amax(dim=0)
    kernel = torch.maximum(kernel, kernel.flip(0))
    centre = length // 2
    far = int(((kernel > SMALLEST * kernel.max()).nonzero() - centre).abs().max())
    alone = elements.diagonal()[reach * q : (reach + 1) * q].max()
    missed = 2.0 * alone / (kernel[centre] + kernel[centre + 1]) if block > 1 else 1.0
    # the larger of what a pixel alone and what even light would be mistaken by
    ratios = [
        (values / values[reach * q : (reach + 1) * q].max()).reshape(-1, block).amax(dim=1)
        for values in (elements.diagonal(), elements.sum(dim=1))
    ]
    border = torch.maximum(*ratios).clamp(min=1.0)[: reach * parts]
    return CurvatureKernel(
        kernel[centre - far : centre + far + 1], block, max(1.0, float(missed) ** 2), border
    )
