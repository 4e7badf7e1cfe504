"""The same as `patches.Patches`, compiled: for single precision on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unfold.localization.anchors import Anchors
from napari_unfold.localization.brightness import PriorNumbers
from napari_unfold.localization.kernels import in_pieces
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.profiles import Splines
from napari_unfold.localization.refine import MAX_STEP_PX, WORTH
from napari_unfold.localization.spots import Molecules

if TYPE_CHECKING:
    from napari_unfold.localization.compiled_patches import PatchArrays

LEAST = 64
"""Patches that are worth a thread."""


@dataclass(frozen=True)
class CompiledPatches:
    """Pieces of frames ``(N, P, P)``, with the light in them that is held fixed.

    Spots in them are tensors ``(N, k, 3)`` of y, x (camera pixels of the frame) and photons.

    Attributes
    ----------
    corner : array (N, 2)
        Camera row and column of their first pixels.
    counts, fixed : array (N, P * P)
        What is seen, and the light that is held fixed, as the likelihood counts them.
    frames : Frames
    anchors : Anchors (N, k), optional
        What other frames tell of the positions of the spots.
    """

    corner: NDArray[np.int64]
    counts: NDArray[np.float32]
    fixed: NDArray[np.float32]
    frames: Frames
    anchors: Anchors | None = None

    def loss(self, spots: torch.Tensor) -> torch.Tensor:
        """Return minus the log-probability ``(N,)`` of the pieces and the spots."""
        from napari_unfold.localization import compiled_patches as compiled

        table = spots.contiguous().numpy()
        loss = np.empty(len(table), np.float32)
        told = self._told()

        def work(first: int, last: int) -> None:
            compiled.losses(first, last, *told, table, loss)

        in_pieces(work, len(table), LEAST)
        return torch.from_numpy(loss)

    def fit(self, spots: torch.Tensor, iterations: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the spots where the loss is least, and that loss (Levenberg-Marquardt)."""
        from napari_unfold.localization import compiled_patches as compiled

        table = np.array(spots.numpy(), order="C")
        loss = np.empty(len(table), np.float32)
        told, longest = self._told(), np.float32(MAX_STEP_PX)

        def work(first: int, last: int) -> None:
            compiled.fit(first, last, *told, iterations, longest, WORTH, table, loss)

        in_pieces(work, len(table), LEAST)
        return torch.from_numpy(table), torch.from_numpy(loss)

    def gradient_and_information(self, spots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return minus the derivative ``(N, 3 k)`` of the loss, and the Fisher information.

        The information ``(N, 3 k, 3 k)`` contains that of the prior; both in double precision.
        """
        from napari_unfold.localization import compiled_patches as compiled

        table = spots.contiguous().numpy()
        n, width = len(table), 3 * table.shape[1]
        gradients, matrices = np.empty((n, width)), np.empty((n, width, width))
        told = self._told()

        def work(first: int, last: int) -> None:
            compiled.informations(first, last, *told, table, gradients, matrices)

        in_pieces(work, n, LEAST)
        return torch.from_numpy(gradients), torch.from_numpy(matrices)

    def _told(self) -> tuple[PatchArrays, Splines, PriorNumbers]:
        """Return what all compiled functions are told."""
        from napari_unfold.localization import compiled_patches as compiled

        anchors = self.anchors or Anchors.none(torch.empty(0, 0, 2))
        patches = compiled.PatchArrays(
            self.corner,
            (self.frames.y.shape[1], self.frames.y.shape[2]),
            self.counts,
            self.fixed,
            np.float32(self.frames.excess_noise),
            anchors.origin.contiguous().numpy(),
            anchors.gradient.contiguous().numpy(),
            anchors.information.contiguous().numpy(),
        )
        return patches, self.frames.spot.splines, self.frames.prior.as_numbers()


def compiled_patches_around(
    at: Molecules, spots: torch.Tensor, frames: Frames, light: torch.Tensor, anchors: Anchors | None
) -> CompiledPatches:
    """Lay patches around molecules; see `patches.patches_around`."""
    from napari_unfold.localization import compiled_patches as compiled

    reach, (_, rows, columns) = frames.spot.reach, frames.y.shape
    corner = np.floor(at.position.numpy()).clip(0, (rows - 1, columns - 1)).astype(np.int64) - reach
    counts = frames.counts.numpy()
    floor = (frames.floor + light).contiguous().numpy()
    frame, table = at.frame.numpy(), spots.contiguous().numpy()
    seen = np.empty((len(at), (2 * reach + 1) ** 2), np.float32)
    fixed = np.empty_like(seen)
    splines = frames.spot.splines

    def work(first: int, last: int) -> None:
        compiled.cut(first, last, frame, corner, table, counts, floor, splines, seen, fixed)

    in_pieces(work, len(at), LEAST)
    return CompiledPatches(corner, seen, fixed, frames, anchors)
