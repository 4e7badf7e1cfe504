"""Curves of a training while it runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from napari_unfold.jobs import Metric

_INTERVAL_MS = 200
_HEIGHT, _LEAST_HEIGHT = 270, 200

# title of each plot, and its curves with their colours, readable on dark and on light
PLOTS = {
    "Loss": {"training loss": "#4c9be8", "validation loss": "#f0903c"},
    "Relative to start": {"weight": "#3fae6a", "threshold": "#c568c9", "bend_photons": "#a08a5a"},
    "Jaccard index": {"Jaccard index": "#e05a5a"},
}
_RELATIVE = "Relative to start"

# above the curves, so that it never hides them, in one line
_LEGEND_STYLE: dict[str, Any] = {
    "loc": "lower right",
    "bbox_to_anchor": (1.0, 0.97),
    "fontsize": 7,
    "labelcolor": "linecolor",
    "frameon": False,
    "borderpad": 0.2,
    "borderaxespad": 0,
    "handlelength": 0.7,
    "handletextpad": 0.3,
    "columnspacing": 0.8,
}


class TrainingPlot(QWidget):
    """Loss, weight and threshold, and Jaccard index over the steps of a training.

    Drawn at most five times a second, whatever comes in.

    Parameters
    ----------
    plots : dict, optional
        Other curves: the title of each plot, and its curves with their colours.
    """

    def __init__(
        self, parent: QWidget | None = None, plots: dict[str, dict[str, str]] | None = None
    ) -> None:
        super().__init__(parent)
        self.plots = PLOTS if plots is None else plots
        self.series: dict[str, list[tuple[int, float]]] = {}
        self._colors = ("#262930", "#f0f1f2")
        self._canvas: Any = None
        self._axes: list[Axes] = []
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.timeout.connect(self.draw)
        self.setMinimumHeight(_LEAST_HEIGHT)
        self.setMaximumHeight(_HEIGHT)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self.hide()

    def clear(self) -> None:
        """Forget the curves of an earlier training."""
        self.series = {}
        self.hide()

    def add(self, metric: Metric) -> None:
        """Append the numbers of one step."""
        for name, value in metric.values.items():
            self.series.setdefault(name, []).append((metric.iteration, value))
        self.show()
        if not self._timer.isActive():
            self._timer.start()

    def set_colors(self, background: str, text: str) -> None:
        """Follow the theme of the window."""
        self._colors = (background, text)
        if self._canvas is not None:
            self.draw()

    def curve(self, name: str) -> tuple[list[int], list[float]]:
        """Return steps and values of a curve as drawn; gaps where a value is not finite."""
        points = self.series.get(name, [])
        start = points[0][1] if points and name in self.plots.get(_RELATIVE, {}) else 1.0
        values = [v / start if math.isfinite(v) and start else math.nan for _, v in points]
        return [step for step, _ in points], values

    def draw(self) -> None:
        """Draw all curves anew."""
        if self._canvas is None:
            self._make_canvas()
        background, text = self._colors
        self._canvas.figure.set_facecolor(background)
        for axes, (title, curves) in zip(self._axes, self.plots.items(), strict=True):
            axes.clear()
            style_axes(axes, title, background, text)
            for name, color in curves.items():
                steps, values = self.curve(name)
                if steps:
                    marker = "o" if len(steps) < 40 else ""
                    axes.plot(steps, values, color=color, lw=1.5, marker=marker, ms=2.5, label=name)
            if len(axes.lines) > 1:
                axes.legend(**_LEGEND_STYLE, ncols=len(axes.lines))
        self._axes[-1].set_xlabel("learning step", color=text, fontsize=8)
        self._canvas.draw_idle()

    def sizeHint(self) -> QSize:  # noqa: N802
        """Return the size of the plots, drawn yet or not."""
        return QSize(280, _HEIGHT)

    def _make_canvas(self) -> None:
        # slow to import, and needed only once there is something to draw
        from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
        from matplotlib.figure import Figure

        figure = Figure(layout="constrained")
        self._axes = list(figure.subplots(len(self.plots), 1, sharex=True))
        self._canvas = FigureCanvasQTAgg(figure)
        # on a small screen the form needs room too
        self._canvas.setMinimumSize(0, 0)
        self._column.addWidget(self._canvas)


def style_axes(axes: Axes, title: str, background: str, text: str) -> None:
    """Make axes small and quiet, in the colours of the window."""
    axes.set_facecolor(background)
    axes.locator_params(axis="x", integer=True)
    axes.set_title(title, color=text, fontsize=8, loc="left", pad=3)
    axes.tick_params(colors=text, labelsize=7, length=2)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(text)
    axes.grid(color=text, alpha=0.15, lw=0.5)
