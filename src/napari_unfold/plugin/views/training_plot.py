"""Curves of a training while it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_unfold.plugin.views.plot import Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_unfold.jobs import Metrics

_INTERVAL_MS = 200
_HEIGHT, _LEAST_HEIGHT = 270, 200

# title of each plot, and its curves with their colours, readable on dark and on light
PLOTS = {
    "Loss": {"training loss": "#4c9be8", "validation loss": "#f0903c"},
    "Relative to start": {"weight": "#3fae6a", "threshold": "#c568c9"},
    "Jaccard index": {"Jaccard index": "#e05a5a"},
}
_RELATIVE = "Relative to start"
_PENALTY_COLOR = "#a08a5a"

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


class TrainingPlot(Plot):
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
        super().__init__(_HEIGHT, parent)
        self.setMinimumHeight(_LEAST_HEIGHT)
        self.plots = PLOTS if plots is None else plots
        self.series: dict[str, list[tuple[int, float]]] = {}
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.timeout.connect(self.draw)

    def clear(self) -> None:
        """Forget the curves of an earlier training."""
        self.series = {}
        self.hide()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append the numbers of one step; see `titled`."""
        for name, value in values.items():
            self.series.setdefault(name, []).append((step, value))
        self.show()
        if not self._timer.isActive():
            self._timer.start()

    def curve(self, name: str) -> tuple[list[int], list[float]]:
        """Return steps and values of a curve as drawn; gaps where a value is not finite."""
        points = self.series.get(name, [])
        is_relative = _RELATIVE in self.plots and name in self.curves(_RELATIVE)
        start = points[0][1] if points and is_relative else 1.0
        values = [v / start if math.isfinite(v) and start else math.nan for _, v in points]
        return [step for step, _ in points], values

    def curves(self, title: str) -> dict[str, str]:
        """Return the curves of a plot with their colours.

        What no plot names is a parameter of the penalty.
        """
        if title != _RELATIVE:
            return self.plots[title]
        named = {name for curves in self.plots.values() for name in curves}
        return self.plots[title] | {n: _PENALTY_COLOR for n in self.series if n not in named}

    def _draw_on(self, figure: Figure) -> None:
        all_axes = figure.axes or figure.subplots(len(self.plots), 1, sharex=True)
        for axes, title in zip(all_axes, self.plots, strict=True):
            axes.clear()
            self._style(axes, title)
            for name, color in self.curves(title).items():
                steps, values = self.curve(name)
                if steps:
                    marker = "o" if len(steps) < 40 else ""
                    axes.plot(steps, values, color=color, lw=1.5, marker=marker, ms=2.5, label=name)
            if len(axes.lines) > 1:
                axes.legend(**_LEGEND_STYLE, ncols=len(axes.lines))
        all_axes[-1].set_xlabel("learning step", color=self.text, fontsize=8)


def titled(metrics: Metrics) -> dict[str, float]:
    """Return the numbers of a learning step by the titles of their curves."""
    return {
        "training loss": metrics.training_loss,
        "validation loss": metrics.validation_loss,
        "weight": metrics.weight,
        "threshold": metrics.threshold_photons,
        "Jaccard index": metrics.jaccard,
        **{n.removesuffix("_photons"): value for n, value in metrics.penalty_parameters.items()},
    }
