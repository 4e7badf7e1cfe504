"""Fit positions and photons of all molecules of many frames together, off the grid.

The model of a frame is the background plus one pixel-integrated Gaussian spot per molecule, with
the noise of the camera: variance = excess noise x mean + read noise^2. The fit is maximum
likelihood by damped Fisher scoring (Levenberg-Marquardt with the weights of the model); the
linear system couples neighbours and is solved by preconditioned conjugate gradients, on small
patches around the molecules, so that the cost grows with their number and not with its square.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

MAX_STEP_PX = 0.25
"""Longest move of a molecule in one iteration, so that neighbours do not jump over each other."""


@dataclass
class Molecules:
    """A flat list of molecules in a batch of frames.

    Attributes
    ----------
    frame : tensor (N,), int64
        Index of the frame in the batch.
    position : tensor (N, 2)
        ``(y, x)`` in camera pixels from the corner of the frame.
    photons : tensor (N,)
    """

    frame: torch.Tensor
    position: torch.Tensor
    photons: torch.Tensor

    def __len__(self) -> int:
        return len(self.frame)

    def select(self, keep: torch.Tensor) -> Molecules:
        """Return the molecules chosen by a mask or by indices."""
        return Molecules(self.frame[keep], self.position[keep], self.photons[keep])


class SpotModel:
    """Spots of a Gaussian PSF on a batch of frames.

    Parameters
    ----------
    shape : tuple of int
        ``(B, Y, X)``.
    sigma_px : float
        PSF sigma in camera pixels.
    """

    def __init__(self, shape: tuple[int, int, int], sigma_px: float) -> None:
        self.shape, self.sigma = shape, sigma_px
        self.reach = math.ceil(4.0 * sigma_px)
        # patches may reach over the border; a margin takes what falls outside
        self._padded = (shape[0], shape[1] + 2 * self.reach, shape[2] + 2 * self.reach)

    def locate(self, molecules: Molecules) -> None:
        """Lay a patch around every molecule; all other methods refer to these patches.

        They may stay while the molecules move by a fraction of a pixel.
        """
        offsets = torch.arange(2 * self.reach + 1, device=molecules.frame.device)
        low = molecules.position.new_zeros(2)
        high = low.new_tensor([self.shape[1] - 1, self.shape[2] - 1])
        first = molecules.position.detach().floor().clamp(low, high).long()
        self._rows = first[:, :1] + offsets
        self._columns = first[:, 1:] + offsets
        stride = self._padded[2]
        base = molecules.frame * (self._padded[1] * stride)
        self._index = base[:, None, None] + self._rows[:, :, None] * stride + self._columns[:, None]

    def _edges(self, pixels: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Edges of the pixels seen from the molecule, in units of sigma."""
        t = (pixels - self.reach - position[:, None]) / self.sigma
        return torch.cat([t, t[:, -1:] + 1.0 / self.sigma], dim=1)

    def _curvature(self, pixels: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Second derivative of the share of light by the position."""
        edges = self._edges(pixels, position)
        slope = edges * torch.exp(-0.5 * edges * edges) / math.sqrt(2.0 * math.pi)
        return -slope.diff(dim=1) / self.sigma**2

    def _profile(
        self, pixels: torch.Tensor, position: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Share of light per pixel along one axis, and its derivative by the position."""
        edges = self._edges(pixels, position)
        share = (0.5 * torch.erf(edges / math.sqrt(2.0))).diff(dim=1)
        density = torch.exp(-0.5 * edges * edges) / (math.sqrt(2.0 * math.pi) * self.sigma)
        return share, -density.diff(dim=1)

    def jacobian(self, molecules: Molecules) -> torch.Tensor:
        """Return the derivatives of the patches by y, x and photons, shape ``(N, 3, P, P)``."""
        y, dy = self._profile(self._rows, molecules.position[:, 0])
        x, dx = self._profile(self._columns, molecules.position[:, 1])
        photons = molecules.photons[:, None, None]
        spot = y[:, :, None] * x[:, None]
        return torch.stack(
            [photons * dy[:, :, None] * x[:, None], photons * y[:, :, None] * dx[:, None], spot], 1
        )

    def elongation(self, molecules: Molecules, residual: torch.Tensor) -> torch.Tensor:
        """Direction ``(N, 2)`` along which two molecules would explain the frames best.

        Moving the halves of a spot apart by ``+-d e`` changes the log-likelihood by
        ``d^2 / 2 e^T H e`` with ``H = sum residual x second derivatives of the spot``.

        Parameters
        ----------
        molecules : Molecules
        residual : tensor (B, Y, X)
            Derivative of the log-likelihood by the mean of every pixel.
        """
        y, dy = self._profile(self._rows, molecules.position[:, 0])
        x, dx = self._profile(self._columns, molecules.position[:, 1])
        ddy = self._curvature(self._rows, molecules.position[:, 0])
        ddx = self._curvature(self._columns, molecules.position[:, 1])
        patches = self.cut_out(residual)
        hyy = torch.einsum("npq,np,nq->n", patches, ddy, x)
        hxx = torch.einsum("npq,np,nq->n", patches, y, ddx)
        hyx = torch.einsum("npq,np,nq->n", patches, dy, dx)
        angle = 0.5 * torch.atan2(2.0 * hyx, hxx - hyy)
        return torch.stack([angle.sin(), angle.cos()], 1)

    def light(self, molecules: Molecules) -> torch.Tensor:
        """Frames ``(B, Y, X)`` that the molecules make."""
        y, _ = self._profile(self._rows, molecules.position[:, 0])
        x, _ = self._profile(self._columns, molecules.position[:, 1])
        return self.add_up((molecules.photons[:, None] * y)[:, :, None] * x[:, None])

    def add_up(self, patches: torch.Tensor) -> torch.Tensor:
        """Sum patches ``(N, P, P)`` into frames ``(B, Y, X)``."""
        flat = patches.new_zeros(math.prod(self._padded))
        flat.index_add_(0, self._index.flatten(), patches.flatten())
        r = self.reach
        return flat.view(self._padded)[:, r:-r, r:-r]

    def cut_out(self, frames: torch.Tensor) -> torch.Tensor:
        """Patches ``(N, P, P)`` of frames ``(B, Y, X)``; zero outside the frame."""
        padded = torch.nn.functional.pad(frames, (self.reach,) * 4)
        return padded.flatten()[self._index]


class CameraLikelihood:
    """Negative log-likelihood of frames, for photon noise with excess and read noise.

    Poisson-like: the frames are counted in units of the excess noise, and read noise is taken
    along as if it were background on both sides, which gives it its variance.

    Parameters
    ----------
    y, b : tensor (B, Y, X)
        Frames and background in photons.
    excess_noise, read_variance : float
        ``variance = excess_noise * mean + read_variance``, in photons squared.
    """

    def __init__(
        self, y: torch.Tensor, b: torch.Tensor, excess_noise: float, read_variance: float
    ) -> None:
        pedestal = read_variance / excess_noise
        self._counts = (y + pedestal).clamp(min=0.0)
        self._floor = b + pedestal
        self._excess_noise = excess_noise

    def _mean(self, spots: torch.Tensor) -> torch.Tensor:
        return (spots + self._floor).clamp(min=1e-3)

    def per_frame(self, spots: torch.Tensor) -> torch.Tensor:
        """Return its value ``(B,)`` for the light of the molecules ``(B, Y, X)``."""
        mean = self._mean(spots)
        return (mean - torch.xlogy(self._counts, mean)).sum(dim=(-2, -1)) / self._excess_noise

    def residual_and_weight(self, spots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return minus its derivative by the mean of every pixel, and the Fisher information."""
        mean = self._mean(spots)
        weight = 1.0 / (self._excess_noise * mean)
        return (self._counts - mean) * weight, weight


def _solve(
    model: SpotModel,
    jacobian: torch.Tensor,
    weight: torch.Tensor,
    gradient: torch.Tensor,
    frame: torch.Tensor,
    damping: torch.Tensor,
    iterations: int = 6,
) -> torch.Tensor:
    """Solve ``(J^T W J + damping diag) step = gradient``, shape (N, 3), frame by frame."""

    def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a.new_zeros(model.shape[0]).index_add_(0, frame, (a * b).sum(1))

    def share(values: torch.Tensor) -> torch.Tensor:
        return values[frame][:, None]

    own = torch.einsum("nipq,njpq->nij", jacobian * model.cut_out(weight)[:, None], jacobian)
    diagonal = own.diagonal(dim1=1, dim2=2)
    extra = damping[frame][:, None] * diagonal + 1e-12
    preconditioner = torch.linalg.inv(own + torch.diag_embed(extra))

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


def fit(
    molecules: Molecules,
    y: torch.Tensor,
    b: torch.Tensor,
    sigma_px: float,
    excess_noise: float = 1.0,
    read_variance: float = 0.0,
    iterations: int = 5,
) -> Molecules:
    """Maximum likelihood fit of all molecules of all frames.

    Parameters
    ----------
    molecules : Molecules
        Where to start.
    y, b : tensor (B, Y, X)
        Frames and background in photons.
    sigma_px : float
        PSF sigma in camera pixels.
    excess_noise, read_variance : float
        Camera noise: ``variance = excess_noise * mean + read_variance``, in photons squared.
    iterations : int
        Damped Fisher scoring steps. A few are best: molecules far closer than the PSF compensate
        each other's errors, and more steps follow the noise along these directions.
    """
    if len(molecules) == 0:
        return molecules
    model = SpotModel((y.shape[0], y.shape[1], y.shape[2]), sigma_px)
    model.locate(molecules)
    likelihood = CameraLikelihood(y, b, excess_noise, read_variance)
    jacobian, spots = model.jacobian(molecules), model.light(molecules)
    loss = likelihood.per_frame(spots)
    damping = torch.full_like(loss, 1e-2)
    for _ in range(iterations):
        residual, weight = likelihood.residual_and_weight(spots)
        gradient = torch.einsum("nipq,npq->ni", jacobian, model.cut_out(residual))
        step = _solve(model, jacobian, weight, gradient, molecules.frame, damping)
        trial = _moved(molecules, step)
        trial_jacobian, trial_spots = model.jacobian(trial), model.light(trial)
        trial_loss = likelihood.per_frame(trial_spots)
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


def _moved(molecules: Molecules, step: torch.Tensor) -> Molecules:
    return Molecules(
        molecules.frame,
        molecules.position + step[:, :2].clamp(-MAX_STEP_PX, MAX_STEP_PX),
        torch.maximum(molecules.photons + step[:, 2], 0.2 * molecules.photons),
    )
