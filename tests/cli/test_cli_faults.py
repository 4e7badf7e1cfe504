"""What may happen in the middle of a run: one sentence, earlier results as they were, nothing lost.

| fault | outcome |
|---|---|
| memory is short | batches are halved; a single frame that is too large is refused |
| the GPU fails | one sentence; the finished frames are kept |
| the disk is full, permission is lost | one sentence; the finished frames are kept |
| they cannot be kept | a note; the run goes on |
| an error of ours, of any class | its traceback; the finished frames are kept |
| the settings or the stack differ | a note; nothing is gone on with, nothing is thrown away |
"""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_unfold.cli import main
from napari_unfold.files.images import FrameWriter
from napari_unfold.files.result_folder import ResultFolder
from napari_unfold.files.unfinished import Unfinished
from napari_unfold.reconstruction import reconstruct as module
from napari_unfold.simulation.scenes import simulate

SETTINGS = (
    "--camera", "emccd", "--camera-offset", "100", "--adu-per-photon", "2", "--psf-fwhm-nm", "258",
    "--preset", "none", "--iterations", "10", "--upsampling", "2", "--background", "20",
    "--molecule-photons", "1500", "--device", "cpu", "--save-frames",
)  # fmt: skip
NAMES = ("reconstruction.tif", "reconstruction.png", "localizations.csv", "frames.tif")


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("faults") / "cells.tif"
    made = simulate("random", frames=4, shape=(16, 16), seed=3)
    tifffile.imwrite(path, made.stack, photometric="minisblack")
    return path


@pytest.fixture
def run(monkeypatch, capsys, stack, tmp_path):
    """Return a function that reconstructs frame by frame; returns its status and what it said."""
    monkeypatch.setattr(module, "_batch_size", lambda _: 1)
    monkeypatch.setattr("napari_unfold.files.unfinished.SHARE", 1e9)

    def run(*options: str, status: int = 0, out: str = "out") -> str:
        arguments = ["reconstruct", stack, *SETTINGS, "--out", tmp_path / out, *options]
        monkeypatch.setattr(sys, "argv", ["napari-unfold", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        assert (stop.value.code or 0) == status
        return capsys.readouterr().err

    return run


def failing_in_frame(number: int, error: BaseException, monkeypatch) -> None:
    """Let the unfolding of one frame fail."""
    original = module.unfold_batch

    def unfold_batch(known, setup, start, stop, *region):
        if start == number:
            raise error
        return (yield from original(known, setup, start, stop, *region))

    monkeypatch.setattr(module, "unfold_batch", unfold_batch)


def results(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in NAMES}


def test_the_same_command_goes_on_after_a_failure_and_gives_the_same_files(
    run, monkeypatch, tmp_path
):
    run(out="whole")
    lost = RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be")
    with monkeypatch.context() as patch:
        failing_in_frame(2, lost, patch)
        told = run(status=2).splitlines()
    assert told[-1] == (
        "Error: the GPU failed in the middle of the computation (CUDA error: device-side assert "
        "triggered). Start napari-unfold again; if it fails again, compute on the CPU. "
        "(option --device)"
    )
    assert "2 frames are finished and kept: the same command goes on there." in told[-2]
    assert [p.name for p in (tmp_path / "out").iterdir()] == [".napari-unfold-unfinished"]
    assert "Going on from frame 2 of 4" in run()
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    assert json.loads((tmp_path / "out" / "run.json").read_text())["resumed"] == [
        {"from_frame": 2, "earlier_device": "cpu"}
    ]
    assert not list((tmp_path / "out").glob(".*"))


def test_nothing_is_gone_on_with_that_was_made_otherwise_or_is_not_wanted(
    run, monkeypatch, stack, tmp_path
):
    with monkeypatch.context() as patch:
        failing_in_frame(3, ValueError("odd"), patch)
        with pytest.raises(ValueError, match="odd"):
            run()
        for changed in ("--background=21", "--iterations=11", "--frames=0:4"):
            with pytest.raises(ValueError, match="odd"):
                run(changed)
    kept = tmp_path / "out" / ".napari-unfold-unfinished"
    assert len(list(kept.iterdir())) == 3 + 1
    before = stack.stat().st_mtime_ns
    stack.touch()
    with monkeypatch.context() as patch:
        failing_in_frame(0, ValueError("odd"), patch)
        with pytest.raises(ValueError, match="odd"):
            run()
    assert len(list(kept.iterdir())) == 4  # the changed stack has nothing that is kept
    os.utime(stack, ns=(before, before))
    assert "Going on from frame 3 of 4" in run()
    assert not kept.exists()


def test_from_the_first_frame_if_that_is_asked_for(run, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        failing_in_frame(2, ValueError("odd"), patch)
        with pytest.raises(ValueError, match="odd"):
            run()
    assert "Going on" not in run("--anew")
    assert "resumed" not in json.loads((tmp_path / "out" / "run.json").read_text())


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"), OSError(5, "Input/output error", "elsewhere"), AssertionError(),
        ZeroDivisionError(), RecursionError(), StopIteration(), RuntimeError("shapes differ"),
        NotImplementedError("no kernel"), np.linalg.LinAlgError("singular"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), SystemError("odd"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_whatever_fails_the_finished_frames_are_kept(run, monkeypatch, tmp_path, error):
    failing_in_frame(2, error, monkeypatch)
    with pytest.raises((type(error), RuntimeError)):
        run()
    (kept,) = (tmp_path / "out" / ".napari-unfold-unfinished").iterdir()
    with np.load(kept / "state.npz") as state:
        assert state["done"] == 2


@pytest.mark.parametrize(
    ("number", "told"),
    [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "writing is not permitted there")],
)
def test_frames_that_cannot_be_written_any_more(run, monkeypatch, tmp_path, number, told):
    write = FrameWriter.write

    def failing(self, frames):
        if self._count == 2:
            raise OSError(number, "")
        write(self, frames)

    with monkeypatch.context() as patch:
        patch.setattr(FrameWriter, "write", failing)
        said = run(status=2)
    assert said.splitlines()[-1].startswith("Error: cannot write")
    assert told in said
    assert "2 frames are finished and kept" in said
    assert "Going on from frame 2" in run()


def test_permission_that_is_lost_before_the_results_are_written(run, monkeypatch, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "localizations.csv").write_text("earlier")

    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(ResultFolder, "_publish", refuse)
        assert "writing is not permitted there" in run(status=2)
    assert (tmp_path / "out" / "localizations.csv").read_text() == "earlier"
    assert "Going on from frame 4 of 4" in run()


def test_what_is_done_cannot_be_kept(run, monkeypatch, tmp_path):
    keep = Unfinished.keep

    def failing(self, state, tables):
        if state["done"] == 2:
            raise PermissionError(errno.EACCES, "Permission denied")
        keep(self, state, tables)

    monkeypatch.setattr(Unfinished, "keep", failing)
    said = run()
    assert said.count("What is done cannot be kept from here on (Permission denied)") == 1
    assert (tmp_path / "out" / "localizations.csv").is_file()


def test_a_frame_for_which_memory_is_short(run, monkeypatch):
    failing_in_frame(1, MemoryError(), monkeypatch)
    assert "does not fit into the memory of the computer" in run(status=2)


def test_memory_that_is_short_elsewhere(run, monkeypatch):
    def look(*_):
        yield from ()
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8")

    monkeypatch.setattr(module, "look", look)
    assert run(status=2).startswith("Error: the computation does not fit into memory. Close")
