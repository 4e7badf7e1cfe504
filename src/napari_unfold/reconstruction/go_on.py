"""A reconstruction that was ended early goes on from the last batch of frames that was kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_unfold.files.images import FrameWriter, frames_in
from napari_unfold.files.packed import packed, unpacked
from napari_unfold.files.unfinished import State, Tables, Unfinished
from napari_unfold.jobs import Job, Note
from napari_unfold.localization.follow import Chunk
from napari_unfold.localization.localizer import Localizations
from napari_unfold.reconstruction.batch import Batch
from napari_unfold.reconstruction.look import Look
from napari_unfold.reconstruction.so_far import SoFar, SoFarState


class Keeper:
    """Keeps what a reconstruction has done, and gives it back to the next run.

    Parameters
    ----------
    unfinished : Unfinished, optional
        Where; without it nothing is kept.
    so_far : SoFar
    """

    def __init__(self, unfinished: Unfinished | None, so_far: SoFar) -> None:
        self._unfinished, self._so_far = unfinished, so_far
        self._frames = (0, 0)  # where those of the earlier run begin, and their number

    def go_on(self, known: Look) -> Job[None]:
        """Take up what an earlier run kept."""
        if self._unfinished is None:
            return
        try:
            kept = self._unfinished.load()
            if kept is None:
                return
            state, tables = kept
            read = self._read(state, len(known.usable))
        except (KeyError, ValueError) as error:
            self._unfinished.remove()
            yield Note(f"What an earlier run has kept cannot be used ({error}): starting anew")
            return
        self._take_up(known, read, state, tables)
        yield Note(
            f"Going on from frame {self._so_far.done} of {len(known.usable)}, where an earlier run "
            "of this command ended"
        )

    def frame_writer(self, path: Path) -> FrameWriter:
        """Return what writes reconstructed frames, to where they are kept."""
        fine_nm = self._so_far.setup.grid.fine_pixel_nm
        if self._unfinished is None:
            return FrameWriter(path, fine_nm)
        here, earlier = self._frame_files()
        if self._frames[1] and not earlier.exists():  # else a run was ended while it repeated them
            here.replace(earlier)
        return FrameWriter(path, fine_nm, here)

    def repeat_frames(self, out: FrameWriter) -> None:
        """Write the frames that an earlier run has reconstructed."""
        if self._unfinished is None or not self._frames[1]:
            return
        _, earlier = self._frame_files()
        for frame in frames_in(earlier, *self._frames, self._so_far.setup.grid.fine_shape):
            out.write(frame[None])
        out.flush()
        earlier.unlink()

    def keep(self, out: FrameWriter | None) -> Job[None]:
        """Keep what is done by now, unless this was done a moment ago."""
        if self._unfinished is None or not self._unfinished.is_due:
            return
        try:
            frames = out.flush() if out else (0, 0)
            state: dict[str, NDArray[Any]] = {
                **packed(self._so_far.state),
                "done": np.array(self._so_far.done),
                "device": np.array(str(self._so_far.setup.device)),
                "frames": np.array(frames),
            }
            self._unfinished.keep(state, self._so_far.tables)
        except OSError as error:
            self._unfinished = None
            yield Note(
                f"What is done cannot be kept from here on ({error.strerror or error}): "
                "if this run is ended early, frames from here on are computed again"
            )

    def _read(self, state: State, total: int) -> SoFarState:
        read = unpacked(SoFarState, state, self._so_far.setup.device)
        if read.light.shape != self._so_far.setup.grid.fine_shape or read.starts[-1] > total:
            raise ValueError("it is of another stack")
        first, count = (int(n) for n in state["frames"])
        files = [path for path in self._frame_files() if path.exists()]
        if count and (not files or files[-1].stat().st_size < first + count * read.light.size * 4):
            raise ValueError("reconstructed frames are missing")
        self._frames = first, count
        return read

    def _frame_files(self) -> tuple[Path, Path]:
        """Where frames are written, and where those of an earlier run are meanwhile."""
        assert self._unfinished is not None
        return self._unfinished.folder / "frames.tif", self._unfinished.folder / "earlier.tif"

    def _take_up(self, known: Look, read: SoFarState, state: State, tables: Tables) -> None:
        setup = self._so_far.setup

        def chunk(start: int, stop: int, found: Localizations) -> Chunk:
            return Batch.read(known, setup, start, stop).chunk(setup, found)

        self._so_far.restore(read, tables, chunk)
        self._so_far.resumed.append(
            {"from_frame": self._so_far.done, "earlier_device": str(state["device"])}
        )
