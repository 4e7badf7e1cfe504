"""Molecules that stay on: tracks of one position, and light in every frame of an interval."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from napari_unfold.localization.anchors import Anchors
from napari_unfold.localization.spots import Molecules


@dataclass(frozen=True)
class Tracks:
    """Tracks in a window of frames, and their rows: one per track and frame.

    Attributes
    ----------
    number : tensor (M,), int64
        Of every track, by which it is known beyond the window.
    position : tensor (M, 2)
        ``(y, x)`` of every track in camera pixels.
    carried : Anchors (M,)
        What frames before the window tell of the positions.
    begun : tensor (M,), bool
        Which tracks were already on in the frame before the window.
    track : tensor (N,), int64
        Track of every row.
    frame : tensor (N,), int64
        Frame of every row in the window. A track has one row in each frame of its interval.
    photons : tensor (N,)
        Of every row.
    """

    number: torch.Tensor
    position: torch.Tensor
    carried: Anchors
    begun: torch.Tensor
    track: torch.Tensor
    frame: torch.Tensor
    photons: torch.Tensor

    @classmethod
    def of(cls, molecules: Molecules, first_number: int = 0) -> Tracks:
        """Return every molecule as a track of one frame, numbered in turn."""
        each = torch.arange(len(molecules), device=molecules.frame.device)
        return cls(
            number=first_number + each,
            position=molecules.position,
            carried=Anchors.none(molecules.position),
            begun=torch.zeros_like(each, dtype=torch.bool),
            track=each,
            frame=molecules.frame,
            photons=molecules.photons,
        )

    def __len__(self) -> int:
        return len(self.position)

    @property
    def molecules(self) -> Molecules:
        """The rows as molecules of single frames."""
        return Molecules(self.frame, self.position[self.track], self.photons)

    def total(self, of_rows: torch.Tensor) -> torch.Tensor:
        """Sum values ``(N, ...)`` of the rows of every track."""
        return of_rows.new_zeros(len(self), *of_rows.shape[1:]).index_add_(0, self.track, of_rows)

    @property
    def lengths(self) -> torch.Tensor:
        """Number of rows ``(M,)`` of every track."""
        return self.total(torch.ones_like(self.track))

    @property
    def first(self) -> torch.Tensor:
        """First frame ``(M,)`` of every track, -1 of those that had begun before the window."""
        start = torch.where(self.begun, -1, torch.iinfo(torch.int64).max)
        return start.scatter_reduce(0, self.track, self.frame, "amin")

    @property
    def last(self) -> torch.Tensor:
        """Last frame ``(M,)`` of every track, -1 of those that ended before the window."""
        return torch.full_like(self.number, -1).scatter_reduce(0, self.track, self.frame, "amax")

    @property
    def ends(self) -> torch.Tensor:
        """Rows ``(N,)`` in the first or the last frame of their track."""
        first, last = self.first[self.track], self.last[self.track]
        return (self.frame == first) | (self.frame == last)

    def joined(self, others: Tracks) -> Tracks:
        """Return these tracks followed by others."""
        return Tracks(
            number=torch.cat([self.number, others.number]),
            position=torch.cat([self.position, others.position]),
            carried=self.carried.joined(others.carried, 0),
            begun=torch.cat([self.begun, others.begun]),
            track=torch.cat([self.track, others.track + len(self)]),
            frame=torch.cat([self.frame, others.frame]),
            photons=torch.cat([self.photons, others.photons]),
        )

    def select_rows(self, keep: torch.Tensor) -> Tracks:
        """Return the tracks with some of their rows, chosen by a mask or by indices."""
        return replace(
            self, track=self.track[keep], frame=self.frame[keep], photons=self.photons[keep]
        )

    def select(self, keep: torch.Tensor) -> Tracks:
        """Return some of the tracks; a mask ``(M,)``."""
        new = keep.cumsum(0) - 1
        rows = self.select_rows(keep[self.track])
        return replace(
            rows,
            number=self.number[keep],
            position=self.position[keep],
            carried=self.carried.at(keep),
            begun=self.begun[keep],
            track=new[rows.track],
        )

    def without_empty(self) -> Tracks:
        """Return the tracks that have rows, or had begun before the window."""
        return self.select((self.lengths > 0) | self.begun)
