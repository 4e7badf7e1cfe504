"""What is done with the viewer itself: layers are added, frames are gone to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import ViewerModel
    from napari.layers import Image, Layer

    from napari_unfold.plugin.layers import LayerData, Placement

PART = 0.6
"""Who sees a smaller share of an image's rows or columns has zoomed in."""


def add_in_pieces(viewer: ViewerModel, made: Iterable[LayerData]) -> list[Layer]:
    """Add layers one by one, and let the window draw itself after each."""
    from napari.layers import Layer
    from qtpy.QtCore import QCoreApplication, QEventLoop

    added = []
    for data in made:
        added.append(viewer.add_layer(Layer.create(*data)))
        QCoreApplication.processEvents(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)
    return added


def show_frames_around(viewer: ViewerModel, frames: float) -> None:
    """Show the points of this many frames before and after the current one.

    Images keep showing the current frame only: averaging a whole stack at every step of the
    slider is not what this is for.
    """
    from napari.layers import Image

    if viewer.dims.ndim < 3:
        return
    for layer in viewer.layers:
        if frames and isinstance(layer, Image):
            layer.projection_mode = "none"
    margins = list(viewer.dims.margin_left)
    margins[-3] = frames
    viewer.dims.margin_left = tuple(margins)
    viewer.dims.margin_right = tuple(margins)


def go_to_frames(viewer: ViewerModel, frames: slice, placement: Placement) -> None:
    """Move the slider to the first of `frames` if it stands at none of them."""
    if viewer.dims.ndim < 3:
        return
    axis = viewer.dims.ndim - 3
    now = (viewer.dims.point[axis] - placement.translate[0]) / placement.scale[0]
    if not frames.start <= round(now) < frames.stop:
        world = placement.translate[0] + placement.scale[0] * frames.start
        viewer.dims.set_point(axis, world)


def show_what_is_beside(viewer: ViewerModel, image: Image) -> None:
    """Move the camera back until all layers are in view, unless it looks at a part of `image`."""
    corners = image.corner_pixels[:, -2:]
    seen = corners[1] - corners[0] + 1
    if (seen <= 1).any() or (seen > PART * np.array(image.data.shape[-2:])).all():
        viewer.reset_view()
