"""Fit positions and photons of all molecules of many frames together, off the grid.

The model of a frame is the background plus one pixel-integrated Gaussian spot per molecule, with
the noise of the camera: variance = excess noise x mean + read noise^2. The fit maximises the
likelihood times the brightness prior by damped Fisher scoring (Levenberg-Marquardt with the
weights of the model); the linear system couples neighbours and is solved by preconditioned
conjugate gradients, on small patches around the molecules, so that the cost grows with their
number and not with its square.
"""

from __future__ import annotations

import numpy as np
import torch

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
    """Do the same, frame by frame, on all cores."""
    from napari_unfold.localization import compiled_frames as compiled

    order = molecules.frame.argsort(stable=True)
    table = np.ascontiguousarray(molecules.table[order].numpy())
    n_frames = len(frames.y)
    starts = np.searchsorted(molecules.frame[order].numpy(), np.arange(n_frames + 1))
    counts = frames.counts.clamp(min=0.0).contiguous().numpy()
    floor = frames.floor.contiguous().numpy()
    side, splines, prior = (
        2 * frames.spot.reach + 1,
        frames.spot.splines,
        frames.prior.as_numbers(),
    )
    noise, longest, outside = map(np.float32, (frames.excess_noise, MAX_STEP_PX, MAX_OUTSIDE_PX))

    def work(first: int, last: int) -> None:
        compiled.fit(
            first, last, starts, table, counts, floor, noise, side, splines, prior,
            iterations, CONJUGATE_STEPS, longest, outside,
        )  # fmt: skip

    in_pieces(work, n_frames)
    fitted = torch.empty_like(molecules.table)
    fitted[order] = torch.from_numpy(table)
    return Molecules(molecules.frame, fitted[:, :2], fitted[:, 2])


def _moved(molecules: Molecules, step: torch.Tensor, shape: tuple[int, int, int]) -> Molecules:
    position = molecules.position + step[:, :2].clamp(-MAX_STEP_PX, MAX_STEP_PX)
    farthest = position.new_tensor(shape[1:]) + MAX_OUTSIDE_PX
    return Molecules(
        molecules.frame,
        position.clamp(min=-MAX_OUTSIDE_PX).minimum(farthest),
        torch.maximum(molecules.photons + step[:, 2], 0.2 * molecules.photons),
    )
