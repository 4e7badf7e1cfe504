"""What the plots in the docks share: small, quiet, in the colours of the window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize
from qtpy.QtWidgets import QVBoxLayout, QWidget

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from napari.components import ViewerModel


class Plot(QWidget):
    """A figure of matplotlib that is hidden, and not even made, until there is something to draw.

    Parameters
    ----------
    height : int
        In pixels of the screen.
    """

    def __init__(self, height: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._height = height
        self._viewer: ViewerModel | None = None
        self._canvas: Any = None
        self.background, self.text = "#262930", "#f0f1f2"
        self.setMaximumHeight(height)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self.hide()

    def follow_theme(self, viewer: ViewerModel) -> None:
        """Take the colours of the window, now and whenever they change."""
        self._viewer = viewer
        viewer.events.theme.connect(self._adopt_theme)
        self._adopt_theme()

    def draw(self) -> None:
        """Draw everything anew."""
        if self._canvas is None:
            self._make_canvas()
        figure = self._canvas.figure
        figure.set_facecolor(self.background)
        self._draw_on(figure)
        self._canvas.draw_idle()

    def sizeHint(self) -> QSize:  # noqa: N802
        """Return the size of the plot, drawn yet or not."""
        return QSize(280, self._height)

    def _draw_on(self, figure: Figure) -> None:
        """Draw on the figure, which holds what was drawn before."""
        raise NotImplementedError

    def _style(self, axes: Axes, title: str) -> None:
        """Make axes small and quiet, in the colours of the window."""
        axes.set_facecolor(self.background)
        axes.locator_params(axis="x", integer=True)
        axes.set_title(title, color=self.text, fontsize=8, loc="left", pad=3)
        axes.tick_params(colors=self.text, labelsize=7, length=2)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(self.text)
        axes.grid(color=self.text, alpha=0.15, lw=0.5)

    def _adopt_theme(self, *_: object) -> None:
        from napari.utils.theme import get_theme

        assert self._viewer is not None
        theme = get_theme(self._viewer.theme)
        self.background, self.text = theme.background.as_hex(), theme.text.as_hex()
        if self._canvas is not None:
            self.draw()

    def _make_canvas(self) -> None:
        # slow to import, and needed only once there is something to draw
        from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
        from matplotlib.figure import Figure

        self._canvas = FigureCanvasQTAgg(Figure(layout="constrained"))
        # on a small screen the form needs room too
        self._canvas.setMinimumSize(0, 0)
        self._column.addWidget(self._canvas)
