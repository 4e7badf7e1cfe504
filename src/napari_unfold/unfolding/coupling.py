"""Neighbouring frames coupled: a molecule that is on in them is cheaper here.

As the log-sum penalty is an l1 norm reweighted by the light of the pixel itself, the weight of a
pixel is lowered by the light that was found there one frame before and one frame after::

    lambda_ti = lambda w_ti,    w_ti = 1 / (1 + c n_ti / B),    n_t = S (x_{t-1} + x_{t+1})

``c >= 0`` is the coupling and B the photons of a typical molecule, so that a typical molecule in
one of the neighbours divides the weight by ``1 + c``; ``c = 0`` is the network of single frames. S
gathers the light within about a fine pixel, over which a molecule that stays is found elsewhere.

The light of the neighbours is taken once, when frames have had half of their iterations alone, and
stays. A frame therefore depends on one neighbour on each side and on no other, wherever a batch
begins, and what the coupling sees does not depend on what it does.
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


def weight_factor(light: torch.Tensor, coupling: torch.Tensor | float) -> torch.Tensor:
    """Return ``w = 1 / (1 + c n)``.

    Parameters
    ----------
    light : tensor
        ``n / B``: light of the neighbours in typical molecules.
    coupling : tensor or float
        c.
    """
    return 1.0 / (1.0 + coupling * light)
