"""Fit one position for every track, and photons for each of its frames, all tracks together.

Damped Fisher scoring as in `refine`, with positions shared by the frames of a track. Every track
has a damping of its own and takes a step only if the frames around it become more probable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from napari_unfold.localization.anchors import Anchors
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.refine import EMPTY_CURVATURE, MAX_OUTSIDE_PX, MAX_STEP_PX
from napari_unfold.localization.spots import SpotModel
from napari_unfold.localization.tracks import Tracks

WORTH = 0.02
"""Fall of the loss, in units of log-probability, for which a track is not fitted any further."""


@dataclass(frozen=True)
class RowTerms:
    """What the pixels of one frame and the prior say of the rows of tracks.

    Attributes
    ----------
    gradient : tensor (N, 3)
        Minus the derivative of the loss by y, x and photons.
    information : tensor (N, 3, 3)
        Fisher information, that of the prior included.
    """

    gradient: torch.Tensor
    information: torch.Tensor

    def part(self, keep: torch.Tensor) -> RowTerms:
        """Return those of some rows, chosen by a mask."""
        return RowTerms(self.gradient[keep], self.information[keep])

    def of_positions(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return gradient ``(N, 2)`` and information ``(N, 2, 2)`` with the photons following."""
        mixed, own = self.information[:, :2, 2], self.information[:, 2, 2]
        share = mixed / own[:, None]
        gradient = self.gradient[:, :2] - share * self.gradient[:, 2:]
        return gradient, self.information[:, :2, :2] - share[:, :, None] * mixed[:, None, :]


def row_terms(tracks: Tracks, frames: Frames) -> RowTerms:
    """Return what every frame says of every row, all others as they are."""
    molecules = tracks.molecules
    model = frames.spot_model(molecules)
    residual, weight = frames.likelihood.residual_and_weight(model.light(molecules))
    jacobian = model.jacobian(molecules)
    return _row_terms(tracks, frames, model, jacobian, residual, weight, safe=False)


def _row_terms(
    tracks: Tracks,
    frames: Frames,
    model: SpotModel,
    jacobian: torch.Tensor,
    residual: torch.Tensor,
    weight: torch.Tensor,
    *,
    safe: bool,
) -> RowTerms:
    gradient = torch.einsum("nipq,npq->ni", jacobian, model.cut_out(residual))
    slope, curvature = frames.prior.slope_and_curvature(tracks.photons)
    gradient[:, 2] -= slope
    information = torch.einsum(
        "nipq,njpq->nij", jacobian * model.cut_out(weight)[:, None], jacobian
    )
    information[:, 2, 2] += curvature if safe else frames.prior.information(tracks.photons)
    information.diagonal(dim1=1, dim2=2).add_(EMPTY_CURVATURE)
    return RowTerms(gradient, information)


def anchors_of_rows(tracks: Tracks, terms: RowTerms) -> Anchors:
    """Return what all other frames of its track tell of the position of every row."""
    everywhere = anchors_of_tracks(tracks, terms).at(tracks.track)
    gradient, information = terms.of_positions()
    return Anchors(
        everywhere.origin, everywhere.gradient - gradient, everywhere.information - information
    )


def anchors_of_tracks(tracks: Tracks, terms: RowTerms) -> Anchors:
    """Return what all frames, those carried included, tell of the position of every track."""
    gradient, information = terms.of_positions()
    return Anchors(
        tracks.position,
        tracks.total(gradient) + tracks.carried.slope(tracks.position),
        tracks.total(information) + tracks.carried.information,
    )


def fit_tracks(tracks: Tracks, frames: Frames, iterations: int = 6) -> Tracks:
    """Fit all tracks of a window of frames.

    Parameters
    ----------
    tracks : Tracks
        Where to start.
    frames : Frames
    iterations : int
        Damped Fisher scoring steps at most; a track that has nothing to gain stays as it is.
    """
    if len(tracks.track) == 0:
        return tracks
    model, likelihood = frames.spot_model(tracks.molecules), frames.likelihood
    spots = model.light(tracks.molecules)
    damping = torch.full_like(tracks.position[:, 0], 1e-2)
    for _ in range(iterations):
        residual, weight = likelihood.residual_and_weight(spots)
        jacobian = model.jacobian(tracks.molecules)
        terms = _row_terms(tracks, frames, model, jacobian, residual, weight, safe=True)
        active = _gain(tracks, terms) > WORTH
        if not bool(active.any()):
            break
        rows = active[tracks.track]
        some, around = tracks.select(active), model.part(rows)
        system = _System(some, around, jacobian[rows], weight, terms.part(rows), damping[active])
        moved, better = _accepted(some, system, around, frames, spots)
        spots = spots + (around.light(moved.molecules) - around.light(some.molecules))
        now = damping[active]
        damping[active] = torch.where(better, now / 3, now * 4).clamp(1e-6, 1e3)
        position, photons = tracks.position.clone(), tracks.photons.clone()
        position[active], photons[rows] = moved.position, moved.photons
        tracks = replace(tracks, position=position, photons=photons)
    return tracks


def _gain(tracks: Tracks, terms: RowTerms) -> torch.Tensor:
    """Return the fall of the loss ``(M,)`` that every track by itself can expect of a step."""
    told = anchors_of_tracks(tracks, terms)
    step = torch.linalg.solve_ex(told.information, told.gradient)[0]
    photons = terms.gradient[:, 2].square() / terms.information[:, 2, 2]
    gain: torch.Tensor = 0.5 * ((told.gradient * step).sum(1) + tracks.total(photons))
    return gain


def _accepted(
    tracks: Tracks, system: _System, model: SpotModel, frames: Frames, spots: torch.Tensor
) -> tuple[Tracks, torch.Tensor]:
    """Take the steps of tracks around which the frames become more probable, and say which."""

    def losses(tracks: Tracks, spots: torch.Tensor) -> torch.Tensor:
        around = model.cut_out(frames.likelihood.per_pixel(spots)).sum((1, 2))
        of_rows = around + frames.prior.penalty(tracks.photons)
        return tracks.total(of_rows) + tracks.carried.loss(tracks.position)

    trial = _moved(tracks, *system.solve(), model.shape)
    light = spots + (model.light(trial.molecules) - model.light(tracks.molecules))
    better = losses(trial, light) < losses(tracks, spots)
    moved = replace(
        tracks,
        position=torch.where(better[:, None], trial.position, tracks.position),
        photons=torch.where(better[tracks.track], trial.photons, tracks.photons),
    )
    return moved, better


class _System:
    """The linear equations of one step, solved by preconditioned conjugate gradients.

    Unknown are the steps of positions ``(M, 2)`` and photons ``(N,)``. The preconditioner solves
    the equations of every track by itself.
    """

    def __init__(
        self,
        tracks: Tracks,
        model: SpotModel,
        jacobian: torch.Tensor,
        weight: torch.Tensor,
        terms: RowTerms,
        damping: torch.Tensor,
    ) -> None:
        self.tracks, self.model, self.jacobian, self.weight = tracks, model, jacobian, weight
        own, carried = terms.information, tracks.carried
        self.right = (
            tracks.total(terms.gradient[:, :2]) + carried.slope(tracks.position),
            terms.gradient[:, 2],
        )
        position = tracks.total(own[:, :2, :2]) + carried.information
        extra = damping[:, None] * position.diagonal(dim1=1, dim2=2)
        extra = torch.diag_embed(extra + EMPTY_CURVATURE)
        self.extra_position = extra + carried.information
        pixels = torch.einsum(
            "npq,npq,npq->n", jacobian[:, 2], model.cut_out(weight), jacobian[:, 2]
        )
        self.extra_photons = damping[tracks.track] * own[:, 2, 2] + own[:, 2, 2] - pixels
        self.photons = own[:, 2, 2] * (1.0 + damping[tracks.track])
        self.mixed = own[:, :2, 2]
        schur = tracks.total(self.mixed[:, :, None] * (self.mixed / self.photons[:, None])[:, None])
        self.inverse = torch.linalg.inv_ex(position + extra - schur)[0]

    def product(
        self, position: torch.Tensor, photons: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply the matrix."""
        rows = torch.cat([position[self.tracks.track], photons[:, None]], 1)
        change = self.model.add_up(torch.einsum("nipq,ni->npq", self.jacobian, rows))
        seen = self.model.cut_out(self.weight * change)
        back = torch.einsum("nipq,npq->ni", self.jacobian, seen)
        own = torch.einsum("nij,nj->ni", self.extra_position, position)
        return self.tracks.total(back[:, :2]) + own, back[:, 2] + self.extra_photons * photons

    def precondition(
        self, position: torch.Tensor, photons: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Solve the equations of every track by itself."""
        tracks = self.tracks
        share = tracks.total(self.mixed * (photons / self.photons)[:, None])
        solved = torch.einsum("nij,nj->ni", self.inverse, position - share)
        follows = (self.mixed * solved[tracks.track]).sum(1)
        return solved, (photons - follows) / self.photons

    def solve(self, iterations: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the step of positions and photons."""
        r = self.right
        step = (torch.zeros_like(r[0]), torch.zeros_like(r[1]))
        z = self.precondition(*r)
        p, rz = z, _dot(r, z)
        for _ in range(iterations):
            ap = self.product(*p)
            a = rz / _dot(p, ap).clamp(min=1e-30)
            step = _along(step, a, p)
            r = _along(r, -a, ap)
            z = self.precondition(*r)
            rz, before = _dot(r, z), rz
            p = _along(z, rz / before.clamp(min=1e-30), p)
        return step


Pair = tuple[torch.Tensor, torch.Tensor]


def _dot(a: Pair, b: Pair) -> torch.Tensor:
    return (a[0] * b[0]).sum() + (a[1] * b[1]).sum()


def _along(a: Pair, t: torch.Tensor, b: Pair) -> Pair:
    return a[0] + t * b[0], a[1] + t * b[1]


def _moved(
    tracks: Tracks, step: torch.Tensor, photons: torch.Tensor, shape: tuple[int, int, int]
) -> Tracks:
    position = tracks.position + step.clamp(-MAX_STEP_PX, MAX_STEP_PX)
    farthest = position.new_tensor(shape[1:]) + MAX_OUTSIDE_PX
    return replace(
        tracks,
        position=position.clamp(min=-MAX_OUTSIDE_PX).minimum(farthest),
        photons=torch.maximum(tracks.photons + photons, 0.2 * tracks.photons),
    )
