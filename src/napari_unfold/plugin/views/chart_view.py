"""A chart in the dock, in the colours of the window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_unfold.plugin.views.training_plot import style_axes

if TYPE_CHECKING:
    from napari_unfold.tables.chart import Chart

_HEIGHT = 170


class ChartView(QWidget):
    """Shows one chart, or hides."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.chart: Chart | None = None
        self._colors = ("#262930", "#f0f1f2")
        self._canvas: Any = None
        self.setFixedHeight(_HEIGHT)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self.hide()

    def show_chart(self, chart: Chart | None) -> None:
        """Show another chart; None hides."""
        self.chart = chart
        self.setVisible(chart is not None)
        self._draw()

    def set_colors(self, background: str, text: str) -> None:
        """Follow the theme of the window."""
        self._colors = (background, text)
        self._draw()

    def sizeHint(self) -> QSize:  # noqa: N802
        """Return the size of the chart, drawn yet or not."""
        return QSize(280, _HEIGHT)

    def _draw(self) -> None:
        if self.chart is None:
            return
        if self._canvas is None:
            self._make_canvas()
        background, text = self._colors
        figure = self._canvas.figure
        figure.set_facecolor(background)
        figure.clear()
        axes = figure.subplots()
        style_axes(axes, self.chart.title, background, text)
        self.chart.draw_on(axes)
        axes.set_xlabel(self.chart.x_label, color=text, fontsize=8)
        axes.set_ylabel(self.chart.y_label, color=text, fontsize=8)
        axes.legend(fontsize=7, labelcolor="linecolor", frameon=False, handlelength=0.7)
        self._canvas.draw_idle()

    def _make_canvas(self) -> None:
        # slow to import, and needed only once there is something to draw
        from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
        from matplotlib.figure import Figure

        self._canvas = FigureCanvasQTAgg(Figure(layout="constrained"))
        self._canvas.setMinimumSize(0, 0)
        self._column.addWidget(self._canvas)
