"""Raw, model and residual side by side in the dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_unfold.plugin.views.plot import Plot

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

_HEIGHT = 130
_RESIDUAL_RANGE = 5.0


class Strip(Plot):
    """Shows what was seen, what the model makes of it, and what it leaves."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(_HEIGHT, parent)
        self.setMinimumHeight(_HEIGHT)
        self.images: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def show_images(self, raw: np.ndarray, model: np.ndarray, residual: np.ndarray) -> None:
        """Show three images; raw and model in photons, the residual in units of the noise."""
        self.images = raw, model, residual
        self.show()
        self.draw()

    def _draw_on(self, figure: Figure) -> None:
        if self.images is None:
            return
        figure.clear()
        raw, _, residual = self.images
        limits = {"vmin": raw.min(), "vmax": raw.max()}
        around_zero = {"vmin": -_RESIDUAL_RANGE, "vmax": _RESIDUAL_RANGE}
        titles = ("Raw", "Model", f"Residual, ±{_RESIDUAL_RANGE:g} noise")
        for axes, image, title in zip(figure.subplots(1, 3), self.images, titles, strict=True):
            axes.set_title(title, color=self.text, fontsize=8, pad=3)
            axes.set_axis_off()
            is_residual = image is residual
            axes.imshow(
                image,
                cmap="RdBu" if is_residual else "gray",
                interpolation="nearest",
                **(around_zero if is_residual else limits),
            )
