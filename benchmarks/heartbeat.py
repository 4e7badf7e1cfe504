"""How long the window is frozen: a timer of 10 ms tells the longest gap over a path through it.

The path is that of a microscopist: open the dock, open a sample, try, run, filter, render. Needs a
display (``xvfb-run`` will do). It prints the worst gap of each step, and of a window left alone.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("NAPARI_CONFIG", "")  # leave the user's settings alone

import napari
from qtpy.QtCore import QEventLoop, QTimer

from napari_unfold.plugin import remember
from napari_unfold.plugin.running.job_dock import JobDock

INTERVAL_MS = 10
PLUGIN = "napari-unfold"


class Heartbeat:
    """Notes how late a timer of 10 ms is."""

    def __init__(self) -> None:
        self._timer = QTimer()
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self._beat)
        self._last = time.perf_counter()
        self.worst_ms = 0.0
        self._timer.start()

    def _beat(self) -> None:
        now = time.perf_counter()
        self.worst_ms = max(self.worst_ms, 1000 * (now - self._last))
        self._last = now

    def over(self, title: str, action: Callable[[], Any], until: Callable[[], bool]) -> Any:
        """Print the longest gap while `action` is done and until all of it is over."""
        wait(lambda: True, 0.3)
        self.worst_ms, self._last = 0.0, time.perf_counter()
        started, result = time.perf_counter(), action()
        wait(until, 0.5)
        took = time.perf_counter() - started
        print(f"{title:36}{self.worst_ms:8.0f} ms   ({took:.1f} s)", flush=True)
        return result


def wait(until: Callable[[], bool], longer_s: float, limit_s: float = 600.0) -> None:
    """Let the window live until a condition holds, and a little longer."""
    loop, end = QEventLoop(), time.perf_counter() + limit_s
    check = QTimer()
    held_since: list[float] = []

    def look() -> None:
        now = time.perf_counter()
        if until():
            held_since.append(now)
        if (held_since and now - held_since[0] > longer_s) or now > end:
            loop.quit()

    check.timeout.connect(look)
    check.start(20)
    loop.exec()


def main() -> None:
    """Walk the path and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=60)
    frames = parser.parse_args().frames
    folder = Path(tempfile.mkdtemp())
    remember.settings_file = lambda: folder / "reconstruct.json"
    viewer = napari.Viewer()
    beat = Heartbeat()
    beat.over("window left alone", lambda: None, lambda: True)

    def dock(name: str) -> JobDock:
        return viewer.window.add_plugin_dock_widget(PLUGIN, f"Unfold: {name}")[1]

    def idle(widget: JobDock) -> Callable[[], bool]:
        return lambda: widget.runner.state == "idle"

    unfold = beat.over("open 'Unfold: reconstruct'", lambda: dock("reconstruct"), lambda: True)
    steps = unfold.stack.first_steps
    beat.over(
        "open a sample",
        lambda: steps.menu.actions()[2].trigger(),
        lambda: len(viewer.layers) == 2,
    )
    unfold.stack.frames_row.editor.set_value(slice(0, frames))
    viewer.dims.set_point(0, frames // 2)
    beat.over("try here, the first time", unfold.try_here, idle(unfold))
    beat.over("try here, again", unfold.try_here, idle(unfold))
    beat.over("run", unfold.run, idle(unfold))
    table = beat.over("open 'Unfold: localizations'", lambda: dock("localizations"), lambda: True)
    edit = table.filter.form.ranges[0].low
    beat.over("filter", lambda: (edit.set_value(500.0), table.run()), idle(table))
    beat.over(
        "picture of all",
        lambda: table.picture_box.setChecked(True),
        lambda: (
            table.picture.runner.state == "idle" and any("pic" in x.name for x in viewer.layers)
        ),
    )
    table.set_task("Evaluate")
    beat.over("evaluate", table.run, idle(table))
    beat.over("slider", lambda: viewer.dims.set_point(0, 12), lambda: True)
    viewer.close()


if __name__ == "__main__":
    main()
