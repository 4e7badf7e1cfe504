"""How uncertain positions and photons are.

The covariance of a joint fit is the inverse of its Fisher information (Cramer-Rao bound), that of
the brightness prior included. For every molecule the information of all molecules around it is
inverted, so that its uncertainty contains what it shares with them. Molecules at the same place
would leave no information on their distance at all; that they lie within one spot is one, of
standard deviation sigma.

No fit can know that a spot taken for one molecule is two, or that a neighbour is missing. The
variance that this adds grows with the crowding c, the molecules expected per area of a PSF:

    variance of a coordinate = Cramer-Rao bound x (1 + MISTAKES c) + (HIDDEN sigma)^2 c

Both numbers were found on simulations of 0.1 to 8 molecules per square micrometre and 500 to 5000
photons, where errors are then as large as stated.
"""

from __future__ import annotations

import torch

from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.patches import neighbourhoods
from napari_unfold.localization.profiles import REACH_SIGMA
from napari_unfold.localization.spots import Molecules

NEIGHBOURS = 12
"""Neighbours whose information is inverted together with a molecule's own, the nearest ones."""

MISTAKES, HIDDEN = 0.5, 0.02


def uncertainties(molecules: Molecules, frames: Frames, crowding: torch.Tensor) -> torch.Tensor:
    """Return the standard deviations ``(N, 3)`` of y, x (pixels) and photons.

    Parameters
    ----------
    molecules : Molecules
        As fitted.
    frames : Frames
    crowding : tensor (N,)
        Molecules expected per ``4 pi sigma^2`` and frame, at every molecule.
    """
    light = frames.spot_model(molecules).light(molecules)
    everyone = torch.arange(len(molecules), device=light.device)
    variance = torch.zeros_like(molecules.table)
    reach = REACH_SIGMA * frames.sigma_px
    for hood in neighbourhoods(frames, molecules, everyone, light, reach, NEIGHBOURS):
        information = hood.patches.information(hood.spots).double()
        diagonal = information.diagonal(dim1=1, dim2=2)
        diagonal[:, 0::3] += frames.sigma_px**-2
        diagonal[:, 1::3] += frames.sigma_px**-2
        covariance = torch.linalg.inv_ex(information)[0]
        own = covariance.diagonal(dim1=1, dim2=2)[:, :3]
        variance[hood.which] = own.clamp(min=0.0).to(variance)
    crowded = crowding[:, None]
    variance[:, :2] *= 1.0 + MISTAKES * crowded
    variance[:, :2] += (HIDDEN * frames.sigma_px) ** 2 * crowded
    return variance.sqrt()
