"""Fit positions and photons of all molecules of many frames together, off the grid.

The model of a frame is the background plus one pixel-integrated Gaussian spot per molecule, with
the noise of the camera: variance = excess noise x mean + read noise^2. The fit maximises the
likelihood times the brightness prior by damped Fisher scoring (Levenberg-Marquardt with the
weights of the model); the linear system couples neighbours and is solved by preconditioned
conjugate gradients, on small patches around the molecules, so that the cost grows with their
number and not with its square.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from napari_unfold.localization.kernels import in_pieces, serve
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.spots import Molecules, SpotModel

MAX_STEP_PX = 0.25
"""Longest move of a molecule in one iteration, so that neighbours do not jump over each other."""

MAX_OUTSIDE_PX = 1.0
"""Farther beyond the border a frame tells nothing of a molecule."""

EMPTY_CURVATURE = 1e-9
"""Of a molecule of whose position the pixels tell nothing; it then stays where it is."""

WORTH = 0.0005
"""Fall of the loss, in units of log-probability, for which a patch is not fitted any further."""

PART_PX = 128
"""Larger frames are fitted in parts of about this side: all that a part needs stays in the cache,
and every part takes steps as long as it can."""

CONJUGATE_STEPS = 6
"""Of the linear system, in every iteration."""


def _solve(
    model: SpotModel,
    jacobian: torch.Tensor,
    weight: torch.Tensor,
    gradient: torch.Tensor,
    frame: torch.Tensor,
    damping: torch.Tensor,
    curvature: torch.Tensor,
    iterations: int = CONJUGATE_STEPS,
) -> torch.Tensor:
    """Solve ``(J^T W J + prior + damping diag) step = gradient``, shape (N, 3), frame by frame."""

    def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a.new_zeros(model.shape[0]).index_add_(0, frame, (a * b).sum(1))

    def share(values: torch.Tensor) -> torch.Tensor:
        return values[frame][:, None]

    own = torch.einsum("nipq,njpq->nij", jacobian * model.cut_out(weight)[:, None], jacobian)
    diagonal = own.diagonal(dim1=1, dim2=2)
    extra = damping[frame][:, None] * diagonal + EMPTY_CURVATURE
    extra[:, 2] += curvature
    preconditioner = torch.linalg.inv_ex(own + torch.diag_embed(extra))[0]

    def product(v: torch.Tensor) -> torch.Tensor:
        change = model.add_up(torch.einsum("nipq,ni->npq", jacobian, v))
        back = torch.einsum("nipq,npq->ni", jacobian, model.cut_out(weight * change))
        return back + extra * v

    step = torch.zeros_like(gradient)
    r = gradient
    z = torch.einsum("nij,nj->ni", preconditioner, r)
    p, rz = z, dot(r, z)
    for _ in range(iterations):
        ap = product(p)
        a = rz / dot(p, ap).clamp(min=1e-30)
        step, r = step + share(a) * p, r - share(a) * ap
        z = torch.einsum("nij,nj->ni", preconditioner, r)
        rz, before = dot(r, z), rz
        p = z + share(rz / before.clamp(min=1e-30)) * p
    return step


def fit(molecules: Molecules, frames: Frames, iterations: int = 5) -> Molecules:
    """Fit all molecules of all frames.

    Parameters
    ----------
    molecules : Molecules
        Where to start.
    frames : Frames
    iterations : int
        Damped Fisher scoring steps.
    """
    if len(molecules) == 0:
        return molecules
    if serve(molecules.photons) and serve(frames.y):
        return _fit_compiled(molecules, frames, iterations)
    model, likelihood, prior = frames.spot_model(molecules), frames.likelihood, frames.prior
    jacobian, spots = model.jacobian(molecules), model.light(molecules)

    def loss_of(molecules: Molecules, spots: torch.Tensor) -> torch.Tensor:
        penalty = prior.penalty(molecules.photons)
        return likelihood.per_frame(spots).index_add(0, molecules.frame, penalty)

    loss = loss_of(molecules, spots)
    damping = torch.full_like(loss, 1e-2)
    for _ in range(iterations):
        residual, weight = likelihood.residual_and_weight(spots)
        gradient = torch.einsum("nipq,npq->ni", jacobian, model.cut_out(residual))
        slope, curvature = prior.slope_and_curvature(molecules.photons)
        gradient[:, 2] -= slope
        step = _solve(model, jacobian, weight, gradient, molecules.frame, damping, curvature)
        trial = _moved(molecules, step, model.shape)
        trial_jacobian, trial_spots = model.jacobian(trial), model.light(trial)
        trial_loss = loss_of(trial, trial_spots)
        better = trial_loss < loss
        damping = torch.where(better, damping / 3, damping * 4).clamp(1e-6, 1e3)
        loss = torch.where(better, trial_loss, loss)
        spots = torch.where(better[:, None, None], trial_spots, spots)
        moved = better[molecules.frame]
        jacobian = torch.where(moved[:, None, None, None], trial_jacobian, jacobian)
        molecules = Molecules(
            molecules.frame,
            torch.where(moved[:, None], trial.position, molecules.position),
            torch.where(moved, trial.photons, molecules.photons),
        )
    return molecules


def _fit_compiled(molecules: Molecules, frames: Frames, iterations: int) -> Molecules:
    """Do the same, frame by frame or, of large frames, part by part, on all cores."""
    from napari_unfold.localization import compiled_frames as compiled

    order = molecules.frame.argsort(stable=True)
    table = np.ascontiguousarray(molecules.table[order].numpy())
    n_frames = len(frames.y)
    starts = np.searchsorted(molecules.frame[order].numpy(), np.arange(n_frames + 1))
    counts = frames.counts.numpy()
    floor = frames.floor.numpy()
    side, splines, prior = (
        2 * frames.spot.reach + 1,
        frames.spot.splines,
        frames.prior.as_numbers(),
    )
    noise, longest, outside = map(np.float32, (frames.excess_noise, MAX_STEP_PX, MAX_OUTSIDE_PX))

    def whole(first: int, last: int) -> None:
        compiled.fit(
            first, last, starts, table, counts, floor, noise, side, splines, prior,
            iterations, CONJUGATE_STEPS, longest, outside,
        )  # fmt: skip

    def part(t: int, which: NDArray[np.intp]) -> None:
        own = table[which]
        # patches stay where they are laid, and all of them lie within
        low = np.maximum(own[:, :2].min(axis=0).astype(int) - side, 0)
        high = own[:, :2].max(axis=0).astype(int) + side + 1
        rows, columns = slice(low[0], high[0]), slice(low[1], high[1])
        own[:, :2] -= low
        compiled.fit(
            0, 1, np.array([0, len(own)]), own,
            np.ascontiguousarray(counts[t : t + 1, rows, columns]),
            np.ascontiguousarray(floor[t : t + 1, rows, columns]),
            noise, side, splines, prior, iterations, CONJUGATE_STEPS, longest, outside,
        )  # fmt: skip
        own[:, :2] += low
        table[which] = own

    if counts[0].size <= PART_PX**2:
        in_pieces(whole, n_frames)
    else:
        parts = [
            (t, starts[t] + which)
            for t in range(n_frames)
            for which in parts_of(table[starts[t] : starts[t + 1]], counts.shape[2], side)
        ]

        def some(first: int, last: int) -> None:
            for t, which in parts[first:last]:
                part(t, which)

        in_pieces(some, len(parts))
    fitted = torch.empty_like(molecules.table)
    fitted[order] = torch.from_numpy(table)
    return Molecules(molecules.frame, fitted[:, :2], fitted[:, 2])


def parts_of(table: NDArray[np.float32], width: int, side: int) -> list[NDArray[np.intp]]:
    """Return which molecules of a frame are fitted together.

    Parameters
    ----------
    table : array (N, 3)
        Their y and x in pixels, and photons.
    width, side : int
        Of the frame and of the patches, in pixels; those whose patches overlap stay together.
    """
    if len(table) == 0:
        return []
    points = table[:, :2]
    pairs = cKDTree(points).query_pairs(side + 1.0, p=math.inf, output_type="ndarray")
    n = len(points)
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    count, label = connected_components(links, directed=False)
    first = np.full((count, 2), np.inf)
    np.minimum.at(first, label, points)
    cell = np.clip(first // PART_PX, 0, None) @ (1 + width // PART_PX, 1)
    cells = cell[label]
    order = np.argsort(cells, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(cells[order])) + 1)


def _moved(molecules: Molecules, step: torch.Tensor, shape: tuple[int, int, int]) -> Molecules:
    position = molecules.position + step[:, :2].clamp(-MAX_STEP_PX, MAX_STEP_PX)
    farthest = position.new_tensor(shape[1:]) + MAX_OUTSIDE_PX
    return Molecules(
        molecules.frame,
        position.clamp(min=-MAX_OUTSIDE_PX).minimum(farthest),
        torch.maximum(molecules.photons + step[:, 2], 0.2 * molecules.photons),
    )
