"""What the pixels of a window of frames say of the rows of tracks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch

from napari_unfold.localization.kernels import in_pieces, serve
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.spots import Molecules


class RowPixels(Protocol):
    """Pixels under the patches of rows, which stay where they are while molecules move a little."""

    def look(self, molecules: Molecules) -> tuple[torch.Tensor, torch.Tensor]:
        """Return minus the derivative of the loss by y, x and photons, and the Fisher information.

        Shapes ``(N, 3)`` and ``(N, 3, 3)``. What follows refers to these molecules.
        """
        ...

    def product(self, rows: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """Apply the Fisher information of all pixels to a change ``(n, 3)`` of some rows.

        Parameters
        ----------
        rows : tensor (N,), bool
            Which rows change.
        change : tensor (n, 3)
        """
        ...

    def rise(self, rows: torch.Tensor, moved: Molecules) -> torch.Tensor:
        """Return by how much the loss around each of some rows ``(n,)`` rises when all move.

        Parameters
        ----------
        rows : tensor (N,), bool
            Which rows move.
        moved : Molecules (n,)
            Where they are then.
        """
        ...


def row_pixels(molecules: Molecules, frames: Frames) -> RowPixels:
    """Lay patches around the rows of tracks."""
    if serve(molecules.photons) and serve(frames.y):
        return CompiledRowPixels(molecules, frames)
    return TorchRowPixels(molecules, frames)


class TorchRowPixels:
    """The same in torch, to be read; see `RowPixels`."""

    def __init__(self, molecules: Molecules, frames: Frames) -> None:
        self._model, self._likelihood = frames.spot_model(molecules), frames.likelihood

    def look(self, molecules: Molecules) -> tuple[torch.Tensor, torch.Tensor]:
        """See `RowPixels`."""
        model = self._model
        self._molecules, self._light = molecules, model.light(molecules)
        residual, self._weight = self._likelihood.residual_and_weight(self._light)
        self._jacobian = jacobian = model.jacobian(molecules)
        gradient = torch.einsum("nipq,npq->ni", jacobian, model.cut_out(residual))
        weighted = jacobian * model.cut_out(self._weight)[:, None]
        return gradient, torch.einsum("nipq,njpq->nij", weighted, jacobian)

    def product(self, rows: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """See `RowPixels`."""
        model, jacobian = self._model.part(rows), self._jacobian[rows]
        light = model.add_up(torch.einsum("nipq,ni->npq", jacobian, change))
        return torch.einsum("nipq,npq->ni", jacobian, model.cut_out(self._weight * light))

    def rise(self, rows: torch.Tensor, moved: Molecules) -> torch.Tensor:
        """See `RowPixels`."""
        model = self._model.part(rows)
        change = model.light(moved) - model.light(self._molecules.select(rows))
        per_pixel = self._likelihood.per_pixel
        return model.cut_out(per_pixel(self._light + change) - per_pixel(self._light)).sum((1, 2))


class CompiledRowPixels:
    """The same, compiled; see `RowPixels`."""

    def __init__(self, molecules: Molecules, frames: Frames) -> None:
        from napari_unfold.localization import compiled_frames, compiled_rows

        self._compiled, self._splines = compiled_rows, frames.spot.splines
        self._order = molecules.frame.argsort(stable=True)
        self._rows = molecules.table[self._order].numpy() + np.float32(np.nan)  # all are stale
        n_frames, *size = frames.y.shape
        side = 2 * frames.spot.reach + 1
        starts = np.searchsorted(molecules.frame[self._order].numpy(), np.arange(n_frames + 1))
        shape = (size[0], size[1])
        corner = compiled_frames.corners_of(molecules.table[self._order].numpy(), shape)
        lit = [
            compiled_frames.covered(corner[starts[t] : starts[t + 1]], side, shape)
            for t in range(n_frames)
        ]
        maps = np.zeros((3, n_frames, size[0] + side - 1, size[1] + side - 1), np.float32)
        self._window = compiled_rows.WindowArrays(
            starts,
            np.cumsum([0, *map(len, lit)]),
            np.concatenate(lit),
            corner,
            frames.counts.clamp(min=0.0).contiguous().numpy(),
            frames.floor.contiguous().numpy(),
            np.float32(frames.excess_noise),
            *maps,
            np.empty((len(molecules), 3, side * side), np.float32),
        )

    def look(self, molecules: Molecules) -> tuple[torch.Tensor, torch.Tensor]:
        """See `RowPixels`."""
        rows = molecules.table[self._order].numpy()
        stale = (rows != self._rows).any(axis=1)
        self._rows = rows
        gradient, information = np.empty_like(rows), np.empty((len(rows), 3, 3), np.float32)
        window, splines = self._window, self._splines
        self._in_pieces(
            lambda a, b: self._compiled.look(
                a, b, window, splines, rows, stale, gradient, information
            )
        )
        return self._unsorted(gradient), self._unsorted(information)

    def product(self, rows: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """See `RowPixels`."""
        active, along = rows[self._order].numpy(), self._sorted(rows, change)
        out, window = np.empty_like(along), self._window
        self._in_pieces(
            lambda a, b: self._compiled.products(a, b, window, active, along, out)
        )
        return self._unsorted(out)[rows]

    def rise(self, rows: torch.Tensor, moved: Molecules) -> torch.Tensor:
        """See `RowPixels`."""
        active, trial = rows[self._order].numpy(), self._sorted(rows, moved.table)
        out, window, splines = np.empty(len(trial), np.float32), self._window, self._splines
        self._in_pieces(
            lambda a, b: self._compiled.rises(
                a, b, window, splines, self._rows, active, trial, out
            )
        )
        return self._unsorted(out)[rows]

    def _in_pieces(self, work: Callable[[int, int], None]) -> None:
        in_pieces(work, len(self._window.counts))

    def _sorted(self, rows: torch.Tensor, values: torch.Tensor) -> np.ndarray:
        """Return values of some rows as an array of all, sorted by frame."""
        everywhere = values.new_zeros(len(rows), *values.shape[1:])
        everywhere[rows] = values
        return everywhere[self._order].numpy()

    def _unsorted(self, values: np.ndarray) -> torch.Tensor:
        out = torch.empty(values.shape)
        out[self._order] = torch.from_numpy(values)
        return out
