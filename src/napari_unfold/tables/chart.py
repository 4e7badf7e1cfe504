"""Curves to look at: the same for a file and for a window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# readable on dark and on light
_COLORS = ("#4c9be8", "#f0903c", "#3fae6a")
_LEVEL_COLOR = "#868c96"


@dataclass(frozen=True)
class Chart:
    """Curves with a title and named axes.

    Attributes
    ----------
    title, x_label, y_label : str
    curves : mapping
        From the name of each curve to its x and its y.
    points : mapping
        From the name of some of the curves to points to be marked on them, x and y.
    level : float, optional
        A horizontal line.
    """

    title: str
    x_label: str
    y_label: str
    curves: Mapping[str, tuple[NDArray[np.floating], NDArray[np.floating]]]
    points: Mapping[str, tuple[NDArray[np.floating], NDArray[np.floating]]] = field(
        default_factory=dict
    )
    level: float | None = None

    def draw_on(self, axes: Axes) -> None:
        """Draw the curves; titles and labels are the caller's to place."""
        for color, (name, (x, y)) in zip(_COLORS, self.curves.items(), strict=False):
            axes.plot(x, y, color=color, lw=1.4, label=name)
            if name in self.points:
                axes.plot(*self.points[name], color=color, ls="", marker="o", ms=4)
        if self.level is not None:
            axes.axhline(self.level, color=_LEVEL_COLOR, lw=1, ls="--")
