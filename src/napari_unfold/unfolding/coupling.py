"""Neighbouring frames coupled: a molecule that is on in them is cheaper here.

A part of the penalty is remitted where light was found one frame before or one frame after: with
the penalty ``phi``, its weight ``lambda`` and the photons B of a typical molecule, the energy of
frame t has instead of ``lambda sum_i phi(x_i)``::

    lambda sum_i phi(x_i) - v_ti B log(1 + x_i / B),    v_t = c n_t / (B + c n_t),
    n_t = S (x_{t-1} + x_{t+1})

``c >= 0`` is the coupling, and S gathers the light within about a fine pixel, over which a molecule
that stays is found elsewhere. Where there is no light yet this is the reweighted l1 norm: a typical
molecule in one of the neighbours divides the weight by ``1 + c``. ``c = 0`` is the network of
single frames.

What is remitted is almost linear up to a typical molecule, so that light spread over several pixels
still costs more than in one: to multiply the whole log-sum penalty by ``1 - v`` blurs what is found
(`docs/architecture.md`). Beyond, it grows too slowly to make light that the data do not support.

The light of the neighbours is taken once, when frames have had half of their iterations alone, and
stays. A frame therefore depends on one neighbour on each side and on no other, wherever a batch
begins.
"""

from __future__ import annotations

import torch
from torch.nn import functional

GATHERED_PX = 1.0
"""Sigma of S in fine pixels; a lone fine pixel keeps its light."""


def iterations_alone(iterations: int) -> int:
    """Return after how many of K iterations frames are coupled."""
    return iterations // 2


def light_of_neighbours(x: torch.Tensor, follows: torch.Tensor) -> torch.Tensor:
    """Return ``n_t``, the light that the frames before and after have around every pixel.

    The map is symmetric, so that it is its own transpose.

    Parameters
    ----------
    x : tensor (T, qY, qX)
        Molecule images in the order of time.
    follows : tensor (T,), bool
        Which frames came directly after the one before them in `x`; that of the first one is of
        no account. Others are no neighbours.

    Returns
    -------
    tensor (T, qY, qX)
    """
    joined = follows[1:, None, None]
    around = torch.zeros_like(x)
    around[1:] += joined * x[:-1]
    around[:-1] += joined * x[1:]
    half = round(3.0 * GATHERED_PX)
    offsets = torch.arange(-half, half + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (offsets / GATHERED_PX) ** 2)
    around = functional.conv2d(around[:, None], kernel.view(1, 1, -1, 1), padding=(half, 0))
    return functional.conv2d(around, kernel.view(1, 1, 1, -1), padding=(0, half))[:, 0]


def support(light: torch.Tensor, coupling: torch.Tensor | float) -> torch.Tensor:
    """Return ``v = c n / (1 + c n)``, the share of the penalty's slope that is remitted at zero.

    Parameters
    ----------
    light : tensor
        ``n / B``: light of the neighbours in typical molecules.
    coupling : tensor or float
        c.
    """
    supported = coupling * light
    return supported / (1.0 + supported)


def remitted_slope(x: torch.Tensor, molecule_photons: float) -> torch.Tensor:
    """Return the derivative of ``B log(1 + x_i / B)``, evaluated at ``max(x_i, 0)``."""
    return molecule_photons / (x.clamp(min=0.0) + molecule_photons)


def remitted_curvature(x: torch.Tensor, molecule_photons: float) -> torch.Tensor:
    """Return the derivative of `remitted_slope` by ``x_i``."""
    return -molecule_photons * (x > 0) / (x.clamp(min=0.0) + molecule_photons).square_()
