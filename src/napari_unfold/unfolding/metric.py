"""Steps that suit every pixel; the classical ``1 / L`` suits an image that is lit all over.

The curvature of the fidelity along a change ``v`` of the image is at most ``sum_i d_i v_i^2`` with

    d = (A^T D'' A w) / w

for any positive ``w``, since no element of A is negative (Cauchy's inequality with these weights).
Without inertia, the steps ``1 / d_i`` therefore lower the energy, as ``1 / L`` does. They are long
where ``w`` is about what a pixel will change by: a frame of single molecules is dark nearly
everywhere, and there ``d`` is up to a hundred times smaller than ``L``. For ``w`` is taken
(`shares`) the root of the light of a pixel, and little for the dark ones whose gradient pulls light
into them; or one for both. For a whitened fidelity ``A^T D'' A`` is replaced by ``|A^T M A|``.

A few dark pixels more in every camera pixel, the reserve, keep the steps finite. With all of them,
``q^2``, the step is the classical one, as in the first iteration. ``A^T A`` blurs over more than a
camera pixel, so that ``w`` is only summed per camera pixel, or half of one, which costs a small
part of an iteration; by what it may be wrong (`coarseness`) the result is enlarged.
"""

from __future__ import annotations

import math

import torch

from napari_unfold.imaging.convolution import along_both_axes
from napari_unfold.imaging.forward import ForwardOperator, SeparableOperator
from napari_unfold.unfolding.fidelity import Fidelity
from napari_unfold.unfolding.whitening import curvature_kernel

RESERVE_PIXELS = 0.2
"""Of an untrained network; with five times as many, J after 50 iterations falls by a tenth."""

FAINT_SHARES = (0.1, 1.0)
"""Least share of a pixel that changes, beside that of a molecule of usual brightness. The former
serves bright molecules best; the latter, with which all that may change count alike, noisy ones."""

REACH_SIGMA = 5.5
"""How far the PSF is followed along an axis."""


def shares(
    z: torch.Tensor,
    gradient: torch.Tensor,
    faint_share: float,
    molecule_photons: float,
    width_photons: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``w``, and the same where pixels that cannot change are left out.

    Parameters
    ----------
    z, gradient : tensor (..., qY, qX)
        Where the step is taken from, in photons per fine pixel, and the gradient of the energy
        there; where it is negative, dark pixels will be lit.
    faint_share : float
        Least share of a pixel that changes. With one, all that may change count alike.
    molecule_photons : float
        Pixels as bright as a typical molecule have the share one.
    width_photons : float
        That of the smoothed projection, up to which a pixel counts as lit in part, so that nothing
        hangs on the last digit.
    """
    light = z.abs()
    root = (light / molecule_photons).clamp(max=1.0).sqrt()
    faint = (light / width_photons).clamp(max=1.0).masked_fill(gradient < 0, 1.0)
    return root.clamp(min=faint_share), torch.maximum(root, faint_share * faint)


def pixel_curvature(
    operator: ForwardOperator,
    fidelity: Fidelity,
    z: torch.Tensor,
    gradient: torch.Tensor,
    light: torch.Tensor,
    y: torch.Tensor,
    b: torch.Tensor,
    reserve_pixels: float | None,
    faint_share: float,
    molecule_photons: float,
    width_photons: float,
    whitening: float | None = None,
) -> torch.Tensor:
    """Return ``d = (A^T D'' A w) / w``, or a little more; no gradient flows through it.

    Parameters
    ----------
    operator : ForwardOperator
        A.
    fidelity : Fidelity
        D.
    z, gradient, faint_share, molecule_photons, width_photons
        As for `shares`.
    light : tensor (..., Y, X)
        ``A z`` in photons.
    y, b : tensor (..., Y, X)
        Frames and background in photons.
    reserve_pixels : float or None
        Dark fine pixels of every camera pixel that count as lit, as if there were as many beyond
        the borders; None for all pixels.
    whitening : float, optional
        ``mu`` of a whitened fidelity (`unfolding.whitening`).

    Returns
    -------
    tensor (..., qY, qX)
        Positive.
    """
    with torch.no_grad():
        dark: float
        if reserve_pixels is None:
            w, counted, dark = torch.ones_like(z), torch.zeros_like(z), operator.upsampling**2
        else:
            w, counted = shares(z, gradient, faint_share, molecule_photons, width_photons)
            dark = reserve_pixels
        if whitening is not None:
            assert isinstance(operator, SeparableOperator)
            return whitened_curvature(operator, whitening, counted, dark) / w
        expected = fidelity.expected_curvature(light, y, b)
        if not isinstance(operator, SeparableOperator):
            return operator.adjoint(expected * (operator.forward(counted) + dark)) / w
        q = operator.upsampling
        by_pixel = summed(counted, q) / q**2
        seen = expected * (operator.forward_even(by_pixel) + dark)
        return expanded(coarseness(operator) * operator.adjoint_even(seen), q) / w


def whitened_curvature(
    operator: SeparableOperator, mu: float, counted: torch.Tensor, dark: float
) -> torch.Tensor:
    """Return ``|A^T M A|`` times the shares that count and `dark` ones in every camera pixel."""
    of = curvature_kernel(operator, mu)
    kernel, block = of.kernel.to(counted), of.block
    everywhere = dark * (block / operator.upsampling) ** 2 * kernel.sum() ** 2
    d = of.coarseness * (along_both_axes(summed(counted, block), kernel) + everywhere)
    rows, columns = (of.at_borders(n).to(counted) for n in d.shape[-2:])
    return expanded(d * rows[:, None] * columns, block)


def summed(image: torch.Tensor, block: int) -> torch.Tensor:
    """Sum an image over blocks of pixels."""
    rows, columns = (n // block for n in image.shape[-2:])
    return image.reshape(*image.shape[:-2], rows, block, columns, block).sum(dim=(-3, -1))


def expanded(image: torch.Tensor, block: int) -> torch.Tensor:
    """Give all pixels of a block its value."""
    return image.repeat_interleave(block, dim=-2).repeat_interleave(block, dim=-1)


def coarseness(operator: SeparableOperator) -> float:
    """Return how much smaller ``A^T A`` becomes, at most, where light is spread over camera pixels.

    That is so for pixels that lie in the corners of four camera pixels that meet.
    """
    even = operator.profile(math.ceil(REACH_SIGMA * operator.sigma_px)).mean(dim=0)
    apart = even @ even + even[1:] @ even[:-1]
    return max(1.0, 4.0 * operator.point_energy / float(apart) ** 2)
