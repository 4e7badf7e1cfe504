"""What to do first, where there is no stack yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.qt.threading import create_worker
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QPushButton, QWidget

from napari_unfold.errors import as_unfold_error
from napari_unfold.jobs import run_to_end
from napari_unfold.plugin.running.loading import load
from napari_unfold.plugin.viewing import add_in_pieces

if TYPE_CHECKING:
    from napari.components import ViewerModel

_STACKS = "Recordings (*.tif *.tiff *.btf *.npy);;All files (*)"


class FirstSteps(QWidget):
    """*Open stack…* and *Open sample*.

    Signals
    -------
    failed : UnfoldError
        Why a file could not be opened.
    """

    failed = Signal(object)

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.open_button = QPushButton("Open stack…")
        self.open_button.setToolTip(
            "<qt>TIFF, OME-TIFF or NumPy file; the pixel size is read from it if it is there.</qt>"
        )
        self.sample_button = QPushButton("Open sample")
        self.sample_button.setToolTip("<qt>Simulated stacks, with their true molecules.</qt>")
        self.menu = QMenu(self.sample_button)
        for title, make in _samples():
            self.menu.addAction(title, lambda make=make: self.open_sample(make))
        self.sample_button.setMenu(self.menu)
        self.open_button.clicked.connect(self._ask)
        buttons = QHBoxLayout(self)
        buttons.setContentsMargins(0, 0, 0, 0)
        buttons.addWidget(self.open_button)
        buttons.addWidget(self.sample_button)

    def open_stack(self, path: Path) -> None:
        """Add the recording in a file to the viewer."""
        from napari_unfold.plugin.open_stack import stack_layer

        self._open(lambda: [stack_layer(path)])

    def open_sample(self, make: Callable[[], list[Any]]) -> None:
        """Simulate a sample and add it to the viewer."""
        self._open(make)

    def _open(self, make: Callable[[], list[Any]]) -> None:
        self.setEnabled(False)
        worker = create_worker(_made, make, _ignore_errors=True)
        worker.returned.connect(self._add)
        worker.errored.connect(self._fail)
        worker.finished.connect(self._enable)
        worker.start()

    def _add(self, made: list[Any]) -> None:
        add_in_pieces(self._viewer, made)

    def _enable(self) -> None:
        self.setEnabled(True)

    def _fail(self, error: Exception) -> None:
        self.failed.emit(as_unfold_error(error))

    def _ask(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open stack", "", _STACKS)
        if name:
            self.open_stack(Path(name))


def _made(make: Callable[[], list[Any]]) -> list[Any]:
    run_to_end(load("napari_unfold.simulation.scenes"))
    return make()


def _samples() -> list[tuple[str, Callable[[], list[Any]]]]:
    from napari_unfold.plugin import sample_data as samples

    return [
        ("Dense filaments", samples.dense_filaments),
        ("Dense random molecules", samples.dense_random_molecules),
        ("Blinking filaments", samples.blinking_filaments),
        ("Lit cells", samples.lit_cells),
        ("sCMOS camera with hot pixels", samples.scmos_camera),
    ]
