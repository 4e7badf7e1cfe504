"""A reconstruction that is ended early, in whatever way, goes on to the same files bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from napari_unfold.files.stacks import as_stack
from napari_unfold.files.unfinished import Unfinished
from napari_unfold.jobs import Checkpoint, Note, run_to_end
from napari_unfold.localization import follow
from napari_unfold.reconstruction import reconstruct as module
from napari_unfold.reconstruction import through_time
from napari_unfold.reconstruction.reconstruct import reconstruct
from napari_unfold.settings.microscope import Background, Optics
from napari_unfold.settings.recipe import Localization, Recipe, Solver
from napari_unfold.simulation.scenes import simulate
from napari_unfold.simulation.simulated_microscope import MICROSCOPE

FRAMES, BATCH = 37, 4


@pytest.fixture(scope="module")
def movie():
    """Molecules that stay on, a dark frame among them."""
    made = simulate(
        "random", frames=FRAMES, shape=(20, 24), density_per_um2=1.5, seed=9, on_frames=5
    )
    frames = made.stack.copy()
    frames[13] = 100
    return frames


@pytest.fixture(autouse=True)
def few_frames_at_a_time(monkeypatch):
    """Let batches, windows and what is measured first be few frames, so that there are many."""
    monkeypatch.setattr(module, "_batch_size", lambda _: BATCH)
    monkeypatch.setattr(through_time, "MEASURED_FRAMES", 19)
    monkeypatch.setattr(follow, "STRIDE", 9)
    monkeypatch.setattr(follow, "LOOKAHEAD", 3)


def recipe(mode="on"):
    return Recipe(
        optics=Optics(psf_sigma_nm=258 / 2.3548),
        camera=MICROSCOPE.camera,
        background=Background(photons=20.0),
        solver=Solver(iterations=15, upsampling=2, molecule_photons=1500.0),
        localization=Localization(follow=mode),
    )


def run(frames, folder: Path, mode, stop_after=None, events=None):
    """Run up to a checkpoint, or to the end; return the result."""
    unfinished = Unfinished(folder / "kept", {"follow": mode})
    job = reconstruct(
        as_stack(frames), recipe(mode), device="cpu", save_frames=folder / "frames.tif",
        unfinished=unfinished,
    )  # fmt: skip
    count = 0
    if stop_after is None:
        return run_to_end(job, events.append if events is not None else None)
    for event in job:
        if events is not None:
            events.append(event)
        count += isinstance(event, Checkpoint)
        if count == stop_after:
            job.close()
            return None
    raise AssertionError("it ended before")


def check_same(one, other, folder, reference):
    np.testing.assert_array_equal(one.image, other.image)
    pd.testing.assert_frame_equal(one.localizations, other.localizations, check_exact=True)
    assert (folder / "frames.tif").read_bytes() == (reference / "frames.tif").read_bytes()
    for record in (one.record, other.record):
        for name in ("finished", "seconds", "resumed"):
            record.pop(name, None)
    assert one.record == other.record


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["off", "auto", "on"])
def test_stopped_after_any_batch(movie, tmp_path, mode, monkeypatch):
    monkeypatch.setattr("napari_unfold.files.unfinished.SHARE", 1e9)
    (tmp_path / "whole").mkdir()
    whole = run(movie, tmp_path / "whole", mode)
    assert ("track" in whole.localizations) == (mode != "off")
    for batches in (2, 4, 5, 8, 9):
        folder = tmp_path / str(batches)
        folder.mkdir()
        run(movie, folder, mode, stop_after=batches)
        events = []
        again = run(movie, folder, mode, events=events)
        assert again.record["resumed"][0]["from_frame"] == BATCH * batches
        notes = [e.text for e in events if isinstance(e, Note)]
        assert any("Going on from frame" in note for note in notes)
        check_same(again, whole, folder, tmp_path / "whole")


@pytest.mark.parametrize("damage", ["cut", "foreign", "tables", "shape"])
def test_what_is_damaged_is_not_used(movie, tmp_path, damage, monkeypatch):
    monkeypatch.setattr("napari_unfold.files.unfinished.SHARE", 1e9)
    run(movie, tmp_path, "off", stop_after=2)
    (state,) = tmp_path.rglob("state.npz")
    (tables,) = tmp_path.rglob("single.tables")
    if damage == "cut":
        state.write_bytes(state.read_bytes()[:-100])
    elif damage == "foreign":
        state.write_bytes(b"text")
    elif damage == "tables":
        content = bytearray(tables.read_bytes())
        content[len(content) // 2] ^= 1
        tables.write_bytes(content)
    else:
        with np.load(state) as file:
            kept = dict(file)
        np.savez(state, **{**kept, ".light": np.zeros((3, 3))})
    events = []
    again = run(movie, tmp_path, "off", events=events)
    assert "resumed" not in again.record
    notes = [e.text for e in events if isinstance(e, Note)]
    assert any("cannot be used" in note and "starting anew" in note for note in notes)


posix = pytest.mark.skipif(sys.platform == "win32", reason="kills processes as POSIX does")

KILLS = int(os.environ.get("UNFOLD_KILLS", "4"))
"""Of each kind, aimed and at random."""

# Forks processes that reconstruct a stack and are killed: before their n-th call of the operating
# system that has to do with files, or after a random time; until one comes to its end. Prints for
# each how often it was killed and what then was in the folder of results.
KILLED = """
import hashlib, json, os, random, shutil, signal, sys, time
from pathlib import Path
from napari_unfold import cli
from napari_unfold.localization import follow
from napari_unfold.reconstruction import reconstruct, through_time

stack, folder, kind, kills = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
reconstruct._batch_size = lambda setup: 4
through_time.MEASURED_FRAMES, follow.STRIDE, follow.LOOKAHEAD = 19, 9, 3
random.seed(5)

def killed_before(call):
    calls = 0
    def watch(event, arguments):
        nonlocal calls
        about_results = any(".napari-unfold" in str(a) for a in arguments[:2])
        if (event == "open" or event.startswith(("os.", "shutil."))) and about_results:
            calls += 1
            if calls == call:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)

def start(call=0):
    process = os.fork()
    if process == 0:
        os.dup2(os.open(folder / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(2, 1)
        if call:
            killed_before(call)
        sys.argv = [
            "napari-unfold", "reconstruct", str(stack), "--out", str(folder / "out"),
            "--preset", "none", "--iterations", "15", "--upsampling", "2", "--background", "20",
            "--molecule-photons", "1500", "--psf-fwhm-nm", "258", "--camera", "emccd",
            "--camera-offset", "100", "--adu-per-photon", "2", "--save-frames", "--device", "cpu",
        ]
        try:
            cli.main()
        except SystemExit as end:
            os._exit(end.code or 0)
        os._exit(99)
    return process

def outcome(process):
    status = os.waitpid(process, 0)[1]
    if status == 0:
        return True
    assert os.WIFSIGNALED(status), (folder / "said.txt").read_text()
    return False

def contents():
    found = {p.name: p for p in (folder / "out").iterdir()}
    record = json.loads(found.pop("run.json").read_text())
    resumed = [one["from_frame"] for one in record.pop("resumed", [])]
    del record["finished"], record["seconds"]
    digests = {name: hashlib.sha256(p.read_bytes()).hexdigest() for name, p in found.items()}
    return {"files": digests, "record": record, "resumed": resumed}

begun = time.monotonic()
assert outcome(start())
taken = time.monotonic() - begun
seen = [{"kills": 0, **contents()}]
done = 0
while done < kills:
    shutil.rmtree(folder / "out")
    killed = 0
    while True:
        if kind == "random":
            process = start()
            if done + killed < kills:
                time.sleep(random.uniform(0, taken))
                os.kill(process, signal.SIGKILL)
        else:
            process = start(1 + (done * 61) % 97 if killed == 0 else 0)
        if outcome(process):
            break
        killed += 1
    done += max(killed, 1)
    seen.append({"kills": killed, **contents()})
print(json.dumps(seen))
"""


@posix
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["aimed", "random"])
def test_killed_at_any_point_the_same_command_ends_with_the_same_files(movie, tmp_path, kind):
    tifffile.imwrite(tmp_path / "movie.tif", movie)
    child = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "movie.tif", tmp_path, kind, str(KILLS)],
        capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert child.returncode == 0, child.stderr[-3000:]
    whole, *others = json.loads(child.stdout.splitlines()[-1])
    assert set(whole["files"]) == {
        "frames.tif", "localizations.csv", "molecules.csv", "reconstruction.png",
        "reconstruction.tif",
    }  # fmt: skip
    kills = sum(one["kills"] for one in others)
    resumed = sum(bool(one["resumed"]) for one in others)
    told = f"{kind}: {kills} kills, {len(others)} runs that then ended, {resumed} of them resumed"
    print(told)  # noqa: T201 (the numbers of a long run, with -s)
    assert kills > 0
    for one in others:
        assert one["files"] == whole["files"]
        assert one["record"] == whole["record"]
