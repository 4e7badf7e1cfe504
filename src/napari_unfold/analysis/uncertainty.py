"""How uncertain positions and photons are.

The covariance of a joint fit is the inverse of its Fisher information (Cramer-Rao bound), that of
the brightness prior included. For every molecule the information of all molecules around it is
inverted, so that its uncertainty contains what it shares with them. Two terms are added:

* Molecules at the same place would have no information on their distance at all; that they lie
  within one spot is one, of standard deviation sigma.
* A spot that is taken for one molecule may hide another, which no fit can know of. The variance
  that this adds grows with the crowding; ``HIDDEN`` was found on simulations of 0.1 to 8
  molecules per square micrometre, where the errors are then as large as stated.
"""

from __future__ import annotations

import torch

from napari_unfold.analysis.likelihood import Frames
from napari_unfold.analysis.patches import neighbourhoods
from napari_unfold.analysis.spots import REACH_SIGMA, Molecules

NEIGHBOURS = 12
"""Neighbours whose information is inverted together with a molecule's own, the nearest ones."""

HIDDEN = 0.04
"""Error by hidden molecules where one is expected per area of a PSF, in units of sigma."""


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
    variance[:, :2] += ((HIDDEN * frames.sigma_px) ** 2 * crowding)[:, None]
    return variance.sqrt()
