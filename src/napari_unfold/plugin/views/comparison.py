"""A validation frame before and after learning, and its truth, side by side in the viewer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_unfold.plugin.layers import METADATA_KEY, Placement, image_layer

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

    from napari_unfold.learning.learn import Learned

_PITCH = 1.08
"""Distance of neighbouring images in units of their width."""

_FRAME_COLOR = "#868c96"


class Comparison:
    """Images of one validation frame in a viewer, replaced by those of the next training.

    They do not lie on each other, where only the topmost could be seen, but in a row beside the
    stack that was learned from. Each has its own contrast: light that is spread over many pixels
    would be dark beside the truth.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layers: list[Layer] = []

    def show(self, learned: Learned, placement: Placement, stack_width: int) -> None:
        """Show the images of a training.

        Parameters
        ----------
        learned : Learned
        placement : Placement
            Where the stack lies, or the simulation if there is none.
        stack_width : int
            Camera pixels of the stack along X; 0 if none is shown.
        """
        self.remove()
        images = {
            "before learning (left)": learned.before,
            "after learning (middle)": learned.after,
            "truth (right)": learned.truth,
        }
        upsampling = learned.preset.upsampling
        metadata = {METADATA_KEY: {"preset": learned.preset.model_dump(mode="json")}}
        for index, (name, image) in enumerate(images.items()):
            place = beside(placement, stack_width, index, image.shape[1] / upsampling)
            self._layers.append(self._add(image, upsampling, place, name=name, metadata=metadata))
        look_at(self._viewer, self._layers)

    def remove(self) -> None:
        """Take away the layers of an earlier training, unless the user did."""
        for layer in self._layers:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._layers = []

    def _add(
        self, image: np.ndarray, upsampling: int, place: Placement, **keywords: object
    ) -> Image:
        from napari.layers import Image

        data, known, _ = image_layer(image, upsampling, place, **keywords)
        layer = self._viewer.add_layer(Image(data, **known))
        # a dark image has no visible border on a dark canvas
        box = layer.bounding_box
        box.line_color, box.points, box.visible = _FRAME_COLOR, False, True
        return layer


def beside(placement: Placement, stack_width: int, index: int, width: float) -> Placement:
    """Return the place of one of several images to the right of a stack.

    Parameters
    ----------
    placement : Placement
        Of the stack.
    stack_width : int
        Camera pixels of the stack along X; 0 if none is shown.
    index : int
        From 0, the image next to the stack.
    width : float
        Of an image, in camera pixels.
    """
    gap = (_PITCH - 1) * width if stack_width else 0.0
    pixels = stack_width + gap + index * _PITCH * width
    return replace(placement, translate=placement.moved(pixels * placement.scale * (0, 0, 1)))


def look_at(viewer: ViewerModel, layers: list[Layer]) -> None:
    """Move the camera so that `layers`, flat images, fill most of the canvas."""
    viewer.reset_view()
    everything = viewer.layers.extent.world[:, -2:]
    corners = np.concatenate([layer.extent.world[:, -2:] for layer in layers])
    first, last = corners.min(axis=0), corners.max(axis=0)
    viewer.scene.camera.center = (0.0, *(first + last) / 2)
    viewer.scene.camera.zoom *= float(np.min(np.ptp(everything, axis=0) / (last - first)))
