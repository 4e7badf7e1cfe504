"""All stacks of a folder, computed by another process while the window goes on."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile

from napari_unfold.errors import UnfoldError
from napari_unfold.files.records import read_record, repeat_of
from napari_unfold.jobs import Checkpoint, Note, Progress, Stage, run_to_end
from napari_unfold.plugin.docks.reconstruct import ReconstructWidget
from napari_unfold.plugin.forms import folder_run
from napari_unfold.plugin.running.program import Program

DOCK = ReconstructWidget

FILES = ["/n/cell 1.tif", "/n/cell 2.tif", "/n/cell 3.tif"]


def entry(file: str, outcome: str, **told: object) -> dict[str, object]:
    usual = {"folder": "/r", "localizations": None, "verdict": "", "error": ""}
    return {"event": "result", "text": "", "file": file, "outcome": outcome, **usual, **told}


TOLD = [
    {"event": "result", "text": "3 stacks", "files": FILES},
    {"event": "stage", "text": "cell 1.tif (1 of 3): reconstructing"},
    {"event": "progress", "done": 1.0, "total": 2.0},
    entry(FILES[0], "done", localizations=1234, verdict="The model explains the frames"),
    entry(FILES[1], "failed", error="'cell 2.tif' is not a TIFF file."),
]


def speaking(lines: list[object], then: str = "") -> list[str]:
    """Return a program that says these lines, and does something then."""
    said = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return [
        sys.executable,
        "-c",
        f"import sys, time\nprint(*{said!r}, sep='\\n', flush=True)\n{then}",
    ]


def rows(window: folder_run.FolderRunWindow) -> list[list[str]]:
    items = [window.list.topLevelItem(i) for i in range(window.list.topLevelItemCount())]
    return [[item.text(column) for column in range(4)] for item in items]


def test_a_program_tells_of_its_job_in_events() -> None:
    note = {"event": "note", "text": "halved"}
    events: list[object] = []
    command = speaking(["in words", *TOLD, note], "sys.exit(1)")
    assert run_to_end(Program().job(command), events.append) == 1
    told = [event for event in events if isinstance(event, Stage | Progress | Checkpoint | Note)]
    assert told == [
        Checkpoint(TOLD[0]), Stage("cell 1.tif (1 of 3): reconstructing"), Progress(1.0, 2.0),
        Checkpoint(TOLD[3]), Checkpoint(TOLD[4]), Note("halved"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("then", "sentence"),
    [
        (
            "print('Error: the disk is full. Free some space.'); sys.exit(2)",
            "the disk is full. Free some",
        ),
        ("sys.exit(3)", "has ended with status 3"),
        ("raise ValueError('odd')", r"status 1 \(.*odd\)"),
    ],
)
def test_a_program_that_fails_says_why(then: str, sentence: str) -> None:
    with pytest.raises(UnfoldError, match=sentence):
        run_to_end(Program().job(speaking([], then)))


def test_a_program_ends_with_its_job_and_the_next_one_waits_for_that() -> None:
    others, program = psutil.Process().children(), Program()
    job = program.job(speaking([TOLD[0]], "time.sleep(1000)"))
    while not isinstance(next(job), Checkpoint):
        pass
    mine = [child for child in psutil.Process().children() if child not in others]
    assert mine
    job.close()
    assert run_to_end(program.job(speaking([]))) == 0
    assert not [child for child in mine if child.is_running()]


@pytest.fixture
def window(widget, tmp_path: Path, qtbot) -> folder_run.FolderRunWindow:
    """Return the window of the dock, with both folders chosen."""
    window = widget.folder_run
    window.folder_edit.set_value(tmp_path / "night")
    window.out_edit.set_value(tmp_path / "out")
    yield window
    window.runner.cancel()
    qtbot.waitUntil(lambda: window.runner.state == "idle")


@pytest.fixture
def run_program(window, monkeypatch):
    """Run another program in the place of the command line; return how that was called."""

    def replace(command: list[str]) -> list[list[str]]:
        calls: list[list[str]] = []
        job = window._program.job
        monkeypatch.setattr(window._program, "job", lambda real: calls.append(real) or job(command))
        return calls

    return replace


def test_each_stack_is_listed_with_what_became_of_it(window, run_program, qtbot) -> None:
    last = entry(FILES[2], "done earlier", localizations=7, verdict="Mind the density")
    end = {"event": "result", "text": "2 of 3 stacks are done", "failed": ["cell 2.tif"]}
    run_program(speaking([*TOLD, last, end], "sys.exit(1)"))
    with qtbot.waitSignal(window.runner.ended, timeout=60_000):
        window.panel.run_button.click()
    assert rows(window) == [
        ["cell 1.tif", "done", "1,234", "The model explains the frames"],
        ["cell 2.tif", "failed", "", "'cell 2.tif' is not a TIFF file."],
        ["cell 3.tif", "done earlier", "7", "Mind the density"],
    ]
    assert window.panel.summary.text() == "2 of 3 stacks are done"
    assert window.panel.run_button.isEnabled()


def test_cancel_keeps_the_list(window, run_program, qtbot) -> None:
    run_program(speaking(TOLD, "time.sleep(1000)"))
    window.panel.run_button.click()
    qtbot.waitUntil(
        lambda: len(rows(window)) == 3 and rows(window)[1][1] == "failed", timeout=60_000
    )
    assert rows(window)[2][1] == "running…"
    with qtbot.waitSignal(window.runner.ended, timeout=60_000):
        window.panel.cancel_button.click()
    assert [row[1] for row in rows(window)] == ["done", "failed", "interrupted"]
    assert "What is finished is kept" in window.panel.summary.text()


def test_the_settings_of_the_form_are_those_of_all_stacks(
    widget, window, run_program, tmp_path: Path, qtbot
) -> None:
    calls = run_program(speaking([]))
    window.pixel_box.setChecked(True)
    with qtbot.waitSignal(window.runner.ended, timeout=60_000):
        window.run()
    ((*_, command, folder, out, out_folder, recipe, record, _, _, _, _, size),) = calls
    assert (command, out, recipe, size) == ("batch", "--out", "--recipe", "100.0")
    assert (folder, out_folder) == (str(tmp_path / "night"), str(tmp_path / "out"))
    earlier = repeat_of(read_record(Path(record)), record)
    assert earlier.recipe == widget.value()
    assert earlier.preset == widget.form.preset().name


def test_what_is_missing_is_said(widget, window) -> None:
    window.out_edit.set_value(None)
    window.run()
    assert window.panel.error.text().startswith("The folder of the results is missing")
    assert window.runner.state == "idle"


@pytest.mark.slow
def test_a_folder_is_reconstructed(widget, window, tmp_path: Path, qtbot) -> None:
    (tmp_path / "night").mkdir()
    frames = np.random.default_rng(1).poisson(20, (3, 12, 12)).astype(np.uint16) + 100
    tifffile.imwrite(tmp_path / "night" / "cell 1.tif", frames, photometric="minisblack")
    (tmp_path / "night" / "cell 2.tif").write_bytes(b"damaged")
    with qtbot.waitSignal(window.runner.ended, timeout=600_000):
        window.run()
    assert [row[:2] for row in rows(window)] == [["cell 1.tif", "done"], ["cell 2.tif", "failed"]]
    with (tmp_path / "out" / "batch.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [row["outcome"] for row in csv.DictReader(file)] == ["done", "failed"]
    assert (tmp_path / "out" / "cell 1" / "localizations.csv").is_file()
