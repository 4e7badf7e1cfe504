"""A job in the background ends exactly once, and every error reaches the main thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch
from pytestqt.qtbot import QtBot

from napari_unfold.errors import InputError, OutOfMemoryError, UnfoldError
from napari_unfold.jobs import Job, Note
from napari_unfold.plugin.running.runner import JobRunner, Outcome

from . import results


@pytest.fixture
def runner(qtbot: QtBot) -> Iterator[JobRunner]:
    runner = JobRunner()
    yield runner
    runner.cancel()
    qtbot.waitUntil(lambda: runner.state == "idle")


def outcome_of(runner: JobRunner, job: Job[object], qtbot: QtBot) -> Outcome:
    with qtbot.waitSignal(runner.ended) as ended:
        runner.start(job)
    return ended.args[0]


def endless(release: threading.Event) -> Job[object]:
    try:
        while True:
            time.sleep(0.01)
            yield Note("still here")
    finally:
        release.set()


def test_events_and_result_arrive(runner: JobRunner, qtbot: QtBot) -> None:
    def job() -> Job[object]:
        yield Note("one")
        return 42

    events = []
    runner.event.connect(events.append)
    assert outcome_of(runner, job(), qtbot) == Outcome("done", 42)
    assert events == [Note("one")]
    assert runner.state == "idle"


def test_cancel_runs_the_finally_blocks_of_the_job(runner: JobRunner, qtbot: QtBot) -> None:
    released = threading.Event()
    with qtbot.waitSignal(runner.event):
        runner.start(endless(released))
    with qtbot.waitSignal(runner.ended) as ended:
        runner.cancel()
        assert runner.state == "cancelling"
    assert ended.args[0].kind == "cancelled"
    assert released.is_set()


def test_a_second_job_is_refused(runner: JobRunner, qtbot: QtBot) -> None:
    runner.start(endless(threading.Event()))
    with pytest.raises(UnfoldError, match="still running"):
        runner.start(endless(threading.Event()))


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (InputError("the PSF is wrong", field="optics.psf_sigma_nm"), InputError, "PSF"),
        (ValueError("odd"), UnfoldError, "odd"),
        # these two are RuntimeErrors, which napari's worker would swallow
        (RuntimeError("shapes differ"), UnfoldError, "shapes differ"),
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemoryError, "does not fit"),
        (MemoryError(), OutOfMemoryError, "does not fit"),
    ],
)
def test_every_error_reaches_the_main_thread(
    runner: JobRunner, qtbot: QtBot, error: Exception, kind: type, text: str
) -> None:
    released = threading.Event()

    def job() -> Job[object]:
        try:
            yield Note("so far, so good")
            raise error
        finally:
            released.set()

    outcome = outcome_of(runner, job(), qtbot)
    assert outcome.kind == "failed"
    assert isinstance(outcome.error, kind)
    assert text in str(outcome.error)
    assert released.is_set()


def test_a_failed_job_does_not_hinder_the_next(runner: JobRunner, qtbot: QtBot) -> None:
    def failing() -> Job[object]:
        yield Note("")
        raise RuntimeError("no")

    def working() -> Job[object]:
        yield Note("")
        return "yes"

    assert outcome_of(runner, failing(), qtbot).kind == "failed"
    assert outcome_of(runner, working(), qtbot).value == "yes"


def test_a_job_stops_with_the_widget_it_belongs_to(qtbot: QtBot) -> None:
    released = threading.Event()
    runner = JobRunner()
    with qtbot.waitSignal(runner.event):
        runner.start(endless(released))
    runner.deleteLater()
    del runner
    qtbot.waitUntil(released.is_set)


def test_napari_knows_the_job_by_its_name_when_the_window_closes(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer()
    runner = JobRunner(title="Unfold: reconstruct")
    runner.start(results.endless()())
    told = viewer.window._task_status_manager.get_status
    qtbot.waitUntil(lambda: any("Executing Unfold: reconstruct" in text for text in told()))
    with qtbot.waitSignal(runner.ended):
        runner.cancel()
