"""What the pixels of a window of frames say of the rows of tracks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unfold.localization.kernels import in_pieces, serve
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.spots import Molecules

Integers: TypeAlias = NDArray[np.int64]


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
    """Lay patches around the rows of tracks, which are sorted by frame."""
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
        from napari_unfold.localization import compiled_maps, compiled_rows

        self._compiled, self._splines = compiled_rows, frames.spot.splines
        n_frames, rows, columns = frames.y.shape
        n, side = len(molecules), 2 * frames.spot.reach + 1
        self._frame = molecules.frame.numpy()
        starts = self._starts(self._frame, n_frames)
        corner = compiled_maps.corners_of(molecules.table.numpy(), (rows, columns))
        lit = [
            compiled_maps.covered(corner[starts[t] : starts[t + 1]], side, (rows, columns))
            for t in range(n_frames)
        ]
        self._rows = np.full((n, 3), np.nan, np.float32)  # they have not been looked at
        self._gradient = np.empty((n, 3), np.float32)
        self._information = np.empty((n, 3, 3), np.float32)
        shape = (n_frames, rows + side - 1, columns + side - 1)
        light, residual, weight = np.zeros((3, *shape), np.float32)
        self._window = compiled_rows.WindowArrays(
            starts,
            np.cumsum([0, *map(len, lit)]),
            np.concatenate(lit),
            corner,
            frames.counts.numpy(),
            frames.floor.numpy(),
            np.float32(frames.excess_noise),
            light,
            residual,
            weight,
            np.empty((n, 3, side * side), np.float32),
        )

    def look(self, molecules: Molecules) -> tuple[torch.Tensor, torch.Tensor]:
        """See `RowPixels`."""
        rows = molecules.table.numpy()
        stale = (rows != self._rows).any(axis=1)
        self._rows = rows
        told = (self._window, self._splines, rows, stale, self._gradient, self._information)
        self._in_pieces(lambda first, last: self._compiled.look(first, last, *told))
        return torch.tensor(self._gradient), torch.tensor(self._information)

    def product(self, rows: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """See `RowPixels`."""
        along = change.contiguous().numpy()
        out = np.empty_like(along)
        told = (self._window, *self._chosen(rows), along, out)
        self._in_pieces(lambda first, last: self._compiled.products(first, last, *told))
        return torch.from_numpy(out)

    def rise(self, rows: torch.Tensor, moved: Molecules) -> torch.Tensor:
        """See `RowPixels`."""
        trial = moved.table.numpy()
        out = np.empty(len(trial), np.float32)
        told = (self._window, self._splines, self._rows, *self._chosen(rows), trial, out)
        self._in_pieces(lambda first, last: self._compiled.rises(first, last, *told))
        return torch.from_numpy(out)

    def _in_pieces(self, work: Callable[[int, int], None]) -> None:
        in_pieces(work, len(self._window.counts))

    def _chosen(self, rows: torch.Tensor) -> tuple[Integers, Integers]:
        """Return the numbers of some rows, and where those of each frame begin."""
        which = np.flatnonzero(rows.numpy())
        return which, self._starts(self._frame[which], len(self._window.counts))

    @staticmethod
    def _starts(frame: Integers, n_frames: int) -> Integers:
        return np.searchsorted(frame, np.arange(n_frames + 1))
