"""Take the picture of the README: `python docs/screenshot.py` (on a display, or under Xvfb).

Opens the simulated filaments in napari, reconstructs them with the dock widget and saves the
window as docs/images/reconstruct.png.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, QTimer

from napari_unfold.plugin import remember
from napari_unfold.simulation.simulated_microscope import MICROSCOPE

PICTURE = Path(__file__).parent / "images" / "reconstruct.png"
SIZE = (1360, 900)


def wait_ms(milliseconds: int) -> None:
    """Let the window draw itself."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def reconstruct(viewer: napari.Viewer) -> None:
    """Run the dock widget on the stack in the viewer and wait for its end."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-unfold", "Unfold: reconstruct")
    preset = widget.form.preset()
    widget.form.set_value(MICROSCOPE, None if preset is None else preset.name)
    loop = QEventLoop()
    widget.runner.ended.connect(lambda outcome: loop.exit(0 if outcome.kind == "done" else 1))
    widget.run()
    if loop.exec():
        sys.exit(widget.panel.error.text() or "the reconstruction did not finish")


def save_window(viewer: napari.Viewer, path: Path) -> None:
    """Save the whole window with few colours, which keeps the file small."""
    from PIL import Image

    wait_ms(500)
    picture = viewer.window.screenshot(canvas_only=False, flash=False)
    image = Image.fromarray(np.asarray(picture)[..., :3])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(200, dither=Image.Dither.NONE).save(path, optimize=True)


def show_side_by_side(viewer: napari.Viewer) -> None:
    """Show a raw frame with its localizations above, the reconstruction below."""
    points = viewer.layers.index("Dense filaments localizations")
    viewer.layers.move(points, 1)
    viewer.canvas.grid.enabled = True
    viewer.canvas.grid.stride = 2
    viewer.canvas.grid.shape = (2, 1)
    viewer.canvas.overlays.scale_bar.visible = True
    viewer.reset_view(margin=0.02)


def main() -> None:
    """Take the picture."""
    # neither the settings of whoever runs this appear in the picture, nor are they changed
    folder = tempfile.TemporaryDirectory()
    remember.settings_file = lambda: Path(folder.name) / "settings.json"
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    viewer.open_sample("napari-unfold", "filaments")
    viewer.layers.selection.active = viewer.layers[0]
    reconstruct(viewer)
    show_side_by_side(viewer)
    save_window(viewer, PICTURE)
    viewer.close()
    folder.cleanup()


if __name__ == "__main__":
    main()
