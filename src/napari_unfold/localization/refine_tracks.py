"""Fit one position for every track, and photons for each of its frames, all tracks together.

Damped Fisher scoring as in `refine`, with positions shared by the frames of a track. Every track
has a damping of its own and takes a step only if the frames around it become more probable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from napari_unfold.localization.anchors import Anchors
from napari_unfold.localization.brightness import Brightness
from napari_unfold.localization.kernels import serve
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.refine import EMPTY_CURVATURE, MAX_OUTSIDE_PX, MAX_STEP_PX
from napari_unfold.localization.row_pixels import RowPixels, row_pixels
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
    of_prior : tensor (N,)
        That of the prior.
    """

    gradient: torch.Tensor
    information: torch.Tensor
    of_prior: torch.Tensor

    def part(self, keep: torch.Tensor) -> RowTerms:
        """Return those of some rows, chosen by a mask or by indices."""
        return RowTerms(self.gradient[keep], self.information[keep], self.of_prior[keep])

    def of_positions(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return gradient ``(N, 2)`` and information ``(N, 2, 2)`` with the photons following."""
        mixed, own = self.information[:, :2, 2], self.information[:, 2, 2]
        share = mixed / own[:, None]
        gradient = self.gradient[:, :2] - share * self.gradient[:, 2:]
        return gradient, self.information[:, :2, :2] - share[:, :, None] * mixed[:, None, :]


def row_terms(tracks: Tracks, frames: Frames) -> RowTerms:
    """Return what every frame says of every row, all others as they are."""
    order = tracks.frame.argsort(stable=True)
    rows = tracks.select_rows(order)
    pixels, of_prior = row_pixels(rows.molecules, frames), frames.prior.information(rows.photons)
    return _row_terms(rows, frames, pixels, of_prior).part(order.argsort())


def _row_terms(
    tracks: Tracks, frames: Frames, pixels: RowPixels, of_prior: torch.Tensor
) -> RowTerms:
    gradient, information = pixels.look(tracks.molecules)
    gradient[:, 2] -= frames.prior.slope_and_curvature(tracks.photons)[0]
    information[:, 2, 2] += of_prior
    information.diagonal(dim1=1, dim2=2).add_(EMPTY_CURVATURE)
    return RowTerms(gradient, information, of_prior)


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
    order = tracks.frame.argsort(stable=True)
    fitted = _fit_in_order(tracks.select_rows(order), frames, iterations)
    return replace(tracks, position=fitted.position, photons=fitted.photons[order.argsort()])


def _fit_in_order(tracks: Tracks, frames: Frames, iterations: int) -> Tracks:
    """Fit tracks whose rows are sorted by frame."""
    pixels = row_pixels(tracks.molecules, frames)
    damping = torch.full_like(tracks.position[:, 0], 1e-2)
    for _ in range(iterations):
        _, curvature = frames.prior.slope_and_curvature(tracks.photons)
        terms = _row_terms(tracks, frames, pixels, curvature)
        active = _gain(tracks, terms) > WORTH
        if not bool(active.any()):
            break
        rows, some = active[tracks.track], tracks.select(active)
        system = _System(some, partial(pixels.product, rows), terms.part(rows), damping[active])
        trial = _moved(some, *system.solve(), frames.y.shape)
        better = _rise(some, trial, pixels.rise(rows, trial.molecules), frames.prior) < 0.0
        now = damping[active]
        damping[active] = torch.where(better, now / 3, now * 4).clamp(1e-6, 1e3)
        position, photons = tracks.position.clone(), tracks.photons.clone()
        position[active] = torch.where(better[:, None], trial.position, some.position)
        photons[rows] = torch.where(better[some.track], trial.photons, some.photons)
        tracks = replace(tracks, position=position, photons=photons)
    return tracks


def _gain(tracks: Tracks, terms: RowTerms) -> torch.Tensor:
    """Return the fall of the loss ``(M,)`` that every track by itself can expect of a step."""
    told = anchors_of_tracks(tracks, terms)
    step = torch.linalg.solve_ex(told.information, told.gradient)[0]
    photons = terms.gradient[:, 2].square() / terms.information[:, 2, 2]
    gain: torch.Tensor = 0.5 * ((told.gradient * step).sum(1) + tracks.total(photons))
    return gain


def _rise(
    tracks: Tracks, trial: Tracks, of_pixels: torch.Tensor, prior: Brightness
) -> torch.Tensor:
    """Return by how much the loss around every track ``(M,)`` rises."""
    of_rows = of_pixels + prior.penalty(trial.photons) - prior.penalty(tracks.photons)
    carried = tracks.carried
    return tracks.total(of_rows) + carried.loss(trial.position) - carried.loss(tracks.position)


class _System:
    """The linear equations of one step, solved by preconditioned conjugate gradients.

    Unknown are the steps of positions ``(M, 2)`` and photons ``(N,)``. The preconditioner solves
    the equations of every track by itself.
    """

    def __init__(
        self,
        tracks: Tracks,
        of_pixels: Callable[[torch.Tensor], torch.Tensor],
        terms: RowTerms,
        damping: torch.Tensor,
    ) -> None:
        self.tracks, self.of_pixels = tracks, of_pixels
        own, carried = terms.information, tracks.carried
        self.right = (
            tracks.total(terms.gradient[:, :2]) + carried.slope(tracks.position),
            terms.gradient[:, 2],
        )
        position = tracks.total(own[:, :2, :2]) + carried.information
        extra = damping[:, None] * position.diagonal(dim1=1, dim2=2)
        extra = torch.diag_embed(extra + EMPTY_CURVATURE)
        self.extra_position = extra + carried.information
        damped = damping[tracks.track] * own[:, 2, 2]
        self.extra_photons = damped + terms.of_prior + EMPTY_CURVATURE
        self.photons = own[:, 2, 2] + damped
        self.mixed = own[:, :2, 2]
        schur = tracks.total(self.mixed[:, :, None] * (self.mixed / self.photons[:, None])[:, None])
        self.inverse = torch.linalg.inv_ex(position + extra - schur)[0]

    def product(
        self, position: torch.Tensor, photons: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply the matrix."""
        back = self.of_pixels(torch.cat([position[self.tracks.track], photons[:, None]], 1))
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
        if serve(self.photons):
            return self._solve_compiled(iterations)
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

    def _solve_compiled(self, iterations: int) -> tuple[torch.Tensor, torch.Tensor]:
        from napari_unfold.localization import compiled_tracks as compiled

        right = [part.numpy().astype(np.float64) for part in self.right]
        state = compiled.State(
            np.zeros_like(right[0]),
            right[0],
            np.zeros_like(right[0]),
            np.zeros_like(right[1]),
            right[1],
            np.zeros_like(right[1]),
            np.empty((len(right[1]), 3), np.float32),
        )
        parts = (self.extra_position, self.inverse, self.extra_photons, self.photons, self.mixed)
        equations = compiled.Equations(
            self.tracks.track.numpy(), *(part.contiguous().numpy() for part in parts)
        )
        product = compiled.turn(equations, state, np.inf)
        for _ in range(iterations):
            of_pixels = self.of_pixels(torch.from_numpy(state.rows)).numpy()
            compiled.advance(equations, state, of_pixels, product)
            product = compiled.turn(equations, state, product)
        like = self.photons
        return torch.from_numpy(state.step).to(like), torch.from_numpy(state.photons).to(like)


Pair = tuple[torch.Tensor, torch.Tensor]


def _dot(a: Pair, b: Pair) -> torch.Tensor:
    return (a[0] * b[0]).sum() + (a[1] * b[1]).sum()


def _along(a: Pair, t: torch.Tensor, b: Pair) -> Pair:
    return a[0] + t * b[0], a[1] + t * b[1]


def _moved(
    tracks: Tracks, step: torch.Tensor, photons: torch.Tensor, shape: Sequence[int]
) -> Tracks:
    position = tracks.position + step.clamp(-MAX_STEP_PX, MAX_STEP_PX)
    farthest = position.new_tensor(shape[1:]) + MAX_OUTSIDE_PX
    return replace(
        tracks,
        position=position.clamp(min=-MAX_OUTSIDE_PX).minimum(farthest),
        photons=torch.maximum(tracks.photons + photons, 0.2 * tracks.photons),
    )
