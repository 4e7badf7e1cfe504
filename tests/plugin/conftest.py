"""A viewer, a stack in it, a dock beside it, and a home for settings that is not the user's.

A module of tests says which dock it is about (``DOCK``), which optics and camera are entered there
(``RECIPE``, if not `READY`) and, to run another job in the place of the dock's own, where the
dock has it from and what it is (``JOB``).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from napari.settings import get_settings
from pytestqt.qtbot import QtBot

from napari_unfold.files import presets
from napari_unfold.jobs import Job
from napari_unfold.plugin import remember
from napari_unfold.plugin.forms.recipe_form import RecipeForm
from napari_unfold.plugin.running.job_dock import JobDock
from napari_unfold.plugin.running.stack_dock import StackDock
from napari_unfold.settings.recipe import Recipe
from napari_unfold.simulation.simulated_microscope import MICROSCOPE

READY = MICROSCOPE
"""Nothing is missing for a run."""

NM = {"scale": (1, 100, 100), "units": ("pixel", "nm", "nm")}
"""Keywords of a layer of frames with pixels of 100 nm."""


@pytest.fixture(autouse=True)
def settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the remembered settings and the user's presets of these tests in a folder of theirs."""
    file = tmp_path / "config" / "reconstruct.json"
    monkeypatch.setattr(remember, "settings_file", lambda: file)
    monkeypatch.setattr(presets, "user_preset_folder", lambda: tmp_path / "presets")
    return file


@pytest.fixture(autouse=True)
def no_readers_are_preferred() -> Iterator[None]:
    """Begin, and end, without preferences of napari for the readers of files."""
    plugins = get_settings().plugins
    plugins.extension2reader = {}
    yield
    plugins.extension2reader = {}


@pytest.fixture
def viewer() -> ViewerModel:
    """Return a viewer without a canvas, which is all that most tests need."""
    return ViewerModel()


@pytest.fixture
def window(make_napari_viewer_proxy) -> Any:
    """Return a viewer with its window, as a plugin sees it."""
    return make_napari_viewer_proxy()


@pytest.fixture
def stack(viewer: ViewerModel) -> Image:
    """Return a stack of 5 frames of 8 x 10 pixels of 100 nm in the viewer."""
    frames = np.full((5, 8, 10), 120, np.uint16)
    return viewer.add_layer(Image(frames, name="stack", translate=(0, 300, 700), **NM))


@pytest.fixture
def open_dock(viewer: ViewerModel, qtbot: QtBot) -> Callable[..., JobDock]:
    """Open docks on the viewer, with the settings given; their jobs end with the test."""

    def open_(kind: type[JobDock], recipe: Recipe | None = None) -> JobDock:
        dock = kind(viewer)
        if recipe is not None and isinstance(dock, StackDock):
            dock.set_value(recipe)
        qtbot.addWidget(dock, before_close_func=lambda dock: stop(dock, qtbot))
        return dock

    return open_


def stop(dock: JobDock, qtbot: QtBot) -> None:
    """Cancel whatever a dock does, and wait for its end."""
    runners = [dock.runner]
    if isinstance(dock, StackDock):
        runners.append(dock.settings.estimates.runner)
        if isinstance(dock.settings, RecipeForm):
            runners.append(dock.settings.learned_psf.runner)
    for runner in runners:
        runner.cancel()
    qtbot.waitUntil(lambda: all(runner.state == "idle" for runner in runners))


@pytest.fixture
def widget(request: pytest.FixtureRequest, stack: Image, open_dock) -> JobDock:
    """Return the dock that the module is about, ready to run on the stack."""
    dock: JobDock = open_dock(request.module.DOCK)
    if isinstance(dock, StackDock):
        dock.settings.set_acquisition(getattr(request.module, "RECIPE", READY))
    return dock


@pytest.fixture
def run_instead(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[..., Job[object]]], list[dict[str, Any]]]:
    """Put another job in the place of the dock's own; return what it is called with.

    The call must suit the real job.
    """
    place, real = request.module.JOB

    def replace(job: Callable[..., Job[object]]) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def noted(*positional: object, **keywords: object) -> Job[object]:
            calls.append(inspect.signature(real).bind(*positional, **keywords).arguments)
            return job(*positional, **keywords)

        monkeypatch.setattr(place, noted)
        return calls

    return replace


def run(widget: JobDock, qtbot: QtBot) -> None:
    """Click Run, and wait for the end."""
    assert widget.panel.run_button.isEnabled(), widget.panel.run_button.toolTip()
    with qtbot.waitSignal(widget.runner.ended, timeout=30_000):
        widget.panel.run_button.click()


def row_of(form: Any, key: str) -> Any:
    """Return the row of a setting."""
    (row,) = (row for row in form.rows if row.key == key)
    return row


def outer_corners(layer: Image) -> np.ndarray:
    """World positions (y, x) of the first and the last outer corner of the frames of a layer."""
    shape = np.array(layer.data.shape)
    first, last = np.full(layer.ndim, -0.5), shape - 0.5
    if layer.ndim == 3:
        first[0] = last[0] = 0
    return np.array([layer.data_to_world(first)[-2:], layer.data_to_world(last)[-2:]])
