"""A validation frame before and after learning, and its truth, side by side in the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unfold.plugin.layers import METADATA_KEY, Placement, image_layer, robust_limits

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_unfold.analysis.learn import Learned

_GAP = 1.08
"""Distance of neighbouring images in units of their width."""


class Comparison:
    """Three image layers in a viewer, replaced by those of the next training.

    They do not lie on each other, where only the topmost could be seen, but in a row beside the
    stack that was learned from; all have the same contrast limits.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layers: list[Image] = []

    def show(
        self, learned: Learned, placement: Placement, stack_shape: tuple[int, int] | None
    ) -> None:
        """Show the images of a training.

        Parameters
        ----------
        learned : Learned
        placement : Placement
            Where the stack lies, or the simulation if there is none.
        stack_shape : tuple of int, optional
            Camera pixels ``(Y, X)`` of the stack; None if none is shown.
        """
        from napari.layers import Image

        self.remove()
        upsampling = learned.preset.upsampling
        width = learned.truth.shape[1] / upsampling
        first = 0.0 if stack_shape is None else stack_shape[1] + (_GAP - 1) * width
        limits = robust_limits(learned.truth)
        metadata = {METADATA_KEY: {"preset": learned.preset.model_dump(mode="json")}}
        images = {
            "before learning": learned.before,
            "after learning": learned.after,
            "truth of that frame": learned.truth,
        }
        for index, (title, image) in enumerate(images.items()):
            data, keywords, _ = image_layer(
                image, upsampling, placement, name=title, metadata=metadata
            )
            shift = np.array([0.0, 0.0, (first + index * _GAP * width) * placement.scale[2]])
            start = placement.moved(np.zeros(3))
            keywords["translate"] = keywords["translate"] + (placement.moved(shift) - start)[1:]
            keywords["contrast_limits"] = limits
            self._layers.append(self._viewer.add_layer(Image(data, **keywords)))
        self._viewer.reset_view()

    def remove(self) -> None:
        """Take away the layers of an earlier training, unless the user did."""
        for layer in self._layers:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._layers = []
