"""A chart in the dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_unfold.plugin.views.plot import Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_unfold.tables.chart import Chart

_HEIGHT = 170


class ChartView(Plot):
    """Shows one chart, or hides."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(_HEIGHT, parent)
        self.setMinimumHeight(_HEIGHT)
        self.chart: Chart | None = None

    def show_chart(self, chart: Chart | None) -> None:
        """Show another chart; None hides."""
        self.chart = chart
        self.setVisible(chart is not None)
        if chart is not None:
            self.draw()

    def _draw_on(self, figure: Figure) -> None:
        if self.chart is None:
            return
        figure.clear()
        axes = figure.subplots()
        self._style(axes, self.chart.title)
        self.chart.draw_on(axes)
        axes.set_xlabel(self.chart.x_label, color=self.text, fontsize=8)
        axes.set_ylabel(self.chart.y_label, color=self.text, fontsize=8)
        axes.legend(fontsize=7, labelcolor="linecolor", frameon=False, handlelength=0.7)
