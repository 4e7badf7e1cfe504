"""Every molecule by itself: a patch of its frame, its nearest neighbours, the rest held fixed.

Small problems, one per molecule, that are solved for all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from scipy.spatial import cKDTree

from napari_unfold.localization.anchors import Anchors
from napari_unfold.localization.brightness import Brightness
from napari_unfold.localization.kernels import serve
from napari_unfold.localization.likelihood import CameraLikelihood, Frames
from napari_unfold.localization.patch_arrays import CompiledPatches, compiled_patches_around
from napari_unfold.localization.profiles import Spot, product
from napari_unfold.localization.refine import MAX_STEP_PX, WORTH
from napari_unfold.localization.spots import Molecules

VALUES_AT_ONCE = 2**23
"""Bounds the memory for the derivatives of all pixels by all parameters."""


@dataclass(frozen=True)
class Patches:
    """Pieces of frames ``(N, P, P)``, with the light in them that is held fixed.

    Spots in them are tensors ``(N, k, 3)`` of y, x (camera pixels of the frame) and photons.

    Attributes
    ----------
    rows, columns : tensor (N, P)
        Camera pixels.
    inside : tensor (N, P, P)
        1 in the frame, 0 beyond its border.
    likelihood : CameraLikelihood
        Of the pieces; what is held fixed counts as background.
    spot : Spot
    prior : Brightness
    anchors : Anchors (N, k), optional
        What other frames tell of the positions of the spots.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    inside: torch.Tensor
    likelihood: CameraLikelihood
    spot: Spot
    prior: Brightness
    anchors: Anchors | None = None

    def loss(self, spots: torch.Tensor) -> torch.Tensor:
        """Return minus the log-probability ``(N,)`` of the pieces and the spots."""
        light, _ = light_and_jacobian(self.rows, self.columns, spots, self.spot)
        return self._loss(light * self.inside, spots)

    def _loss(self, light: torch.Tensor, spots: torch.Tensor) -> torch.Tensor:
        loss = self.likelihood.per_frame(light) + self.prior.penalty(spots[..., 2]).sum(1)
        if self.anchors is None:
            return loss
        return loss + self.anchors.loss(spots[..., :2]).sum(1)

    def _model(self, spots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        light, jacobian = light_and_jacobian(self.rows, self.columns, spots, self.spot)
        return light * self.inside, jacobian * self.inside[:, None]

    def gradient_and_information(self, spots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return minus the derivative ``(N, 3 k)`` of the loss, and the Fisher information.

        The information ``(N, 3 k, 3 k)`` contains that of the prior; both in double precision.
        """
        light, jacobian = self._model(spots)
        residual, weight = self.likelihood.residual_and_weight(light)
        slope, _ = self.prior.slope_and_curvature(spots[..., 2])
        gradient = self._gradient(jacobian, residual, spots, slope)
        information = self._information(jacobian, weight, self.prior.information(spots[..., 2]))
        return gradient.double(), information.double()

    def _gradient(
        self,
        jacobian: torch.Tensor,
        residual: torch.Tensor,
        spots: torch.Tensor,
        slope: torch.Tensor,
    ) -> torch.Tensor:
        gradient = torch.einsum("nipq,npq->ni", jacobian, residual)
        gradient[:, 2::3] -= slope
        if self.anchors is not None:
            pull = self.anchors.slope(spots[..., :2])
            gradient[:, 0::3] += pull[..., 0]
            gradient[:, 1::3] += pull[..., 1]
        return gradient

    def _information(
        self, jacobian: torch.Tensor, weight: torch.Tensor, of_prior: torch.Tensor
    ) -> torch.Tensor:
        information = torch.einsum("nipq,njpq->nij", jacobian * weight[:, None], jacobian)
        information.diagonal(dim1=1, dim2=2)[:, 2::3] += of_prior
        if self.anchors is not None:
            k = len(of_prior[0])
            own = information.view(-1, k, 3, k, 3).diagonal(dim1=1, dim2=3)
            own[:, :2, :2] += self.anchors.information.movedim(1, -1)
        return information

    def fit(self, spots: torch.Tensor, iterations: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the spots where the loss is least, and that loss (Levenberg-Marquardt)."""
        light, jacobian = self._model(spots)
        loss = self._loss(light, spots)
        damping = torch.full_like(loss, 1e-2)
        limit = spots.new_tensor([MAX_STEP_PX, MAX_STEP_PX, torch.inf])
        for _ in range(iterations):
            residual, weight = self.likelihood.residual_and_weight(light)
            slope, curvature = self.prior.slope_and_curvature(spots[..., 2])
            gradient = self._gradient(jacobian, residual, spots, slope)
            matrix = self._information(jacobian, weight, curvature)
            diagonal = matrix.diagonal(dim1=1, dim2=2)
            matrix = matrix + torch.diag_embed(damping[:, None] * diagonal + 1e-9)
            step = torch.linalg.solve_ex(matrix, gradient)[0].view_as(spots)
            trial = spots + step.clamp(-limit, limit)
            trial[..., 2] = torch.maximum(trial[..., 2], 0.2 * spots[..., 2])
            trial_light, trial_jacobian = self._model(trial)
            trial_loss = self._loss(trial_light, trial)
            worth = 0.5 * (gradient * step.flatten(1)).sum(1) > WORTH
            better = worth & (trial_loss < loss)
            damping = torch.where(better, damping / 3, damping * 4).clamp(1e-6, 1e3)
            loss = torch.where(better, trial_loss, loss)
            moved = better[:, None, None]
            spots = torch.where(moved, trial, spots)
            light = torch.where(moved, trial_light, light)
            jacobian = torch.where(moved[..., None], trial_jacobian, jacobian)
        return spots, loss


def loss_without_first(
    patches: AnyPatches, spots: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss ``(N,)`` without the first of the spots, the others fitted anew, and those.

    The second, the nearest, starts with its light.
    """
    others = spots[:, 1:].clone()
    anchors = patches.anchors and patches.anchors.at((slice(None), slice(1, None)))
    rest = replace(patches, anchors=anchors)
    if others.shape[1] == 0:
        return rest.loss(others), others
    others[:, 0, 2] += spots[:, 0, 2]
    placed, loss = rest.fit(others)
    return loss, placed


def light_and_jacobian(
    rows: torch.Tensor, columns: torch.Tensor, spots: torch.Tensor, spot: Spot
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the light ``(N, P, P)`` of spots ``(N, k, 3)`` and its derivatives ``(N, 3 k, P, P)``.

    Parameters
    ----------
    rows, columns : tensor (N, P)
        Camera pixels.
    spots : tensor (N, k, 3)
        y, x and photons.
    spot : Spot
        What a molecule looks like.
    """
    n, k, _ = spots.shape
    y, dy = spot.profiles(0, rows.repeat_interleave(k, 0), spots[..., 0].flatten())
    x, dx = spot.profiles(1, columns.repeat_interleave(k, 0), spots[..., 1].flatten())
    photons = spots[..., 2].reshape(-1, 1, 1)
    one = product(y, x)
    jacobian = torch.stack([photons * product(dy, x), photons * product(y, dx), one], 1)
    size = one.shape[1:]
    return (photons * one).view(n, k, *size).sum(1), jacobian.view(n, 3 * k, *size)


AnyPatches: TypeAlias = Patches | CompiledPatches


@dataclass(frozen=True)
class Neighbourhood:
    """Some molecules with equally many neighbours, and their patches.

    Attributes
    ----------
    which : tensor (n,), int64
        Indices of the molecules.
    molecules : Molecules
    spots : tensor (n, 1 + k, 3)
        y, x and photons of each molecule and then of its neighbours, the nearest first.
    patches : Patches or CompiledPatches
        All light but that of `spots` is held fixed.
    """

    which: torch.Tensor
    molecules: Molecules
    spots: torch.Tensor
    patches: AnyPatches


def neighbourhoods(
    frames: Frames,
    molecules: Molecules,
    chosen: torch.Tensor,
    light: torch.Tensor,
    reach_px: float,
    most: int,
    anchors: Anchors | None = None,
) -> Iterator[Neighbourhood]:
    """Yield the chosen molecules, those with equally many neighbours together.

    Parameters
    ----------
    frames : Frames
    molecules : Molecules
        All molecules of the frames.
    chosen : tensor (n,), int64
        Indices of those to look at.
    light : tensor (B, Y, X)
        Light of all molecules.
    reach_px : float
        Molecules this near are neighbours.
    most : int
        Only so many, the nearest, are counted.
    anchors : Anchors (N,), optional
        What other frames tell of the positions of all molecules.
    """
    if len(chosen) == 0:
        return
    points, own = molecules.points(reach_px), chosen.cpu().numpy()[:, None]
    nearest = list(range(1, min(most + 1, len(molecules)) + 1))
    distance, index = cKDTree(points).query(
        points[own[:, 0]], nearest, distance_upper_bound=reach_px
    )
    counts = np.isfinite(distance).sum(axis=1)
    # of molecules at the very same place another may come first
    index = np.where(index == own, index[:, :1], index)
    index[:, :1] = own
    table = molecules.table
    for count in np.unique(counts):
        members = torch.as_tensor(index[counts == count, :count], device=chosen.device)
        values = 3 * int(count) * (2 * frames.spot.reach + 1) ** 2
        for part in torch.split(members, max(1, VALUES_AT_ONCE // values)):
            which, spots = part[:, 0], table[part]
            at = molecules.select(which)
            known = anchors and anchors.at(part)
            yield Neighbourhood(which, at, spots, patches_around(at, spots, frames, light, known))


def patches_around(
    at: Molecules,
    spots: torch.Tensor,
    frames: Frames,
    light: torch.Tensor,
    anchors: Anchors | None = None,
) -> AnyPatches:
    """Lay patches around molecules.

    Parameters
    ----------
    at : Molecules
        Where, N places.
    spots : tensor (N, k, 3)
        What will be looked at: its light is not held fixed.
    frames : Frames
    light : tensor (B, Y, X)
        Light of all molecules, that of `spots` included.
    anchors : Anchors (N, k), optional
        What other frames tell of the positions.
    """
    if serve(light):
        return compiled_patches_around(at, spots, frames, light, anchors)
    model = frames.spot_model(at)
    rows, columns = model.pixels
    inside = model.cut_out(torch.ones_like(frames.y))
    own, _ = light_and_jacobian(rows, columns, spots, frames.spot)
    fixed = (model.cut_out(frames.floor + light) - own) * inside
    likelihood = CameraLikelihood(model.cut_out(frames.counts), fixed, frames.excess_noise)
    return Patches(rows, columns, inside, likelihood, frames.spot, frames.prior, anchors)
