"""The dock widget *Unfold: reconstruct*."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtGui import QHideEvent
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton

from napari_unfold.jobs import Event, Job, Preview, Stage
from napari_unfold.plugin import layers
from napari_unfold.plugin.export import export_localizations
from napari_unfold.plugin.forms.recipe_form import RecipeForm
from napari_unfold.plugin.preset_store import store
from napari_unfold.plugin.remember import LastSettings, load_last_settings, save_last_settings
from napari_unfold.plugin.running.panel import duration
from napari_unfold.plugin.running.stack_dock import StackDock
from napari_unfold.plugin.views.preview import LivePreview

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_unfold.reconstruction.reconstruct import Reconstruction


@dataclass(frozen=True)
class _Run:
    """What a running job works on, whatever happens to the form and the layers meanwhile."""

    placement: layers.Placement
    frames: slice
    height: int
    started: float


class ReconstructWidget(StackDock):
    """Turn a stack layer into a super-resolved image and a table of localizations.

    Parameters
    ----------
    napari_viewer : napari.components.ViewerModel
        The viewer whose layers are offered and to which the results are added.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        form = RecipeForm(store.presets())
        super().__init__(napari_viewer, form, "Reconstruct and localize the chosen frames")
        self.form = form
        self._run: _Run
        self._preview = LivePreview(napari_viewer)
        self.preview_box = QCheckBox("Live preview")
        self.all_frames_box = QCheckBox("Points of all frames")
        self.export_button = QPushButton("Export…")
        self._lay_out_all()
        self._restore()
        self.all_frames_box.toggled.connect(self._show_all_frames)
        self.export_button.clicked.connect(self._export)
        store.changed.connect(self._list_presets)
        self._on_layer()

    # ---- a run, from start to end

    def _prepare(self) -> Job[Any]:
        layer = self._need_layer()
        recipe = self.value()
        stack = layers.stack_of_layer(layer, recipe.optics.pixel_size_nm)
        frames = self.stack.frames()
        self._run = _Run(layers.Placement.of(layer), frames, stack.shape[1], time.monotonic())
        return _reconstruction(
            stack,
            recipe,
            self.form.preset(),
            frames=frames,
            device=self.form.device(),
            save_frames=self.form.save_frames(),
        )

    def _on_event(self, event: Event) -> None:
        if not isinstance(event, Preview):
            super()._on_event(event)
        elif self.preview_box.isChecked():
            upsampling = event.image.shape[0] // self._run.height
            self._preview.show(event.image, upsampling, self._run.placement)

    def _before_end(self) -> None:
        self._preview.remove()

    def _show_result(self, result: Reconstruction) -> None:
        from napari.layers import Layer

        placement, frames = self._run.placement, self._run.frames
        points = layers.localization_layer(result, placement)
        molecules = layers.molecule_layers(result, placement)
        for data in (layers.reconstruction_layer(result, placement), *molecules, points):
            self._viewer.add_layer(Layer.create(*data))
        layers.go_to_frames(self._viewer, frames, placement)
        self._show_all_frames(self.all_frames_box.isChecked())
        self.panel.show_summary(
            f"{len(result.localizations):,} localizations in "
            f"{frames.stop - frames.start:,} frames, "
            f"{duration(time.monotonic() - self._run.started)}\n"
            f"{result.record['verdict']['summary']}"
        )

    # ---- results

    def _show_all_frames(self, everything: bool) -> None:
        frames = self._viewer.dims.range[-3].stop if self._viewer.dims.ndim > 2 else 0
        layers.show_frames_around(self._viewer, float(frames + 1) if everything else 0.0)

    def _export(self) -> None:
        self._do(lambda: export_localizations(self._viewer, parent=self))

    # ---- presets, and the memory of the last session

    def _list_presets(self) -> None:
        self.form.set_presets(store.presets())

    def _restore(self) -> None:
        last = load_last_settings()
        if last is not None:
            self.form.set_value(last.recipe, last.preset)
            self.form.device_row.editor.set_value(last.device)

    def _remember(self) -> None:
        preset = self.form.preset()
        save_last_settings(
            LastSettings(
                recipe=self.value(),
                preset=None if preset is None else preset.name,
                device=self.form.device(),
            )
        )

    # ---- Qt

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802
        """Keep usable settings; a running job goes on."""
        if not self.form.errors():
            self._remember()
        super().hideEvent(event)

    def _lay_out_all(self) -> None:
        options = QHBoxLayout()
        options.setContentsMargins(6, 0, 6, 0)
        for widget in (self.preview_box, self.all_frames_box):
            options.addWidget(widget)
        options.addStretch(1)
        options.addWidget(self.export_button)
        self._lay_out(self.stack, self.form).addLayout(options)


def _reconstruction(*args: Any, **keywords: Any) -> Job[Any]:
    """Reconstruct, with the slow import of PyTorch in the background thread too."""
    yield Stage("Loading PyTorch")
    from napari_unfold.reconstruction.reconstruct import reconstruct

    return (yield from reconstruct(*args, **keywords))
