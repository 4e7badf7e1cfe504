"""From what single frames tell to the table of a stack, molecules followed through time or not."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from napari_unfold.localization.follow import Chunk, Follower, FollowerState
from napari_unfold.localization.localizer import Localizations, Localizer
from napari_unfold.localization.staying import LIMITS, Staying, measure_staying
from napari_unfold.settings.recipe import Follow

MEASURED_FRAMES = 64
"""First frames of a stack, which show whether molecules stay on."""


@dataclass(frozen=True)
class ThroughTimeState:
    """What `ThroughTime` knows between two chunks, except frames and tables.

    Attributes
    ----------
    staying : Staying or None
    tabled : int
    waiting : tuple of Localizations
        In the chunks that wait for a choice.
    follower : FollowerState or None
    """

    staying: Staying | None
    tabled: int
    waiting: tuple[Localizations, ...]
    follower: FollowerState | None


class ThroughTime:
    """Collects the molecules of a stack.

    Parameters
    ----------
    localizer : Localizer
    follow : {"auto", "on", "off"}

    Attributes
    ----------
    staying : Staying or None
        Whether molecules stay on, when it has been measured.
    """

    def __init__(self, localizer: Localizer, follow: Follow) -> None:
        self.localizer, self.follow = localizer, follow
        self.staying: Staying | None = None
        self._waiting: list[Chunk] = []
        self._follower: Follower | None = None
        self._tables: list[pd.DataFrame] = []
        self._tabled = 0  # frames

    @property
    def is_following(self) -> bool:
        """Whether molecules are followed."""
        return self._follower is not None

    @property
    def note(self) -> str | None:
        """What to say of it."""
        if self._follower:
            frames = self._follower.mean_frames
            return f"Molecules stay on for about {frames:.1f} frames: each was fitted as one"
        if self.follow == "on":
            return "Too few molecules to follow any through time"
        return None

    @property
    def state(self) -> ThroughTimeState:
        """What is known now, to be gone on with by `restore`."""
        return ThroughTimeState(
            self.staying,
            self._tabled,
            tuple(chunk.found for chunk in self._waiting),
            self._follower.state if self._follower else None,
        )

    @property
    def tables(self) -> dict[str, list[pd.DataFrame]]:
        """What is known of frames that are no longer needed; only gets longer."""
        return {"single": self._tables, **(self._follower.tables if self._follower else {})}

    def restore(
        self,
        state: ThroughTimeState,
        tables: Mapping[str, Sequence[pd.DataFrame]],
        chunks: Callable[[Sequence[Localizations]], list[Chunk]],
    ) -> None:
        """Go on from a state.

        Parameters
        ----------
        state : ThroughTimeState
        tables : mapping
            Those that belong to it.
        chunks : callable
            Gives the last chunks for what was found in each.
        """
        self.staying, self._tabled = state.staying, state.tabled
        self._waiting = chunks(state.waiting)
        known = {name: list(parts) for name, parts in tables.items()}
        self._tables = known["single"]
        if state.follower is not None:
            self._follower = Follower(self.localizer, state.follower.staying)
            self._follower.restore(state.follower, chunks(state.follower.found), known)

    def push(self, chunk: Chunk) -> Generator[float, None, None]:
        """Take in the next frames; yields now and then the share of the work that is done."""
        if self._follower:
            yield from self._follower.push(chunk)
        elif self.follow == "off" or self.staying:
            self._put(chunk)
        else:
            self._waiting.append(chunk)
            if sum(len(waiting.background) for waiting in self._waiting) >= MEASURED_FRAMES:
                yield from self._choose()

    def finish(self) -> Generator[float, None, pd.DataFrame]:
        """Return the localizations of all frames."""
        if self._waiting:
            yield from self._choose()
        if self._follower:
            return (yield from self._follower.finish())
        return pd.concat(self._tables, ignore_index=True)

    def _choose(self) -> Generator[float, None, None]:
        """Measure whether molecules stay on, and go on accordingly."""
        waiting, self._waiting = self._waiting, []
        self.staying = staying = _measured(waiting)
        if staying.is_worthwhile or self.follow == "on":
            self._follower = Follower(self.localizer, max(staying.probability, LIMITS[0]))
        for chunk in waiting:
            if self._follower:
                yield from self._follower.push(chunk)
            else:
                self._put(chunk)

    def _put(self, chunk: Chunk) -> None:
        """Keep what the frames told by themselves."""
        self._tables.append(self.localizer.table(chunk.found, self._tabled, chunk.background))
        self._tabled += len(chunk.background)


def _measured(chunks: list[Chunk]) -> Staying:
    starts = np.cumsum([0, *(len(chunk.background) for chunk in chunks)])
    frame = [
        chunk.found.molecules.frame.cpu().numpy() + start
        for chunk, start in zip(chunks, starts, strict=False)
    ]
    position = [chunk.found.molecules.position.cpu().double().numpy() for chunk in chunks]
    spread = [chunk.found.uncertainty[:, :2].cpu().double().numpy() for chunk in chunks]
    return measure_staying(
        np.concatenate(frame), np.concatenate(position), np.concatenate(spread) ** 2
    )
