"""The frames that are done, from which there is a result at any time."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_unfold.estimation.bad_frames import FrameCheck
from napari_unfold.estimation.observe import MoleculeObservation
from napari_unfold.files.presets import Preset
from napari_unfold.files.stacks import Stack
from napari_unfold.imaging.psf import psf_image
from napari_unfold.jobs import Job, Note, Stage, translated
from napari_unfold.localization.fit_quality import FitQuality
from napari_unfold.localization.follow import Chunk
from napari_unfold.localization.localizer import Localizations
from napari_unfold.localization.profiles import spot_image
from napari_unfold.reconstruction.prepare import Setup
from napari_unfold.reconstruction.result import Reconstruction
from napari_unfold.reconstruction.through_time import ThroughTime, ThroughTimeState
from napari_unfold.reconstruction.verdict import verdict
from napari_unfold.settings.microscope import Optics
from napari_unfold.settings.recipe import Recipe

T = TypeVar("T")


@dataclass(frozen=True)
class SoFarState:
    """What `SoFar` knows between two batches, except frames and tables.

    Attributes
    ----------
    starts : array (B + 1,)
        First frames of all batches, and how many frames are done.
    seconds : float
        Spent so far.
    light : array (qY, qX)
    quality : FitQuality
    collected : ThroughTimeState
    """

    starts: NDArray[np.int64]
    seconds: float
    light: NDArray[np.float64]
    quality: FitQuality
    collected: ThroughTimeState


@dataclass
class SoFar:
    """Collects what batches of frames tell.

    A run may be stopped anywhere; `finish` then takes up what was left half-done.

    Attributes
    ----------
    stack : Stack
    given : Recipe
        As the user gave it.
    preset : Preset, optional
    setup : Setup
    check : FrameCheck
    told : list of str
        Notes of the run.
    started : float
        By `time.monotonic`.
    resumed : list of dict
        From which frames on earlier runs were gone on with, for the record.
    """

    stack: Stack
    given: Recipe
    preset: Preset | None
    setup: Setup
    check: FrameCheck
    told: list[str]
    started: float
    resumed: list[dict[str, Any]] = field(default_factory=list)
    _quality: FitQuality = field(default_factory=FitQuality)

    def __post_init__(self) -> None:
        self._starts = [0]
        self._light = np.zeros(self.setup.grid.fine_shape, dtype=np.float64)
        self._collected = ThroughTime(self.setup.localizer, self.setup.recipe.localization.follow)
        self._unfinished: Generator[float, None, Any] | None = None

    @property
    def done(self) -> int:
        """Frames of those that are used."""
        return self._starts[-1]

    @property
    def batch(self) -> int | None:
        """Frames of the last batch."""
        return self._starts[-1] - self._starts[-2] if self.done else None

    @property
    def state(self) -> SoFarState:
        """What is known now, to be gone on with by `restore`."""
        return SoFarState(
            np.array(self._starts), time.monotonic() - self.started, self._light, self._quality,
            self._collected.state,
        )  # fmt: skip

    @property
    def tables(self) -> dict[str, list[pd.DataFrame]]:
        """What is known of frames that are no longer needed; only gets longer."""
        return self._collected.tables

    def restore(
        self,
        state: SoFarState,
        tables: Mapping[str, Sequence[pd.DataFrame]],
        chunk: Callable[[int, int, Localizations], Chunk],
    ) -> None:
        """Go on from a state.

        Parameters
        ----------
        state : SoFarState
        tables : mapping
            Those that belong to it.
        chunk : callable
            Gives the chunk of the frames from one up to another, for what was found in them.
        """
        self._starts = state.starts.tolist()
        self.started -= state.seconds
        self._light, self._quality = state.light, state.quality

        def last(found: Sequence[Localizations]) -> list[Chunk]:
            starts = self._starts[len(self._starts) - 1 - len(found) :]
            spans = zip(pairwise(starts), found, strict=True)
            return [chunk(first, stop, of_chunk) for (first, stop), of_chunk in spans]

        self._collected.restore(state.collected, tables, last)

    @property
    def image(self) -> NDArray[np.float32]:
        """Mean over the frames."""
        return np.asarray(self._light / self.done, dtype=np.float32)

    def add(self, x: NDArray[np.float32], chunk: Chunk) -> Job[None]:
        """Take in the next frames."""
        for image in x:  # a sum in double precision of all at once would need a copy
            self._light += image
        self._quality += chunk.found.quality
        self._starts.append(self.done + len(x))
        self._unfinished = self._collected.push(chunk)
        yield from translated(_without_closing(self._unfinished), _silent)
        self._unfinished = None

    def finish(self) -> Job[Reconstruction]:
        """Return the result of the frames that are done."""
        frames = len(self.check.kept)
        if self.done < frames:
            yield Stage(f"Keeping the {self.done} finished frames")
            self.told.append(f"Ended early, after {self.done} of {frames} frames")
            yield Note(self.told[-1])
        elif self._collected.is_following:
            yield Stage("Following molecules through the last frames")
        table = yield from translated(self._end(), _silent)
        table["frame"] = self.check.kept[table["frame"]]
        first, last = self.check.span[0], int(self.check.kept[self.done - 1]) + 1
        span = self.check.span if self.done == frames else (first, last)
        left_out = {t: reason for t, reason in self.check.left_out.items() if t < span[1]}
        if self._collected.note:
            self.told.append(self._collected.note)
            yield Note(self._collected.note)
        gaussian = self.given.optics.psf_image is None
        judged = verdict(self._quality, self.done, len(left_out), gaussian)
        self.told.append(judged.summary)
        yield Note(judged.summary)
        seconds = time.monotonic() - self.started
        record = self.setup.record(self.stack, self.preset, len(table), seconds)
        seen = self.setup.seen
        return Reconstruction(
            image=self.image,
            localizations=table,
            background=seen.background,
            psf=image_of_psf(seen, self.setup.grid.upsampling),
            molecule_photons=seen.molecule_photons,
            pixel_size_nm=self.given.optics.pixel_size_nm,
            upsampling=self.setup.grid.upsampling,
            recipe=self.setup.recipe,
            record={
                **record,
                "psf": {**record["psf"], "source": psf_source(seen, self.given.optics)},
                "given": self.given.model_dump(mode="json"),
                "stack": {**record["stack"], "frames": list(span)},
                "frames_asked": list(self.check.span),
                **({"resumed": self.resumed} if self.resumed else {}),
                "frames_left_out": {str(t): reason for t, reason in left_out.items()},
                "verdict": judged.record(),
            },
        )

    def _end(self) -> Generator[float, None, pd.DataFrame]:
        if self._unfinished is not None:
            yield from _without_closing(self._unfinished)
        self._unfinished = self._collected.finish()
        table: pd.DataFrame = yield from _without_closing(self._unfinished)
        return table


def image_of_psf(seen: MoleculeObservation, upsampling: int) -> NDArray[np.float32]:
    """Return the PSF that was used, on the fine grid; one measured on spots as pixels see it."""
    return spot_image(seen.spot, upsampling) if seen.refined else psf_image(seen.psf, upsampling)


def psf_source(seen: MoleculeObservation, given: Optics) -> str:
    """Say where the PSF that was used is from."""
    if seen.refined:
        return "measured on lone spots"
    if given.psf_image is not None:
        return "image of a bead"
    return "from the data" if given.psf_sigma_nm is None else "as entered"


def _without_closing(generator: Generator[float, None, T]) -> Generator[float, None, T]:
    """Run a generator, and leave it as it is when stopped, so that it can go on."""
    while True:
        try:
            share = next(generator)
        except StopIteration as end:
            result: T = end.value
            return result
        yield share


def _silent(share: float) -> None:
    """Say nothing of the share of the work that is done; the caller may stop here."""
