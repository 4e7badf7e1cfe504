"""How many molecules there are: adding, splitting and removing by one statistical test.

Every question is decided by the same number, the *evidence* of a molecule: by how much the
log-probability of the frame (likelihood of the camera data times the brightness prior) falls when
it is taken away and its nearest neighbours are placed anew. It must exceed the price of a molecule,

    price = PRICE - SLOPE x log(crowding),

where the crowding is the number of molecules expected within the area of a PSF, ``4 pi sigma^2``,
and in one frame. Where molecules are rare, a spot must be shown to be two; within a crowded
structure it is enough that it is too bright for one. The crowding is known from the mean of the
stack before anything is localized (`estimation.background.estimate_crowding`).

A molecule far from others has thousands of places in a frame where noise could imitate it, and
must stand out by five standard deviations.

Minus twice the change of the log-probability is a likelihood ratio statistic (Wilks 1938); adding
the price of a component gives an information criterion as AIC or BIC, with a penalty that comes
from the density instead of the number of pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch.nn import functional

from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.patches import Neighbourhood, neighbourhoods, patches_around
from napari_unfold.localization.peaks import residual_peaks
from napari_unfold.localization.spots import Molecules

PRICE, SLOPE = 1.0, 1.5
"""Chosen on simulations from 0.1 to 8 molecules per square micrometre."""

LONE_EVIDENCE = 12.5
"""Half the square of five standard deviations."""

NEIGHBOURS = 2
"""So many of the nearest molecules may move when one is split or removed."""

NEAR_SIGMA = 2.0
"""Those within this distance, in units of sigma; of two such near changes the better is made."""

START_SIGMA = 0.32
"""Half the distance at which two molecules are started in place of one, in units of sigma."""


@dataclass(frozen=True)
class ModelSelection:
    """Decides how many molecules there are in a batch of frames.

    Parameters
    ----------
    frames : Frames
    crowding : tensor (Y, X)
        Molecules expected per ``4 pi sigma^2`` and frame.
    brightest_single : float
        Spots of more photons are tried as two.
    caution : float
        Evidence that is asked for beyond the price.
    """

    frames: Frames
    crowding: torch.Tensor
    brightest_single: float
    caution: float = 0.0

    def crowding_at(self, molecules: Molecules) -> torch.Tensor:
        """Return the crowding ``(N,)`` where the molecules are."""
        last = molecules.frame.new_tensor(self.crowding.shape) - 1
        pixel = molecules.position.floor().long().clamp(min=0).minimum(last)
        return self.crowding[pixel[:, 0], pixel[:, 1]]

    def price(self, molecules: Molecules) -> torch.Tensor:
        """Return the evidence ``(N,)`` that a molecule among others needs."""
        return self.caution + PRICE - SLOPE * self.crowding_at(molecules).log()

    def add(self, molecules: Molecules) -> Molecules:
        """Put molecules where the frames are brighter than the known ones explain."""
        light = self.frames.light(molecules)
        new = residual_peaks(self.frames, light)
        if len(new) == 0:
            return molecules
        spots = new.table[:, None]
        patches = patches_around(new, spots[:, :0], self.frames, light)
        placed, loss = patches.fit(spots)
        evidence = patches.loss(spots[:, :0]) - loss
        surplus = evidence - self.price(new).clamp(min=LONE_EVIDENCE)
        return molecules.joined(_molecules(new.frame, placed).select(self.best(new, surplus)))

    def split(self, molecules: Molecules) -> Molecules:
        """Put two molecules where one does not explain the spot."""
        chosen = (molecules.photons > self.brightest_single).nonzero()[:, 0]
        if len(chosen) == 0:
            return molecules
        light = self.frames.light(molecules)
        residual, _ = self.frames.likelihood.residual_and_weight(light)
        which, pairs, surplus = [], [], []
        for hood in self._neighbourhoods(molecules, chosen, light):
            placed, loss = hood.patches.fit(self._in_two(hood, residual))
            which.append(hood.which)
            pairs.append(placed[:, :2])
            surplus.append(hood.patches.loss(hood.spots) - loss - self.price(hood.molecules))
        parent, halves = torch.cat(which), torch.cat(pairs)
        best = self.best(molecules.select(parent), torch.cat(surplus))
        single = torch.ones(len(molecules), dtype=torch.bool, device=best.device)
        single[parent[best]] = False
        doubles = _molecules(molecules.frame[parent[best]], halves[best])
        return molecules.select(single).joined(doubles)

    def remove(self, molecules: Molecules) -> Molecules:
        """Take away molecules that the frames can do without."""
        evidence, lone = self.evidence(molecules)
        price = self.price(molecules)
        need = torch.where(lone, price.clamp(min=LONE_EVIDENCE), price)
        return molecules.select(~self.best(molecules, need - evidence))

    def evidence(self, molecules: Molecules) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the evidence ``(N,)`` of every molecule, and whether it has no neighbours."""
        light = self.frames.light(molecules)
        everyone = torch.arange(len(molecules), device=molecules.frame.device)
        evidence = torch.zeros_like(molecules.photons)
        lone = torch.zeros_like(everyone, dtype=torch.bool)
        for hood in self._neighbourhoods(molecules, everyone, light):
            patches, spots = hood.patches, hood.spots
            lone[hood.which] = spots.shape[1] == 1
            if spots.shape[1] == 1:
                without = patches.loss(spots[:, 1:])
            else:
                _, without = patches.fit(_without_first(spots))
            evidence[hood.which] = without - patches.loss(spots)
        return evidence, lone

    def _neighbourhoods(
        self, molecules: Molecules, chosen: torch.Tensor, light: torch.Tensor
    ) -> Iterator[Neighbourhood]:
        reach = NEAR_SIGMA * self.frames.sigma_px
        return neighbourhoods(self.frames, molecules, chosen, light, reach, NEIGHBOURS)

    def _in_two(self, hood: Neighbourhood, residual: torch.Tensor) -> torch.Tensor:
        """Replace the first of the spots by two, where the likelihood rises most."""
        at = hood.molecules
        direction = self.frames.spot_model(at).elongation(at, residual)
        aside = START_SIGMA * self.frames.sigma_px * functional.pad(direction, (0, 1))[:, None]
        half = hood.spots[:, :1] * hood.spots.new_tensor([1.0, 1.0, 0.5])
        return torch.cat([half - aside, half + aside, hood.spots[:, 1:]], 1)

    def best(self, molecules: Molecules, surplus: torch.Tensor) -> torch.Tensor:
        """Mask of those with a surplus, of neighbours only the one with the larger."""
        best = surplus > 0
        candidates = best.nonzero()[:, 0]
        if len(candidates) < 2:
            return best
        near = NEAR_SIGMA * self.frames.sigma_px
        tree = cKDTree(molecules.select(candidates).points(near))
        pairs = candidates.cpu().numpy()[tree.query_pairs(near, output_type="ndarray")]
        loser = surplus.cpu().numpy()[pairs].argmin(axis=1)
        best[torch.as_tensor(pairs[np.arange(len(pairs)), loser], device=best.device)] = False
        return best


def _without_first(spots: torch.Tensor) -> torch.Tensor:
    """Give the light of the first of ``(N, k, 3)`` spots to the second, the nearest."""
    photons = spots[:, :2, 2:]
    total = photons.sum(1)
    center = (spots[:, :2, :2] * photons).sum(1) / total
    return torch.cat([torch.cat([center, total], 1)[:, None], spots[:, 2:]], 1)


def _molecules(frame: torch.Tensor, spots: torch.Tensor) -> Molecules:
    """Molecules of ``(N, k, 3)`` spots in the frames ``(N,)``."""
    flat = spots.flatten(0, 1)
    return Molecules(frame.repeat_interleave(spots.shape[1]), flat[:, :2], flat[:, 2])
