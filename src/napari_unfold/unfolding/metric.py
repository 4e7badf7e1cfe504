"""Steps that suit every pixel; the classical ``1 / L`` suits an image that is lit all over.

The curvature of the fidelity along an image ``v`` that is dark outside a set S of pixels is at
most ``sum_i d_i v_i^2`` with ``d = A^T D'' A 1_S``, since no element of A is negative. Without
inertia, the steps ``1 / d_i`` therefore lower the energy, as ``1 / L`` does for all images. A frame
of single molecules is dark nearly everywhere, and there ``d`` is up to a hundred times smaller.

S are the pixels that can change in this iteration: those that hold light, and those whose gradient
pulls light into them. A few more in every camera pixel, the reserve, keep the steps finite. With
all of them, ``q^2``, the step is the classical one, as in the first iteration. Because ``A^T A``
blurs over more than a camera pixel, the lit pixels of a Gaussian PSF are only counted per camera
pixel, which costs a small part of an iteration; by what it may be wrong (`coarseness`) the result
is enlarged.
"""

from __future__ import annotations

import math

import torch

from napari_unfold.imaging.forward import ForwardOperator, SeparableOperator
from napari_unfold.unfolding.fidelity import Fidelity

RESERVE_PIXELS = 0.2
"""Of an untrained network; with five times as many, J after 50 iterations falls by a tenth."""

REACH_SIGMA = 5.5
"""How far the PSF is followed along an axis."""


def pixel_curvature(
    operator: ForwardOperator,
    fidelity: Fidelity,
    z: torch.Tensor,
    gradient: torch.Tensor,
    light: torch.Tensor,
    y: torch.Tensor,
    b: torch.Tensor,
    reserve_pixels: float | None,
    width_photons: float,
) -> torch.Tensor:
    """Return ``d = A^T D'' A 1_S``, or a little more; no gradient flows through it.

    Parameters
    ----------
    operator : ForwardOperator
        A.
    fidelity : Fidelity
        D.
    z : tensor (..., qY, qX)
        Where the step is taken from, in photons per fine pixel.
    gradient : tensor (..., qY, qX)
        Of the energy at `z`; where it is negative, dark pixels will be lit.
    light : tensor (..., Y, X)
        ``A z`` in photons.
    y, b : tensor (..., Y, X)
        Frames and background in photons.
    reserve_pixels : float or None
        Dark fine pixels of every camera pixel that count as lit, as if there were as many beyond
        the borders; None for all pixels.
    width_photons : float
        That of the smoothed projection, up to which a pixel counts as lit in part, so that nothing
        hangs on the last digit.

    Returns
    -------
    tensor (..., qY, qX)
        Positive; for a Gaussian PSF constant within a camera pixel.
    """
    with torch.no_grad():
        q = operator.upsampling
        expected = fidelity.expected_curvature(light, y, b)
        dark = q**2 if reserve_pixels is None else reserve_pixels
        lit = torch.zeros_like(z)
        if reserve_pixels is not None:
            lit = (z.abs() / width_photons).clamp(max=1.0).masked_fill(gradient < 0, 1.0)
        if not isinstance(operator, SeparableOperator):
            return operator.adjoint(expected * (operator.forward(lit) + dark))
        rows, columns = light.shape[-2:]
        by_pixel = lit.reshape(*lit.shape[:-2], rows, q, columns, q).mean(dim=(-3, -1))
        seen = expected * (operator.forward_even(by_pixel) + dark)
        curvature = coarseness(operator) * operator.adjoint_even(seen)
        return curvature.repeat_interleave(q, dim=-2).repeat_interleave(q, dim=-1)


def coarseness(operator: SeparableOperator) -> float:
    """Return how much smaller ``A^T A`` becomes, at most, where light is spread over camera pixels.

    That is so for pixels that lie in the corners of four camera pixels that meet.
    """
    even = operator.profile(math.ceil(REACH_SIGMA * operator.sigma_px)).mean(dim=0)
    apart = even @ even + even[1:] @ even[:-1]
    return max(1.0, 4.0 * operator.point_energy / float(apart) ** 2)
