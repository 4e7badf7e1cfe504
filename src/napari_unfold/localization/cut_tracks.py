"""A track becomes two where one molecule went off and another came on beside it.

Every frame tells where the molecule of its row would rather be. If the frames up to one agree, and
those after it agree on another place, these are two molecules, by the evidence of `staying`. A
place that moves evenly is that of one molecule that drifts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unfold.localization.anchors import Anchors
from napari_unfold.localization.row_knowledge import RowKnowledge
from napari_unfold.localization.staying import evidence_for_one
from napari_unfold.localization.tracks import Tracks

DRIFTING_FRAMES = 4
"""Fewer frames do not tell drift from a jump."""


@dataclass(frozen=True)
class _Rows:
    """Rows in the order of tracks and frames, what was carried into the window being the first."""

    row: NDArray[np.intp]
    track: NDArray[np.intp]
    gradient: NDArray[np.float64]
    information: NDArray[np.float64]
    least: NDArray[np.float64]

    @classmethod
    def of(cls, tracks: Tracks, knowledge: RowKnowledge) -> _Rows:
        begun = np.flatnonzero(tracks.begun.cpu().numpy())
        carried = tracks.carried.at(tracks.begun)
        at = tracks.position[tracks.begun]
        frame = np.concatenate([np.full(len(begun), -1), tracks.frame.cpu().numpy()])
        track = np.concatenate([begun, tracks.track.cpu().numpy()])
        gradient = torch.cat([carried.slope(at).double(), knowledge.gradient]).cpu().numpy()
        information = torch.cat([carried.information.double(), knowledge.information])
        row = np.concatenate([np.full(len(begun), -1), np.arange(len(tracks.frame))])
        order = np.lexsort((frame, track))
        least = knowledge.least * np.eye(2)
        return cls(
            row[order], track[order], gradient[order], information.cpu().numpy()[order], least
        )

    def covariance(self, information: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return that of a position of which some frames have this information."""
        return np.asarray(np.linalg.inv(information + self.least))

    def step(
        self, gradient: NDArray[np.float64], information: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return where the sum of some frames would rather have the molecule."""
        return np.asarray((self.covariance(information) @ gradient[..., None])[..., 0])


def cut(
    tracks: Tracks,
    knowledge: RowKnowledge,
    density: torch.Tensor,
    staying: float,
    first_number: int,
) -> Tracks:
    """Cut every track once at most, where that is most evident.

    Parameters
    ----------
    tracks : Tracks
        As fitted.
    knowledge : RowKnowledge
    density : tensor (M,)
        Molecules per pixel and frame, where the tracks are.
    staying : float
        Probability of staying on from a frame to the next.
    first_number : int
        Of the new tracks.
    """
    rows = _Rows.of(tracks, knowledge)
    if len(rows.row) < 2:
        return tracks
    starts = np.flatnonzero(np.diff(rows.track, prepend=-1))
    whole = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(rows.row)))
    before = _running(rows.gradient, starts, whole), _running(rows.information, starts, whole)
    total = tuple(np.add.reduceat(x, starts)[whole] for x in (rows.gradient, rows.information))
    after = total[0] - before[0], total[1] - before[1]
    last = np.append(rows.track[1:] != rows.track[:-1], True)
    moved = (rows.step(*before), rows.step(*after))
    gain = (
        _gain(before[0], moved[0]) + _gain(after[0], moved[1]) - _gain(total[0], rows.step(*total))
    )
    gain -= _gain_of_drift(rows, starts, whole)[whole]
    covariance = rows.covariance(before[1]) + rows.covariance(after[1])
    dense = density.cpu().double().numpy()[rows.track]
    evidence = evidence_for_one(gain, covariance, dense, staying)
    evidence[last] = np.inf
    best = np.minimum.reduceat(evidence, starts)
    place = np.flatnonzero((evidence == best[whole]) & (evidence < 0))
    place = place[np.unique(rows.track[place], return_index=True)[1]]
    return _cut_after(tracks, rows, place, moved, first_number)


def _running(
    values: NDArray[np.float64], starts: NDArray[np.intp], whole: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Sum from the first row of each track up to every row."""
    summed = np.cumsum(values, axis=0)
    return np.asarray(summed - (summed[starts] - values[starts])[whole])


def _gain(gradient: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (gradient * step).sum(-1))


def _gain_of_drift(
    rows: _Rows, starts: NDArray[np.intp], whole: NDArray[np.intp]
) -> NDArray[np.float64]:
    """By how much more likely each track is if it moves evenly, zero for short ones."""
    frames = np.diff(starts, append=len(rows.row))
    time = np.arange(len(whole)) - starts[whole] - 0.5 * (frames[whole] - 1)
    slope = np.concatenate([rows.gradient, time[:, None] * rows.gradient], 1)
    turned = time[:, None, None] * rows.information
    matrix = np.block([[rows.information, turned], [turned, time[:, None, None] * turned]])
    slope, matrix = (np.add.reduceat(x, starts) for x in (slope, matrix))
    least = np.kron(np.eye(2), rows.least)
    moved = np.linalg.solve(matrix + least, slope[..., None])[..., 0]
    still = _gain(slope[:, :2], rows.step(slope[:, :2], matrix[:, :2, :2]))
    return np.asarray(np.where(frames > DRIFTING_FRAMES, _gain(slope, moved) - still, 0.0))


def _cut_after(
    tracks: Tracks,
    rows: _Rows,
    place: NDArray[np.intp],
    moved: tuple[NDArray[np.float64], NDArray[np.float64]],
    first_number: int,
) -> Tracks:
    """Make new tracks of the rows after those at `place`, each of another track."""
    if len(place) == 0:
        return tracks
    device, old = tracks.position.device, rows.track[place]
    limit = 0.5
    earlier, later = (
        torch.as_tensor(m[place].clip(-limit, limit), device=device).to(tracks.position)
        for m in moved
    )
    number_of = np.full(len(tracks), -1)
    number_of[old] = np.arange(len(place))
    end = np.full(len(tracks), np.iinfo(np.int64).max)
    end[old] = place
    late = np.arange(len(rows.row)) > end[rows.track]
    assert (rows.row[late] >= 0).all()
    track = tracks.track.clone()
    new = torch.as_tensor(len(tracks) + number_of[rows.track[late]], device=device)
    track[torch.as_tensor(rows.row[late], device=device)] = new
    at = torch.as_tensor(old, device=device)
    position = tracks.position.clone()
    position[at] += earlier
    beside = tracks.position[at] + later
    every = torch.arange(len(place), device=device)
    return replace(
        tracks,
        number=torch.cat([tracks.number, first_number + every]),
        position=torch.cat([position, beside]),
        carried=tracks.carried.joined(Anchors.none(beside), 0),
        begun=torch.cat([tracks.begun, torch.zeros_like(every, dtype=torch.bool)]),
        track=track,
    )
