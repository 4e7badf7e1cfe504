"""The result so far, as a layer that comes and goes with the job."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from napari_unfold.plugin import layers

if TYPE_CHECKING:
    import numpy as np
    from napari.components import ViewerModel
    from napari.layers import Image

_INTERVAL_S = 0.5


class LivePreview:
    """One preview layer in a viewer, drawn at most twice a second."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Image | None = None
        self._drawn = 0.0

    def show(self, image: np.ndarray, upsampling: int, placement: layers.Placement) -> None:
        """Show an image ``(qY, qX)`` over its stack."""
        now = time.monotonic()
        if now - self._drawn < _INTERVAL_S:
            return
        self._drawn = now
        # the user may have deleted the layer
        if self._layer is not None and self._layer in self._viewer.layers:
            self._layer.data = image
            self._layer.contrast_limits = layers.robust_limits(image)
            return
        from napari.layers import Image

        data, keywords, _ = layers.image_layer(
            image,
            upsampling,
            placement,
            name="preview",
            metadata={layers.METADATA_KEY: {}},
            blending="additive",
        )
        self._layer = self._viewer.add_layer(Image(data, **keywords))

    def remove(self) -> None:
        """Remove the layer."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = None
        self._drawn = 0.0
