"""One picture of all localizations, which follows the conditions while they are typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer

from napari_unfold.jobs import Job, Stage
from napari_unfold.plugin.running.runner import JobRunner, Outcome

if TYPE_CHECKING:
    import pandas as pd
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_unfold.plugin.table_layers import Source
    from napari_unfold.tables.select import Condition

_WAIT_MS = 150
_FINEST_NM = 10.0
_MOST_PIXELS = 1500
_MOST_GAUSSIANS = 200_000


class LivePicture(QObject):
    """An image layer of the localizations that pass some conditions.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    """

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Image | None = None
        self._asked: tuple[pd.DataFrame, Source, list[Condition]] | None = None
        self._source: Source | None = None
        self.runner = JobRunner(self, "Picture of localizations")
        self.runner.ended.connect(self._on_ended)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_WAIT_MS)
        self._timer.timeout.connect(self._draw)

    def show(self, table: pd.DataFrame, source: Source, conditions: list[Condition]) -> None:
        """Draw these localizations soon; what was asked before and not yet drawn is forgotten."""
        self._asked = table, source, conditions
        self._timer.start()

    def remove(self) -> None:
        """Take the picture away."""
        self._asked = None
        self._timer.stop()
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = None

    def _draw(self) -> None:
        if self._asked is None or self.runner.state != "idle":
            return  # `_on_ended` comes back here
        (table, self._source, conditions), self._asked = self._asked, None
        self.runner.start(_rendered(table, conditions))

    def _on_ended(self, outcome: Outcome) -> None:
        if self._asked is not None:
            self._draw()  # already out of date
        elif outcome.kind == "done" and self._source is not None and self._wanted():
            self._put(outcome.value, self._source)

    def _wanted(self) -> bool:
        return not self._timer.isActive()

    def _put(self, rendered: Any, source: Source) -> None:
        from napari.layers import Image

        data, known, _ = source.image(rendered, "picture", {"step": "picture"})
        layer = self._layer
        if layer is not None and layer in self._viewer.layers and layer.name == known["name"]:
            layer.data = data
            return
        self.remove()
        self._layer = self._viewer.add_layer(Image(data, **known))


def _rendered(table: pd.DataFrame, conditions: list[Condition]) -> Job[Any]:
    yield Stage("Rendering")
    from napari_unfold.settings.tables import Rendering
    from napari_unfold.tables.render import render
    from napari_unfold.tables.select import select

    height, width = float(table["y_nm"].max()), float(table["x_nm"].max())
    pixel = max(_FINEST_NM, max(height, width) / _MOST_PIXELS)
    kept = table[select(table, conditions)]
    known = "uncertainty_nm" in kept and kept["uncertainty_nm"].notna().all()
    fine = known and len(kept) <= _MOST_GAUSSIANS
    settings = Rendering(pixel_size_nm=pixel, style="gaussians" if fine else "histogram")
    size = (max(height, pixel), max(width, pixel))
    return (yield from render(kept.reset_index(drop=True), settings, size))
