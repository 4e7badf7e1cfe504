"""Take the pictures of the documentation: `python docs/make_screenshots.py [NAME...]`.

On a display, or under Xvfb. Opens the simulated samples in napari, drives the dock widgets as a
user does and saves the window in docs/images, one picture for each function of `SCENES`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# neither the settings of whoever runs this appear in the pictures, nor are they changed
HOME = tempfile.TemporaryDirectory()
os.environ |= {
    "NAPARI_CONFIG": str(Path(HOME.name) / "napari.yaml"),
    "XDG_CONFIG_HOME": HOME.name,
    "XDG_DATA_HOME": HOME.name,
}

import napari  # noqa: E402
import numpy as np  # noqa: E402
from qtpy.QtCore import QEventLoop, QTimer  # noqa: E402
from qtpy.QtWidgets import QDockWidget  # noqa: E402

from napari_unfold.simulation.simulated_microscope import MICROSCOPE  # noqa: E402

IMAGES = Path(__file__).parent / "images"
SIZE = (1280, 860)
COLOURS = 96
"""So few keep the files small."""


def wait_ms(milliseconds: int) -> None:
    """Let the window draw itself."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def save_window(viewer: napari.Viewer, name: str) -> None:
    """Save the whole window."""
    from PIL import Image

    for _ in range(10):  # one long pause can pass on a busy computer before anything is drawn
        wait_ms(200)
    picture = np.asarray(viewer.window.screenshot(canvas_only=False, flash=False))[..., :3]
    image = Image.fromarray(picture)
    image.thumbnail(SIZE, Image.Resampling.LANCZOS)
    few = image.quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(IMAGES / f"{name}.png", optimize=True)


def open_dock(viewer: napari.Viewer, title: str) -> Any:
    """Open a dock widget of the plugin as the menu does."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-unfold", title)
    viewer.window._qt_window.resize(*SIZE)
    return widget


def close_dock(viewer: napari.Viewer, widget: Any) -> None:
    """Close the dock of a widget."""
    while not isinstance(widget, QDockWidget):
        widget = widget.parentWidget()
    viewer.window.remove_dock_widget(widget)


def wait_for(widget: Any, start: Callable[[], object]) -> None:
    """Start a job of a dock and wait for its end."""
    loop = QEventLoop()
    widget.runner.ended.connect(lambda outcome: loop.exit(0 if outcome.kind == "done" else 1))
    start()
    if loop.exec():
        sys.exit(widget.panel.error.text() or "the job did not finish")


def open_sample(viewer: napari.Viewer, key: str) -> Any:
    """Open a sample and select its stack."""
    viewer.open_sample("napari-unfold", key)
    viewer.layers.selection.active = viewer.layers[0]
    return viewer.layers[0]


def scale_bar(viewer: napari.Viewer) -> None:
    """Show a scale bar."""
    viewer.canvas.overlays.scale_bar.visible = True


# ---- the pictures


def first_screen(viewer: napari.Viewer) -> None:
    """Show the dock before anything was done."""
    open_dock(viewer, "Unfold: reconstruct")
    save_window(viewer, "first-screen")


def try_here(viewer: napari.Viewer) -> None:
    """Try one frame."""
    open_sample(viewer, "filaments")
    widget = open_dock(viewer, "Unfold: reconstruct")
    wait_ms(500)
    wait_for(widget, widget.try_here)
    scale_bar(viewer)
    save_window(viewer, "try-here")


def reconstruct(viewer: napari.Viewer) -> None:
    """Show a raw frame with its localizations above, the reconstruction below."""
    open_sample(viewer, "filaments")
    widget = open_dock(viewer, "Unfold: reconstruct")
    preset = widget.form.preset()
    widget.form.set_value(MICROSCOPE, None if preset is None else preset.name)
    wait_for(widget, widget.run)
    show_side_by_side(viewer)
    save_window(viewer, "reconstruct")


def show_side_by_side(viewer: napari.Viewer) -> None:
    """Put raw frame and localizations into one cell of a grid, the image into the other."""
    for layer in list(viewer.layers):
        if " PSF" in layer.name or layer.name.endswith(("truth", "molecules")):
            viewer.layers.remove(layer)
    viewer.layers.move(viewer.layers.index("Dense filaments localizations"), 1)
    viewer.canvas.grid.enabled = True
    viewer.canvas.grid.stride = 2
    viewer.canvas.grid.shape = (2, 1)
    scale_bar(viewer)
    viewer.reset_view(margin=0.02)


def localizations(viewer: napari.Viewer) -> None:
    """Evaluate, filter and measure the localizations of blinking filaments."""
    open_sample(viewer, "blinking")
    first = open_dock(viewer, "Unfold: reconstruct")
    wait_ms(500)
    wait_for(first, first.run)
    save_window(viewer, "blinking")
    close_dock(viewer, first)
    widget = open_dock(viewer, "Unfold: localizations")
    table = next(layer for layer in viewer.layers if layer.name.endswith("localizations"))
    widget.points.set_layer(table)

    widget.set_task("Evaluate")
    wait_for(widget, widget.run)
    scale_bar(viewer)
    save_window(viewer, "evaluate")
    for layer in [layer for layer in viewer.layers if " at 100 nm" in layer.name]:
        viewer.layers.remove(layer)

    widget.points.set_layer(table)
    widget.set_task("Measure resolution")
    wait_for(widget, widget.run)
    save_window(viewer, "resolution")

    widget.set_task("Filter")
    widget.picture_box.setChecked(True)
    for layer in viewer.layers:
        layer.visible = "picture" in layer.name.lower()
    save_window(viewer, "filter")


def fluctuations(viewer: napari.Viewer) -> None:
    """Sharpen the variance of a blinking stack over time."""
    open_sample(viewer, "filaments")
    widget = open_dock(viewer, "Unfold: fluctuations")
    wait_ms(500)
    wait_for(widget, widget.run)
    scale_bar(viewer)
    save_window(viewer, "fluctuations")


SCENES = [first_screen, try_here, reconstruct, localizations, fluctuations]


def main(names: list[str]) -> None:
    """Take the pictures of those names, or all."""
    IMAGES.mkdir(exist_ok=True)
    for scene in SCENES:
        if names and scene.__name__ not in names:
            continue
        viewer = napari.Viewer(show=True)
        viewer.window._qt_window.resize(*SIZE)
        scene(viewer)
        viewer.close()


if __name__ == "__main__":
    main(sys.argv[1:])
    HOME.cleanup()
