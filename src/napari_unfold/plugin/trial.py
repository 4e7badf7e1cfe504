"""*Try here*: what a run would find in the part of a frame that is in view."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unfold.jobs import Job
from napari_unfold.plugin import layers, viewing
from napari_unfold.plugin.running.loading import load
from napari_unfold.plugin.running.panel import duration
from napari_unfold.plugin.views.strip import Strip

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

    from napari_unfold.files.presets import Preset
    from napari_unfold.files.stacks import Stack
    from napari_unfold.jobs import Device
    from napari_unfold.reconstruction.look import Look
    from napari_unfold.reconstruction.try_here import Tried
    from napari_unfold.settings.recipe import Recipe

_LEAST_PIXELS = 16
"""A smaller view is widened to it."""


class Trial:
    """The layers of the latest try, and what is known of the stack it was made on.

    Parameters
    ----------
    viewer : napari.components.ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layers: list[Layer] = []
        self._known: tuple[Any, Look] | None = None
        self.strip = Strip()
        self.strip.follow_theme(viewer)

    def job(
        self, layer: Image, recipe: Recipe, preset: Preset | None, frames: slice, device: Device
    ) -> Job[Any]:
        """Return the job that unfolds what is in view of the current frame of `layer`."""
        stack = layers.stack_of_layer(layer, recipe.optics.pixel_size_nm)
        key = (layer, frames, recipe.model_dump_json())
        frame, region = frame_in_view(self._viewer, layer), region_in_view(layer)
        return self._tried(stack, key, recipe, preset, frame, region, device)

    def show(self, tried: Tried, placement: layers.Placement) -> str:
        """Show what was found, in the place of an earlier try; return the verdict."""
        made = trial_layers(tried, placement)
        if self._layers and all(layer in self._viewer.layers for layer in self._layers):
            for layer, (data, known, _) in zip(self._layers, made, strict=True):
                _change(layer, data, known)  # much faster than new layers
        else:
            self.forget_layers()
            self._layers = viewing.add_in_pieces(self._viewer, made)
        self.strip.show_images(tried.raw, tried.model, tried.residual)
        rows, columns = tried.region
        return (
            f"{len(tried.localizations)} molecules in {columns.stop - columns.start} x "
            f"{rows.stop - rows.start} pixels of frame {tried.frame}.\n"
            f"{tried.verdict.summary}.\n"
            f"A run over all frames takes up to about {duration(tried.run_seconds)}."
        )

    def forget_layers(self) -> None:
        """Take away the layers of the latest try, unless the user did."""
        for layer in self._layers:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._layers = []

    def forget(self) -> None:
        """Take away what is shown, and forget the stack."""
        self.forget_layers()
        self.strip.hide()
        self._known = None

    def _tried(
        self,
        stack: Stack,
        key: Any,
        recipe: Recipe,
        preset: Preset | None,
        frame: int,
        region: tuple[slice, slice],
        device: Device,
    ) -> Job[Any]:
        yield from load("napari_unfold.reconstruction.try_here")
        from napari_unfold.reconstruction.look import look
        from napari_unfold.reconstruction.prepare import check_preset
        from napari_unfold.reconstruction.try_here import try_here

        check_preset(preset, recipe)
        if self._known is None or self._known[0] != key:
            # brightness and background come from the whole stack: a few frames mislead
            self._known = (key, (yield from look(stack, recipe, key[1])))
        return (yield from try_here(self._known[1], preset, frame, region, device))


def frame_in_view(viewer: ViewerModel, layer: Image) -> int:
    """Return the number of the frame that is shown, from 0."""
    count = layer.data.shape[-3] if not layer.multiscale else layer.data[0].shape[-3]
    point = np.asarray(viewer.dims.point, dtype=float)[-layer.ndim :]
    return int(np.clip(round(float(layer.world_to_data(point)[-3])), 0, count - 1))


def region_in_view(layer: Image) -> tuple[slice, slice]:
    """Return rows and columns in view; all of them where that is not known."""
    data = layer.data[0] if layer.multiscale else layer.data
    parts = []
    for axis, size in ((-2, data.shape[-2]), (-1, data.shape[-1])):
        start, stop = sorted(int(corner) for corner in layer.corner_pixels[:, axis])
        start, stop = max(start, 0), min(stop + 1, size)
        missing = max(min(_LEAST_PIXELS, size) - (stop - start), 0)
        if stop - start <= 1:
            start, stop = 0, size
        elif missing:
            start = min(max(start - missing // 2, 0), size - min(_LEAST_PIXELS, size))
            stop = start + min(_LEAST_PIXELS, size)
        parts.append(slice(start, stop))
    return parts[0], parts[1]


def _change(layer: Layer, data: np.ndarray, known: dict[str, Any]) -> None:
    layer.data = data
    for name in ("translate", "features", "contrast_limits", "metadata"):
        if name in known:
            setattr(layer, name, known[name])


def trial_layers(tried: Tried, placement: layers.Placement) -> list[layers.LayerData]:
    """Layer data of model and residual, hidden, and of circles around the molecules."""
    rows, columns = tried.region
    offset = placement.scale * (0, rows.start, columns.start)
    place = replace(placement, translate=placement.moved(offset))
    limits = tuple(float(x) for x in np.percentile(tried.raw, (0.5, 99.8)))
    metadata = {layers.METADATA_KEY: {"frame": tried.frame}}
    common = {"metadata": metadata, "visible": False, "blending": "translucent"}
    pixel_size = float(tried.pixel_size_nm)
    return [
        layers.image_layer(
            tried.model, 1, place, name="try: model (photons)", colormap="gray",
            **{**common, "contrast_limits": limits},
        ),
        layers.image_layer(
            tried.residual, 1, place, name="try: residual (in units of the noise)",
            colormap="RdBu", **{**common, "contrast_limits": (-5.0, 5.0)},
        ),
        layers.points_layer(
            tried.localizations, placement, pixel_size, name="try: molecules", metadata=metadata,
        ),
    ]  # fmt: skip
