"""What single frames tell of the molecules in them, their neighbours taken into account.

Around every row of a track, the loss of its frame is a parabola in the positions and photons of
itself and of its neighbours. All but its own position are eliminated: they follow. What the other
frames tell of the neighbours' positions is known; what they tell of its own is left out, so that
the frames of a track can be added up.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from napari_unfold.localization.anchors import Anchors
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.patches import Neighbourhood, neighbourhoods
from napari_unfold.localization.profiles import REACH_SIGMA
from napari_unfold.localization.refine import EMPTY_CURVATURE
from napari_unfold.localization.tracks import Tracks

NEIGHBOURS = 6
"""So many of the nearest molecules follow."""


@dataclass(frozen=True)
class RowKnowledge:
    """Parabolas by single frames, float64.

    Attributes
    ----------
    gradient : tensor (N, 2)
        Minus the derivative of the loss of the row's frame by y and x.
    information : tensor (N, 2, 2)
        Its second derivative.
    photons_variance : tensor (N,)
        Of the row's photons, with all that is known of its position.
    least : float
        Information on a coordinate that there is in any case: a molecule lies within its spot.
    """

    gradient: torch.Tensor
    information: torch.Tensor
    photons_variance: torch.Tensor
    least: float

    def of_tracks(self, tracks: Tracks) -> torch.Tensor:
        """Return the covariance ``(M, 2, 2)`` of the positions of tracks."""
        information = tracks.total(self.information) + tracks.carried.information.double()
        information.diagonal(dim1=1, dim2=2).add_(self.least)
        covariance: torch.Tensor = torch.linalg.inv_ex(information)[0]
        return covariance


def row_knowledge(tracks: Tracks, frames: Frames, anchors: Anchors) -> RowKnowledge:
    """Return what single frames tell of the rows of tracks.

    Parameters
    ----------
    tracks : Tracks
        As fitted.
    frames : Frames
    anchors : Anchors (N,)
        What the other frames tell of the positions of the rows, see `anchors_of_rows`.
    """
    molecules = tracks.molecules
    light = frames.light(molecules)
    everyone = torch.arange(len(molecules), device=light.device)
    n = len(molecules)
    knowledge = RowKnowledge(
        light.new_zeros(n, 2, dtype=torch.float64),
        light.new_zeros(n, 2, 2, dtype=torch.float64),
        light.new_zeros(n, dtype=torch.float64),
        frames.sigma_px**-2,
    )
    reach = REACH_SIGMA * frames.sigma_px
    for hood in neighbourhoods(frames, molecules, everyone, light, reach, NEIGHBOURS, anchors):
        gradient, information, variance = _without_the_others(hood, anchors.at(hood.which))
        knowledge.gradient[hood.which] = gradient
        knowledge.information[hood.which] = information
        knowledge.photons_variance[hood.which] = variance
    return knowledge


def _without_the_others(
    hood: Neighbourhood, own: Anchors
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradient and information of the first spot's position, and the variance of its photons."""
    gradient, matrix = hood.patches.gradient_and_information(hood.spots)
    matrix.diagonal(dim1=1, dim2=2).add_(EMPTY_CURVATURE)
    mixed, rest = matrix[:, :2, 2:], matrix[:, 2:, 2:]
    right = torch.cat([mixed.mT, gradient[:, 2:, None]], 2)
    follows = torch.linalg.solve_ex(rest, right)[0]
    information = matrix[:, :2, :2] - mixed @ follows[:, :, :2]
    slope = gradient[:, :2] - (mixed @ follows[:, :, 2:])[..., 0]
    variance = torch.linalg.inv_ex(matrix)[0][:, 2, 2]
    slope -= own.slope(hood.spots[:, 0, :2]).double()
    information = _never_negative(information - own.information.double())
    return slope, information, variance.clamp(min=0.0)


def _never_negative(information: torch.Tensor) -> torch.Tensor:
    """Return ``(N, 2, 2)`` without what rounding makes of frames that tell next to nothing."""
    y, x = information[:, 0, 0].clamp(min=0.0), information[:, 1, 1].clamp(min=0.0)
    most = (y * x).sqrt()
    mixed = (0.5 * (information[:, 0, 1] + information[:, 1, 0])).clamp(-most, most)
    return torch.stack([y, mixed, mixed, x], 1).view(-1, 2, 2)
