"""The smoothed projection onto nonnegative images."""

from __future__ import annotations

import torch


def smoothed_projection(t: torch.Tensor, width: float | torch.Tensor) -> torch.Tensor:
    """Project onto ``t >= 0`` with a continuous derivative (P_eps of Algorithm 1).

    Zero below 0, the identity above `width`, between them the cubic
    ``2 t^2 / width - t^3 / width^2`` through (0, 0) and (width, width) with slopes 0 and 1.

    Parameters
    ----------
    t : tensor
    width : float or tensor
        Width of the transition (the paper's epsilon), in the unit of `t`, positive.
    """
    s = (t / width).clamp(0.0, 1.0)
    return torch.where(t < width, width * s * s * (2.0 - s), t)


def projection_slope(t: torch.Tensor, width: float) -> torch.Tensor:
    """Return the derivative of `smoothed_projection` by `t`."""
    s = (t / width).clamp_(0.0, 1.0)
    # 4 s - 3 s^2 between 0 and the width; beyond it 1, which is its value at s = 1
    return s.mul_(4.0 - 3.0 * s)
