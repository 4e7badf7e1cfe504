"""How well the molecules of a frame, found without some of its pixels, foretell these."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.estimation.background import estimate_crowding
from napari_unfold.estimation.learn_molecules import ROUNDS, LearnedMolecules, learn_molecules
from napari_unfold.imaging.camera import NOTHING_TOLD_PHOTONS2, CameraModel
from napari_unfold.imaging.forward import forward_operator
from napari_unfold.imaging.psf import GaussianPSF
from napari_unfold.jobs import Event, Job, Progress, Pulse, translated
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.model_selection import ModelSelection
from napari_unfold.localization.profiles import GaussianSpot
from napari_unfold.localization.refine import fit
from napari_unfold.localization.spots import Molecules

LATTICE = 3
"""One pixel of so many by so many is hidden, in every frame another one."""

FINAL_PASSES = 10


class UntoldError(InputError):
    """Says why the frames do not tell the width of the PSF, and what would."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"the width of the PSF cannot be learned: {reason}", remedy)


@dataclass
class Trials:
    """Widths that were tried on some frames, and how well they foretell hidden pixels.

    Parameters
    ----------
    y : array (T, Y, X)
        Frames in photons.
    background : array (Y, X)
        Photons per camera pixel.
    camera : CameraModel
    factors : array (T,), optional
        By which the background of each frame is multiplied.
    keep_background : bool
        It was stated, and is not corrected.

    Attributes
    ----------
    molecules : int
        Found in the latest trial.
    crowding : float
        Molecules in the area of a PSF, where they are.
    tried : int
        Trials so far.
    """

    y: NDArray[np.float32]
    background: NDArray[np.float32]
    camera: CameraModel
    factors: NDArray[np.float32] | None = None
    keep_background: bool = False
    molecules: int = 0
    crowding: float = 0.0
    tried: int = 0

    def misfit(self, sigma_px: float, every: int = 1) -> Job[NDArray[np.float64]]:
        """Return minus the log-likelihood ``(T,)`` of the hidden pixels of every n-th frame."""
        y = self.y[::every]
        lamp = None if self.factors is None else self.factors[::every]
        learned = yield from self._brightness(y, lamp, sigma_px)
        crowding = estimate_crowding(y, learned.background, learned.photons, sigma_px, lamp)
        frames = self._frames(y, lamp, sigma_px, learned)
        hidden = hidden_pixels(y.shape)
        found = yield from _found(frames, hidden, crowding, learned.photons)
        light = frames.spot_model(found).light(found)
        self.molecules, self.crowding = len(found), _where_they_are(crowding, found)
        self.tried += 1
        return np.asarray((frames.likelihood.per_pixel(light) * hidden).sum((1, 2)).double())

    def _brightness(
        self, y: NDArray[np.float32], lamp: NDArray[np.float32] | None, sigma_px: float
    ) -> Job[LearnedMolecules]:
        energy = forward_operator((y.shape[1], y.shape[2]), 1, GaussianPSF(sigma_px)).point_energy
        told = learn_molecules(
            y, self.background, self.camera, GaussianSpot(sigma_px), energy,
            keep_background=self.keep_background, factors=lamp,
        )  # fmt: skip
        learned = yield from translated(told, quietly)
        if learned is None:
            raise UntoldError(
                "no molecules stand out from the noise", "Use other frames, or measure a bead"
            )
        return learned

    def _frames(
        self,
        y: NDArray[np.float32],
        lamp: NDArray[np.float32] | None,
        sigma_px: float,
        learned: LearnedMolecules,
    ) -> Frames:
        behind = np.broadcast_to(learned.background, y.shape)
        if lamp is not None:
            behind = behind * lamp[:, None, None]
        variance = torch.as_tensor(self.camera.read_variance, dtype=torch.float32)
        return Frames(
            torch.as_tensor(y),
            torch.tensor(behind),
            GaussianSpot(sigma_px),
            self.camera.excess_noise,
            variance.expand(y.shape),
            learned.brightness,
        )


def hidden_pixels(shape: tuple[int, ...]) -> torch.Tensor:
    """Return which pixels ``(T, Y, X)`` are hidden: one of nine, scattered, by turns each."""
    t, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    place = LATTICE * (y % LATTICE) + x % LATTICE
    return torch.as_tensor(place == t % LATTICE**2)


def _found(
    frames: Frames, hidden: torch.Tensor, crowding: NDArray[np.float32], photons: float
) -> Job[Molecules]:
    """Find the molecules without the hidden pixels."""
    variance = torch.as_tensor(frames.read_variance).masked_fill(hidden, NOTHING_TOLD_PHOTONS2)
    shown = replace(frames, read_variance=variance)
    selection = ModelSelection(shown, torch.as_tensor(crowding), photons)
    found = Molecules.none()
    for _ in range(ROUNDS):
        found = fit(selection.add(selection.split(found)), shown)
        yield Pulse()
    return fit(selection.remove(found), shown, FINAL_PASSES)


def _where_they_are(crowding: NDArray[np.float32], molecules: Molecules) -> float:
    if len(molecules) == 0:
        return 0.0
    last = np.array(crowding.shape) - 1
    pixel = np.clip(molecules.position.numpy().astype(np.intp), 0, last)
    return float(np.median(crowding[pixel[:, 0], pixel[:, 1]]))


def quietly(event: Event) -> Event:
    """Let the job be stopped here, without a progress that is another's."""
    return Pulse() if isinstance(event, Progress) else event
