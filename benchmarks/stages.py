"""Where the time of a job goes: `python benchmarks/stages.py STACK [options of reconstruct]`.

Runs the command line and prints seconds, and seconds of processor time, of every stage, as JSON.
What a stage calls of another counts for the other.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from types import GeneratorType
from typing import Any

PLACES = {
    "bad frames": ("reconstruction.look", "check_frames"),
    "check of settings": ("reconstruction.look", "check_settings"),
    "background": ("estimation.observe", "background_map"),
    "lamp": ("estimation.observe", "_watch_lamp"),
    "brightness and PSF": ("estimation.observe", "_molecules"),
    "camera": ("estimation.observe", "resolve_camera"),
    "rest of observe": ("reconstruction.look", "observe_molecules"),
    "network": ("reconstruction.reconstruct", "unfold"),
    "localization": ("localization.localizer", "Localizer.__call__"),
    "reading and the rest": ("reconstruction.reconstruct", "unfold_batch"),
    "through time": ("reconstruction.so_far", "SoFar.add"),
    "end": ("reconstruction.so_far", "SoFar.finish"),
    "writing": ("reconstruction.result", "Reconstruction.save"),
}
"""Modules below `napari_unfold`, and functions in them."""


class Watch:
    """Adds up the time that is spent in each stage, without that of the stages within."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {"start": [0.0, 0.0]}
        self._within = ["start"]
        self._last = (0.0, 0.0)  # the start of the process

    def switch(self) -> None:
        """Give the time since the last switch to the stage that is running."""
        now = time.time() - STARTED, time.process_time()
        spent = self.seconds.setdefault(self._within[-1], [0.0, 0.0])
        for i in range(2):
            spent[i] += now[i] - self._last[i]
        self._last = now

    def wrap(self, title: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function, or a function that makes generators, that is watched."""

        def enter(work: Callable[[], Any]) -> Any:
            self.switch()
            self._within.append(title)
            try:
                return work()
            finally:
                self.switch()
                self._within.pop()

        def steps(generator: GeneratorType[Any, Any, Any]) -> Generator[Any, Any, Any]:
            try:
                while True:
                    try:
                        event = enter(lambda: next(generator))
                    except StopIteration as end:
                        return end.value
                    yield event
            finally:
                generator.close()

        def watched(*given: Any, **named: Any) -> Any:
            result = enter(lambda: function(*given, **named))
            return steps(result) if isinstance(result, GeneratorType) else result

        return watched


def main() -> None:
    """Run a job and print its stages."""
    watch = Watch()
    for title, (module, path) in PLACES.items():
        try:
            owner: Any = importlib.import_module(f"napari_unfold.{module}")
            *classes, name = path.split(".")
            for one in classes:
                owner = getattr(owner, one)
            setattr(owner, name, watch.wrap(title, getattr(owner, name)))
        except (ImportError, AttributeError):  # an older commit has other rooms
            continue
    from napari_unfold.cli import main as command_line

    with tempfile.TemporaryDirectory() as folder:
        sys.argv = ["napari-unfold", "reconstruct", *sys.argv[1:], "--out", folder]
        try:
            command_line()
        except SystemExit as end:
            if end.code:
                raise
    watch.switch()
    print(json.dumps({t: [round(v, 3) for v in both] for t, both in watch.seconds.items()}))


if __name__ == "__main__":
    import psutil

    STARTED = psutil.Process().create_time()
    main()
