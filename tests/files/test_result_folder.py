"""A folder holds the old set of results or the new one, whatever ends the run that writes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_unfold.errors import InputError
from napari_unfold.files.result_folder import ResultFolder, keep_apart
from napari_unfold.files.results import save_set

OLD = {"image.tif": "old", "table.csv": "old", "frames.tif": "old"}
NEW = {"image.tif": "new", "table.csv": "new", "extra.tif": "new"}
posix = pytest.mark.skipif(sys.platform == "win32", reason="kills processes as POSIX does")

# Forks a process for each point, which replaces OLD by NEW and is killed there: before its n-th
# call of the operating system, or after a random time. Prints what is then to be seen.
KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path
from napari_unfold.files.result_folder import ResultFolder
from napari_unfold.files.results import save_set

folder, points, old, new = Path(sys.argv[1]), *map(json.loads, sys.argv[2:])

def save(files):
    def write(text):
        return lambda path: path.write_text(text)
    save_set(folder, {name: write(text) for name, text in files.items()}, {"set": files})

def visible():
    names = sorted(p.name for p in folder.iterdir() if p.name[0] != "." and p.exists())
    return {name: (folder / name).read_text() for name in names}

def killed_before(call):
    calls = 0
    def watch(event, _):
        nonlocal calls
        if event == "open" or event.startswith(("os.", "shutil.", "fcntl.")):
            calls += 1
            if calls == call:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)

save(old)
begun = time.monotonic()
if os.fork() == 0:
    save(new)
    os._exit(0)
os.wait()
taken = time.monotonic() - begun

seen = []
for point in points:
    save(old)
    process = os.fork()
    if process == 0:
        if point > 0:
            killed_before(point)
        save(new)
        os._exit(0)
    if point <= 0:
        time.sleep(random.uniform(0, 1.2 * taken))
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    after = visible()
    try:
        with ResultFolder(folder):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    hidden = [p.name for p in folder.iterdir() if p.name[0] == "."]
    seen.append({"killed": status != 0, "after": after, "tidied": visible(), "hidden": hidden})
print(json.dumps(seen))
"""


def killed_at(folder: Path, points: list[int]) -> list[dict]:
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), *map(json.dumps, (points, OLD, NEW))],
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def check_consistent(seen: list[dict]) -> None:
    for one in seen:
        for state in (one["after"], one["tidied"]):
            record = json.loads(state.pop("run.json"))
            assert state in (OLD, NEW)
            assert record["set"] == state
        assert one["after"] == one["tidied"]
        assert one["hidden"] == []


@posix
@pytest.mark.slow
def test_killed_before_any_call_of_the_operating_system_one_set_is_there(tmp_path: Path) -> None:
    seen = killed_at(tmp_path, list(range(1, 121)))
    check_consistent(seen)
    kills = sum(one["killed"] for one in seen)
    assert 40 < kills < 120  # so that every call had its turn
    assert [one["killed"] for one in seen] == [True] * kills + [False] * (120 - kills)
    states = [one["after"] == NEW for one in seen]
    assert states == sorted(states)  # old up to one moment, new from there on
    assert not states[0]


@posix
@pytest.mark.slow
def test_killed_at_any_time_one_set_is_there(tmp_path: Path) -> None:
    seen = killed_at(tmp_path, [0] * 200)
    check_consistent(seen)
    assert sum(one["killed"] for one in seen) > 50


def write(text: str):
    return lambda path: path.write_text(text)


def fill(folder: Path, files: dict[str, str]) -> None:
    save_set(folder, {name: write(text) for name, text in files.items()}, {})


def contents(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in folder.iterdir() if p.name != "run.json"}


def test_a_new_set_takes_the_place_of_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "more").mkdir()
    fill(tmp_path, OLD)
    fill(tmp_path, NEW)
    assert (tmp_path / "more").rmdir() is None
    assert contents(tmp_path) == {**NEW, "notes.txt": "mine"}
    assert not any(p.is_symlink() for p in tmp_path.iterdir())
    listed = json.loads((tmp_path / "run.json").read_text())["files"]
    assert sorted(listed) == sorted([*NEW, "run.json"])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_a_run_that_ends_early_leaves_the_old_set(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def run() -> None:
        with ResultFolder(tmp_path) as folder:
            folder.file("image.tif").write_text("half")
            raise error

    fill(tmp_path, OLD)
    with pytest.raises(error):
        run()
    assert contents(tmp_path) == OLD


def test_where_there_are_no_links_the_set_is_replaced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "not supported")

    fill(tmp_path, OLD)
    for function in ("hardlink_to", "symlink_to"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, function, refuse)
            fill(tmp_path, NEW)
            assert contents(tmp_path) == NEW
            fill(tmp_path, OLD)
            assert contents(tmp_path) == OLD


def test_a_second_run_into_the_folder_is_refused(tmp_path: Path) -> None:
    with ResultFolder(tmp_path) as first:
        first.file("image.tif").write_text("first")
        with pytest.raises(InputError, match=rf"another run .*process {os.getpid()}.*Wait"):
            fill(tmp_path, NEW)
    assert contents(tmp_path) == {"image.tif": "first"}


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".napari-unfold.lock").write_text(f"{os.getpid()}\n")
    fill(tmp_path, NEW)
    assert contents(tmp_path) == NEW


def test_a_lock_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / ".napari-unfold.lock").mkdir()
    with pytest.raises(InputError, match=r"cannot write '.*\.napari-unfold\.lock'"):
        fill(tmp_path, NEW)


@pytest.mark.parametrize("record", ["", "[" * 100_000, '{"files": 3}', '{"files": ["../a.txt"]}'])
def test_a_record_that_is_no_record_removes_nothing(tmp_path: Path, record: str) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (tmp_path / "a.txt").write_text("mine")
    (folder / "run.json").write_text(record)
    fill(folder, NEW)
    assert (tmp_path / "a.txt").read_text() == "mine"


def test_a_full_disk_leaves_the_old_set(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    fill(tmp_path, OLD)
    with pytest.raises(InputError, match="the disk is full"):
        save_set(tmp_path, {"image.tif": write("new"), "table.csv": full})
    assert contents(tmp_path) == OLD


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "image.tif").mkdir()
    with pytest.raises(InputError, match=r"image\.tif.*is a folder"):
        fill(tmp_path, NEW)


def test_what_is_read_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("frames")
    (tmp_path / "link.tif").symlink_to("a.tif")
    keep_apart([tmp_path / "a.tif", None], [tmp_path / "b.tif", None])
    for other in ("a.tif", "link.tif", "../" + tmp_path.name + "/a.tif"):
        with pytest.raises(InputError, match="is read and would be overwritten"):
            keep_apart([tmp_path / "a.tif"], [tmp_path / other])
    with pytest.raises(InputError, match="would be written into"):
        keep_apart([tmp_path], [tmp_path / "new.tif"])
    with pytest.raises(InputError, match="named twice"):
        keep_apart([], [tmp_path / "c.csv", tmp_path / "d.csv", tmp_path / "c.csv"])
