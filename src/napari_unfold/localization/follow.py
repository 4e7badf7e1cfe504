"""Molecules followed through time: a window of frames that slides over the stack.

What single frames told comes in at one end. Within the window tracks are cut, joined, extended,
shortened and fitted, each by the evidence of all frames in it. At the other end rows are settled:
a track that stays on carries with it what they told of its position, so that tracks of any length
are found whole, and memory does not grow with the number of frames.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from napari_unfold.localization.anchors import Anchors
from napari_unfold.localization.cut_tracks import cut
from napari_unfold.localization.join_tracks import join
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.localizer import Localizations, Localizer
from napari_unfold.localization.model_selection import ModelSelection
from napari_unfold.localization.refine_tracks import anchors_of_rows, fit_tracks, row_terms
from napari_unfold.localization.row_knowledge import RowKnowledge, row_knowledge
from napari_unfold.localization.staying import LIMITS
from napari_unfold.localization.track_selection import TrackSelection
from napari_unfold.localization.tracks import Tracks
from napari_unfold.tables.columns import empty_table

STRIDE, LOOKAHEAD = 48, 24
"""Frames that are looked at anew at a time, and frames that then stay in the window, so that what
comes after a frame has a say in it."""

WINDOW_BYTES = 2**28
"""For the frames of a window, fewer of which are looked at together where they are large."""

ROUNDS = 3

MISTAKES = 4.5
"""Variances of followed molecules rise by this times the crowding c, the molecules expected per
``4 pi sigma^2`` and frame: some rows of a track are another molecule's. Found on simulations of 0.3
to 6 molecules per square micrometre that stay on for 1 to 20 frames."""

LAMP_CHANGE = 0.1
"""Frames that are lit so much more or less do not share a window."""


@dataclass(frozen=True)
class Chunk:
    """Frames as they come in, with what each told by itself.

    Attributes
    ----------
    frames : Frames
    lit : float
        How bright molecules are in them, relative to the stack.
    found : Localizations
    background : array (B, Y, X)
        Photons per camera pixel.
    """

    frames: Frames
    lit: float
    found: Localizations
    background: NDArray[np.floating]


@dataclass(frozen=True)
class FollowerState:
    """What a `Follower` knows between two chunks, except frames and rows.

    Attributes
    ----------
    staying : float
    skipped, new, start, next_number : int
    tracks : Tracks or None
    covariance : tensor (M, 2, 2)
        Of their positions.
    found : tuple of Localizations
        In the chunks of the window.
    """

    staying: float
    skipped: int
    new: int
    start: int
    next_number: int
    tracks: Tracks | None
    covariance: torch.Tensor
    found: tuple[Localizations, ...]


class Follower:
    """Follows the molecules of a stack.

    Parameters
    ----------
    localizer : Localizer
    staying : float
        Probability of staying on from a frame to the next, to begin with.
    """

    def __init__(self, localizer: Localizer, staying: float) -> None:
        self.localizer, self.staying = localizer, staying
        self._chunks: list[Chunk] = []
        self._skipped = 0  # of the frames of the first chunk
        self._new = 0  # frames that nothing was decided about
        self._start = 0  # of the window in the stack
        self._tracks: Tracks | None = None
        self._covariance = torch.zeros(0, 2, 2, dtype=torch.float64)
        self._next_number = 0
        self._rows: list[pd.DataFrame] = []
        self._states: list[pd.DataFrame] = []

    @property
    def state(self) -> FollowerState:
        """What it knows now, to be gone on with by `restore`."""
        return FollowerState(
            self.staying, self._skipped, self._new, self._start, self._next_number,
            self._tracks, self._covariance, tuple(chunk.found for chunk in self._chunks),
        )  # fmt: skip

    @property
    def tables(self) -> dict[str, list[pd.DataFrame]]:
        """What it knows of frames that have left the window; only gets longer."""
        return {"rows": self._rows, "positions": self._states}

    def restore(
        self, state: FollowerState, chunks: list[Chunk], tables: dict[str, list[pd.DataFrame]]
    ) -> None:
        """Go on from a state and its tables, with the chunks of its window."""
        self.staying, self._skipped, self._new = state.staying, state.skipped, state.new
        self._start, self._next_number = state.start, state.next_number
        self._tracks, self._covariance = state.tracks, state.covariance
        self._chunks = chunks
        self._rows, self._states = tables["rows"], tables["positions"]

    @property
    def mean_frames(self) -> float:
        """Frames for which a molecule stays on in the mean."""
        return 1.0 / (1.0 - self.staying)

    def push(self, chunk: Chunk) -> Generator[float, None, None]:
        """Take in the next frames; yields now and then the share of the work that is done."""
        if self._chunks and abs(chunk.lit / self._chunks[-1].lit - 1.0) > LAMP_CHANGE:
            yield from self._decide(lookahead=0)
        self._take_in(chunk)
        room = WINDOW_BYTES // (3 * chunk.frames.y[0].numel() * chunk.frames.y.element_size())
        stride = max(1, min(STRIDE, room - LOOKAHEAD))
        if self._new >= stride:
            yield from self._decide(min(LOOKAHEAD, stride))

    def finish(self) -> Generator[float, None, pd.DataFrame]:
        """Return the localizations of all frames, with the column ``track``, counted from 1."""
        yield from self._decide(lookahead=0)
        if not self._rows:
            return empty_table().assign(track=np.zeros(0, np.int64))
        return _assembled(self._rows, self._states)

    def _decide(self, lookahead: int) -> Generator[float, None, None]:
        """Find the tracks of the window, and let all frames but the last ones go."""
        if self._length == 0:
            return
        selection = self.localizer.selection(self._window(), self._chunks[-1].lit)
        if self._new:
            yield from self._rounds(selection)
        self._new = 0
        if self._length > lookahead:
            self._settle(self._length - lookahead, selection)

    @property
    def _length(self) -> int:
        return sum(len(chunk.frames.y) for chunk in self._chunks) - self._skipped

    def _take_in(self, chunk: Chunk) -> None:
        molecules = replace(chunk.found.molecules, frame=chunk.found.molecules.frame + self._length)
        new = Tracks.of(molecules, self._next_number)
        self._next_number += len(new)
        variance = chunk.found.uncertainty[:, :2].double().square()
        self._tracks = self._tracks.joined(new) if self._tracks else new
        self._covariance = torch.cat(
            [self._covariance.to(variance.device), torch.diag_embed(variance)]
        )
        self._chunks.append(chunk)
        self._new += len(chunk.frames.y)

    def _window(self) -> Frames:
        """Return the frames of the window."""
        first = self._chunks[0].frames
        skipped = self._skipped

        def joined(name: str) -> torch.Tensor:
            parts = [torch.as_tensor(getattr(c.frames, name)) for c in self._chunks]
            whole = [p.expand_as(c.frames.y) for p, c in zip(parts, self._chunks, strict=True)]
            return torch.cat(whole)[skipped:].to(first.y)

        return replace(first, y=joined("y"), b=joined("b"), read_variance=joined("read_variance"))

    def _density(self, tracks: Tracks) -> torch.Tensor:
        """Molecules per pixel and frame where the tracks are."""
        crowding = self.localizer.crowding_at(tracks.position)
        return crowding / (4.0 * math.pi * self.localizer.spot.sigma_px**2)

    def _rounds(self, of_frames: ModelSelection) -> Generator[float, None, None]:
        tracks = self._tracks
        if tracks is None or len(tracks) == 0:
            return
        tracks = join(tracks, self._covariance, self._density(tracks), self.staying)
        for done in range(ROUNDS):
            before = (len(tracks), len(tracks.track))
            selection = TrackSelection(of_frames, self.staying)
            frames = selection.frames
            tracks = fit_tracks(tracks, frames)
            yield done / ROUNDS
            knowledge = _knowledge(tracks, frames)
            tracks = cut(tracks, knowledge, self._density(tracks), self.staying, self._next_number)
            self._next_number += len(tracks) - before[0]
            covariance = knowledge.of_tracks(tracks)
            tracks = join(tracks, covariance, self._density(tracks), self.staying)
            tracks = fit_tracks(tracks, frames)
            yield (done + 0.3) / ROUNDS
            tracks = fit_tracks(selection.extend(tracks), frames)
            yield (done + 0.6) / ROUNDS
            tracks = fit_tracks(selection.remove(tracks), frames)
            yield (done + 0.9) / ROUNDS
            self.staying = _staying(tracks, len(frames.y), self.staying)
            if before == (len(tracks), len(tracks.track)):
                break
        self._tracks = tracks

    def _settle(self, n: int, of_frames: ModelSelection) -> None:
        """Let the first `n` frames of the window go."""
        tracks = self._tracks
        if tracks is not None and len(tracks):
            selection = TrackSelection(of_frames, self.staying)
            knowledge = _knowledge(tracks, selection.frames)
            self._write(tracks, knowledge, selection, n)
            self._tracks, self._covariance = _carried_on(tracks, knowledge, n)
        self._start += n
        self._skipped += n
        while self._chunks and self._skipped >= len(self._chunks[0].frames.y):
            self._skipped -= len(self._chunks.pop(0).frames.y)

    def _write(
        self, tracks: Tracks, knowledge: RowKnowledge, selection: TrackSelection, n: int
    ) -> None:
        """Keep the rows of the first `n` frames, and what is known of all tracks by now."""
        evidence = selection.evidence(tracks)
        molecules = tracks.molecules
        covariance = knowledge.of_tracks(tracks)
        variance = covariance.diagonal(dim1=1, dim2=2)
        spread = torch.cat([variance[tracks.track], knowledge.photons_variance[:, None]], 1).sqrt()
        found = Localizations(
            molecules, spread.to(molecules.photons), evidence, self._chunks[0].found.quality
        )
        keep = (tracks.frame < n) & self.localizer.keeps(molecules)
        background = np.concatenate([c.background for c in self._chunks])[self._skipped :]
        table = self.localizer.table(found.select(keep), self._start, background)
        table["track"] = tracks.number[tracks.track[keep]].cpu().numpy()
        self._rows.append(table)
        nm = self.localizer.pixel_size_nm
        position = tracks.position.cpu().double().numpy() * nm
        factor = 1.0 + MISTAKES * self.localizer.crowding_at(tracks.position)
        error = variance.cpu().numpy() * factor.cpu().double().numpy()[:, None] * nm**2
        self._states.append(
            pd.DataFrame(
                {
                    "x_nm": position[:, 1],
                    "y_nm": position[:, 0],
                    "variance_x": error[:, 1],
                    "variance_y": error[:, 0],
                },
                index=tracks.number.cpu().numpy(),
            )
        )


def _knowledge(tracks: Tracks, frames: Frames) -> RowKnowledge:
    return row_knowledge(tracks, frames, anchors_of_rows(tracks, row_terms(tracks, frames)))


def _staying(tracks: Tracks, n_frames: int, before: float) -> float:
    """Share of the rows whose track goes on in the next frame."""
    could = int((tracks.frame < n_frames - 1).sum())
    if could == 0:
        return before
    going_on = len(tracks.track) - len(torch.unique(tracks.track))
    return min(max(going_on / could, LIMITS[0]), LIMITS[1])


def _carried_on(tracks: Tracks, knowledge: RowKnowledge, n: int) -> tuple[Tracks, torch.Tensor]:
    """Return the tracks without the first `n` frames, which they carry, and their covariances."""
    gone = tracks.frame < n
    told = torch.where(gone[:, None], knowledge.gradient, 0.0)
    weight = torch.where(gone[:, None, None], knowledge.information, 0.0)
    at = tracks.position
    carried = Anchors(
        at,
        tracks.carried.slope(at) + tracks.total(told).to(at),
        tracks.carried.information + tracks.total(weight).to(at),
    )
    on_before = torch.zeros_like(tracks.begun)
    on_before[tracks.track[tracks.frame == n - 1]] = True
    rest = replace(tracks, carried=carried, begun=on_before).select_rows(~gone)
    rest = replace(rest, frame=rest.frame - n)
    kept = (rest.lengths > 0) | rest.begun
    return rest.select(kept), knowledge.of_tracks(tracks)[kept]


def _assembled(rows: list[pd.DataFrame], states: list[pd.DataFrame]) -> pd.DataFrame:
    """Return all rows, each with what was known of its track in the end."""
    table = pd.concat(rows, ignore_index=True)
    known = pd.concat(states)
    known = known[~known.index.duplicated(keep="last")].loc[table["track"]]
    for axis in "xy":
        table[f"{axis}_nm"] = known[f"{axis}_nm"].to_numpy()
        table[f"uncertainty_{axis}_nm"] = np.sqrt(known[f"variance_{axis}"].to_numpy())
    both = table[["uncertainty_x_nm", "uncertainty_y_nm"]].to_numpy()
    table["uncertainty_nm"] = np.sqrt((both**2).mean(axis=1))
    table = table.sort_values(["frame", "y_nm", "x_nm"], kind="stable", ignore_index=True)
    table["track"] = pd.factorize(table["track"])[0] + 1
    return table
