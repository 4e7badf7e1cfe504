"""Steps that suit every pixel; the classical ``1 / L`` suits an image that is lit all over.

The curvature of the fidelity along an image ``v`` that is dark outside a set S of pixels is at
most ``sum_i d_i v_i^2`` with ``d = A^T D'' A 1_S``, since no element of A is negative. Without
inertia, the steps ``1 / d_i`` therefore lower the energy, as ``1 / L`` does for all images. A frame
of single molecules is dark nearly everywhere, and there ``d`` is up to a hundred times smaller.

S are the pixels that hold light, and a few dark ones in every camera pixel, which may receive some
in this iteration: the reserve. With all of them, ``q^2``, the step is the classical one, as in the
first iteration, before which everything is dark. Because ``A^T A`` blurs over more than a camera
pixel, the lit pixels need only be counted per camera pixel; the steps are those of camera pixels
and cost a small part of an iteration.
"""

from __future__ import annotations

import torch

from napari_unfold.imaging.forward import ForwardOperator, SeparableOperator
from napari_unfold.unfolding.fidelity import Fidelity

RESERVE_PIXELS = 0.2
"""Of an untrained network; from 0.05 to 1 it hardly matters."""


def pixel_curvature(
    operator: ForwardOperator,
    fidelity: Fidelity,
    z: torch.Tensor,
    light: torch.Tensor,
    y: torch.Tensor,
    b: torch.Tensor,
    reserve_pixels: float | None,
) -> torch.Tensor:
    """Return ``d = A^T D'' A 1_S``, averaged over camera pixels; no gradient flows through it.

    Parameters
    ----------
    operator : ForwardOperator
        A.
    fidelity : Fidelity
        D.
    z : tensor (..., qY, qX)
        Where the step is taken from, in photons per fine pixel.
    light : tensor (..., Y, X)
        ``A z`` in photons.
    y, b : tensor (..., Y, X)
        Frames and background in photons.
    reserve_pixels : float or None
        Dark fine pixels of every camera pixel that count as lit; None for all of them.

    Returns
    -------
    tensor (..., qY, qX)
        Positive; constant within a camera pixel.
    """
    with torch.no_grad():
        q = operator.upsampling
        if reserve_pixels is None:
            lit = torch.ones_like(light)
        else:
            lit = _mean_of_pixels((z > 0).to(z.dtype), q) + reserve_pixels / q**2
        bound = fidelity.curvature_bound(light, y, b)
        if isinstance(operator, SeparableOperator):
            curvature = operator.adjoint_even(bound * operator.forward_even(lit))
        else:
            seen = bound * operator.forward(_spread(lit, q))
            curvature = _mean_of_pixels(operator.adjoint(seen), q)
        return _spread(curvature, q)


def _mean_of_pixels(x: torch.Tensor, q: int) -> torch.Tensor:
    """Average fine pixels over camera pixels."""
    rows, columns = x.shape[-2] // q, x.shape[-1] // q
    return x.reshape(*x.shape[:-2], rows, q, columns, q).mean(dim=(-3, -1))


def _spread(image: torch.Tensor, q: int) -> torch.Tensor:
    """Give all fine pixels of a camera pixel its value."""
    return image.repeat_interleave(q, dim=-2).repeat_interleave(q, dim=-1)
