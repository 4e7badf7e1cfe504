"""For which frames a molecule stays on: rows are added to tracks and removed by their evidence.

As in `model_selection`, the evidence of a row is by how much the log-probability of its frame falls
without it. A molecule that is on in the frame before is likely to be on in this one, so a row that
goes on with a track needs far less evidence than a new molecule; on the other hand a molecule whose
place other frames know cannot take the light of another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial import cKDTree

from napari_unfold.localization.anchors import Anchors
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.model_selection import (
    LONE_EVIDENCE,
    NEAR_SIGMA,
    NEIGHBOURS,
    PRICE,
    ModelSelection,
)
from napari_unfold.localization.patches import loss_without_first, neighbourhoods, patches_around
from napari_unfold.localization.refine_tracks import (
    anchors_of_rows,
    anchors_of_tracks,
    row_terms,
)
from napari_unfold.localization.spots import Molecules
from napari_unfold.localization.tracks import Tracks

ROWS_AT_ONCE = 2000


@dataclass(frozen=True)
class TrackSelection:
    """Decides in which frames of a window molecules are on.

    Parameters
    ----------
    selection : ModelSelection
        For molecules of single frames.
    staying : float
        Probability of staying on from a frame to the next.
    """

    selection: ModelSelection
    staying: float

    @property
    def frames(self) -> Frames:
        """The window."""
        return self.selection.frames

    @property
    def price(self) -> float:
        """Evidence that a further row of a track needs."""
        return PRICE - math.log(self.staying / (1.0 - self.staying))

    def extend(self, tracks: Tracks) -> Tracks:
        """Let tracks begin a frame earlier or end a frame later, where the frames show it."""
        terms = row_terms(tracks, self.frames)
        which, candidates = self._beyond(tracks)
        if len(which) == 0:
            return tracks
        known = anchors_of_tracks(tracks, terms).at(which)
        others = anchors_of_rows(tracks, terms)
        photons, surplus = self._placed(tracks.molecules, others, candidates, known)
        best = self.selection.best(candidates, surplus - self.price)
        return replace(
            tracks,
            track=torch.cat([tracks.track, which[best]]),
            frame=torch.cat([tracks.frame, candidates.frame[best]]),
            photons=torch.cat([tracks.photons, photons[best]]),
        )

    def remove(self, tracks: Tracks) -> Tracks:
        """Shorten tracks whose first or last frame can do without them; take away needless ones."""
        evidence, of_brightness, lone = self._evidence(tracks)
        molecules = tracks.molecules
        birth = self.selection.price(molecules)
        alone = (tracks.lengths == 1) & ~tracks.begun
        single = torch.where(lone, birth.clamp(min=LONE_EVIDENCE), birth)
        need = torch.where(alone[tracks.track], single, self.price)
        surplus = torch.where(tracks.ends, need - evidence, -1.0)
        rows = self.selection.best(molecules, surplus)
        # a molecule is as bright in all its frames, which tell its brightness once
        once = tracks.total(birth - of_brightness) / tracks.lengths.clamp(min=1)
        needless = tracks.total(evidence - of_brightness) < once
        needless &= ~tracks.begun
        return tracks.select_rows(~(rows | needless[tracks.track])).without_empty()

    def evidence(self, tracks: Tracks) -> torch.Tensor:
        """Return the evidence ``(N,)`` of every row."""
        return self._evidence(tracks)[0]

    def _evidence(self, tracks: Tracks) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return evidence, how much of it the prior on brightness makes, and which are alone."""
        others = anchors_of_rows(tracks, row_terms(tracks, self.frames))
        molecules = tracks.molecules
        light = self.frames.light(molecules)
        everyone = torch.arange(len(molecules), device=light.device)
        evidence = torch.zeros_like(molecules.photons)
        of_brightness = torch.zeros_like(evidence)
        lone = torch.zeros_like(everyone, dtype=torch.bool)
        prior = self.frames.prior
        reach = NEAR_SIGMA * self.frames.sigma_px
        for hood in neighbourhoods(
            self.frames, molecules, everyone, light, reach, NEIGHBOURS, others
        ):
            patches, spots = hood.patches, hood.spots
            lone[hood.which] = spots.shape[1] == 1
            anchors = others.at(hood.which)
            with_it = patches.loss(spots) - anchors.loss(spots[:, 0, :2])
            without_it, rest = loss_without_first(patches, spots)
            evidence[hood.which] = without_it - with_it
            change = prior.penalty(rest[..., 2]).sum(1) - prior.penalty(spots[..., 2]).sum(1)
            of_brightness[hood.which] = change
        return evidence, of_brightness, lone

    def _beyond(self, tracks: Tracks) -> tuple[torch.Tensor, Molecules]:
        """Tracks, and the molecules they would be a frame before their first and after the last."""
        rows = tracks.lengths > 0
        usual = tracks.total(tracks.photons) / tracks.lengths.clamp(min=1)
        which, frames = [], []
        for beyond in (tracks.first - 1, tracks.last + 1):
            inside = rows & (beyond >= 0) & (beyond < len(self.frames.y))
            which.append(inside.nonzero()[:, 0])
            frames.append(beyond[inside])
        chosen = torch.cat(which)
        return chosen, Molecules(torch.cat(frames), tracks.position[chosen], usual[chosen])

    def _placed(
        self, molecules: Molecules, others: Anchors, new: Molecules, known: Anchors
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Photons and evidence ``(n,)`` of new molecules beside those that are there."""
        reach = NEAR_SIGMA * self.frames.sigma_px
        light = self.frames.light(molecules)
        nearest = list(range(1, NEIGHBOURS + 2))
        distance, index = cKDTree(molecules.points(reach)).query(
            new.points(reach), nearest, distance_upper_bound=reach
        )
        counts = np.isfinite(distance).sum(axis=1)
        photons, evidence = torch.zeros_like(new.photons), torch.zeros_like(new.photons)
        for count in np.unique(counts):
            members = torch.as_tensor(np.flatnonzero(counts == count), device=light.device)
            for some in torch.split(members, ROWS_AT_ONCE):
                near = torch.as_tensor(index[some.cpu().numpy(), :count], device=light.device)
                there = molecules.table[near]
                around = patches_around(
                    new.select(some), there, self.frames, light, others.at(near)
                )
                own = known.at(some[:, None])
                both = replace(around, anchors=own.joined(others.at(near), 1))
                placed, loss = both.fit(torch.cat([new.table[some][:, None], there], 1))
                photons[some] = placed[:, 0, 2]
                evidence[some] = around.loss(there) - loss
        return photons, evidence
