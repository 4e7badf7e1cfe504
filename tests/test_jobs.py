"""A job yields events and returns its result, whoever drives it."""

from __future__ import annotations

import pytest

from napari_unfold import jobs
from napari_unfold.jobs import Job, Note, Progress, Throttle, run_to_end, translated


def counting(closed: list[str]) -> Job[int]:
    try:
        for done in range(3):
            yield Progress(done, 3)
    finally:
        closed.append("counting")
    return 42


def test_running_a_job_to_its_end_shows_its_events_and_returns_its_result() -> None:
    events: list[jobs.Event] = []
    assert run_to_end(counting([]), events.append) == 42
    assert events == [Progress(done, 3) for done in range(3)]


def test_a_job_within_a_job_has_its_events_changed_or_left_out() -> None:
    def outer() -> Job[str]:
        inner = translated(counting([]), lambda e: Note(f"{e.done}") if e.done != 1 else None)
        return f"inner returned {(yield from inner)}"

    events: list[jobs.Event] = []
    assert run_to_end(outer(), events.append) == "inner returned 42"
    assert events == [Note("0"), Note("2")]


def test_closing_a_job_closes_the_job_within() -> None:
    closed: list[str] = []
    outer = translated(counting(closed), lambda event: event)
    next(outer)
    outer.close()
    assert closed == ["counting"]


def test_errors_of_the_job_within_come_out() -> None:
    def failing() -> Job[None]:
        yield Note("soon")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_to_end(translated(failing(), lambda event: event))


def test_events_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(jobs.time, "monotonic", lambda: now)
    throttle = Throttle()
    due = []
    for now in (100.05, 100.11, 100.15, 100.20, 100.22):  # noqa: B007 - read by the clock
        due.append(throttle.is_due())
    assert due == [False, True, False, False, True]
