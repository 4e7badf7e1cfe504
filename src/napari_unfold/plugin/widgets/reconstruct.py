"""The dock widget *Unfold: reconstruct*."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QHideEvent, QResizeEvent, QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_unfold.jobs import Event, InputError, Job, Preview, Stage, UnfoldError
from napari_unfold.plugin import layers
from napari_unfold.plugin.widgets.export import export_localizations
from napari_unfold.plugin.widgets.form import sentence
from napari_unfold.plugin.widgets.job_panel import JobPanel, duration
from napari_unfold.plugin.widgets.job_runner import JobRunner, Outcome
from napari_unfold.plugin.widgets.pixel_hint import stated_pixel_size
from napari_unfold.plugin.widgets.preview import LivePreview
from napari_unfold.plugin.widgets.recipe_form import RecipeForm
from napari_unfold.plugin.widgets.remember import (
    LastSettings,
    load_last_settings,
    save_last_settings,
)
from napari_unfold.plugin.widgets.stack_picker import StackPicker
from napari_unfold.recipe import Recipe

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_unfold.analysis.reconstruct import Reconstruction


@dataclass(frozen=True)
class _Run:
    """What a running job works on, whatever happens to the form and the layers meanwhile."""

    placement: layers.Placement
    frames: slice
    height: int
    started: float


class ReconstructWidget(QWidget):
    """Turn a stack layer into a super-resolved image and a table of localizations.

    Parameters
    ----------
    napari_viewer : napari.components.ViewerModel
        The viewer whose layers are offered and to which the results are added.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__()
        from napari_unfold.files.presets import list_presets

        self._viewer = napari_viewer
        self._run: _Run
        self._job_error: UnfoldError | None = None
        self._preview = LivePreview(napari_viewer)
        self._followed: Image | None = None

        self.runner = JobRunner(self)
        self.stack = StackPicker(napari_viewer)
        self.form = RecipeForm(list_presets())
        self.panel = JobPanel()
        self.preview_box = QCheckBox("Live preview")
        self.all_frames_box = QCheckBox("Points of all frames")
        self.export_button = QPushButton("Export CSV…")
        self._lay_out()
        self._restore()
        self._connect()
        self._on_layer()

    # ---- what other code may ask and tell

    def value(self) -> Recipe:
        """Return the settings; raises `InputError` if one is missing or cannot be used."""
        return self.form.value()

    def set_value(self, recipe: Recipe) -> None:
        """Show `recipe`."""
        self.form.set_value(recipe)

    def reset_choices(self, *_: object) -> None:
        """List the layers anew; napari calls this whenever its layer list changes."""
        self.stack.reset_choices()
        self._refresh()

    def run(self) -> None:
        """Start the reconstruction."""
        self.panel.clear()
        self._job_error = None
        try:
            job = self._prepare()
            self.runner.start(job)
        except UnfoldError as error:
            self._fail(error)
            return
        self._remember()
        self._refresh()

    def cancel(self) -> None:
        """Ask the running reconstruction to stop."""
        self.runner.cancel()
        self._refresh()

    # ---- a run, from start to end

    def _prepare(self) -> Job:
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
            self.panel.show_event(event)
        elif self.preview_box.isChecked():
            upsampling = event.image.shape[0] // self._run.height
            self._preview.show(event.image, upsampling, self._run.placement)

    def _on_ended(self, outcome: Outcome) -> None:
        self._preview.remove()
        if outcome.kind == "done":
            self._show_result(outcome.value)
        elif outcome.kind == "cancelled":
            self.panel.show_summary("Cancelled. Nothing was changed.")
        elif outcome.error is not None:
            self._fail(outcome.error)
        self._refresh()

    def _show_result(self, result: Reconstruction) -> None:
        from napari.layers import Layer

        placement, frames = self._run.placement, self._run.frames
        points = layers.localization_layer(result, placement)
        for data in (layers.reconstruction_layer(result, placement), points):
            self._viewer.add_layer(Layer.create(*data))
        layers.go_to_frames(self._viewer, frames, placement)
        self._show_all_frames(self.all_frames_box.isChecked())
        self.panel.show_summary(
            f"{len(result.localizations):,} localizations in "
            f"{frames.stop - frames.start:,} frames, "
            f"{duration(time.monotonic() - self._run.started)}"
        )

    def _fail(self, error: UnfoldError) -> None:
        self._job_error = error
        show_error(sentence(error))
        self._refresh()

    # ---- the state of the form, derived in one place

    def _refresh(self, *_: object) -> None:
        blocking = self._input_errors()
        shown = [*([self._job_error] if self._job_error else []), *blocking]
        elsewhere = self.form.show_errors(shown)
        of_stack = [e for e in elsewhere if e.field == "stack"]
        self.stack.layer_row.show_error(sentence(of_stack[0]) if of_stack else "")
        # what went wrong in a run is said beside the buttons too: the setting may be out of sight
        self.panel.show_error(sentence(self._job_error) if self._job_error else "")
        reason = " ".join(sentence(error) for error in blocking)
        self.panel.show_state(self.runner.state, reason)
        self.form.pixel_hint.show_for(self.stack.layer(), self.form.pixel_row.editor.value())

    def _input_errors(self) -> list[InputError]:
        errors = self.form.errors()
        try:
            layers.stack_of_layer(self._need_layer())
        except InputError as error:
            errors.insert(0, error)
        return errors

    def _need_layer(self) -> Image:
        layer = self.stack.layer()
        if layer is None:
            raise InputError(
                "there is no frame stack yet",
                "Open a file, or choose File > Open Sample > napari-unfold",
                field="stack",
            )
        return layer

    def _on_edited(self) -> None:
        self._job_error = None
        self._refresh()

    def _on_layer(self) -> None:
        if self._followed is not None:
            self._followed.events.scale.disconnect(self._adopt_pixel_size)
            self._followed.events.units.disconnect(self._adopt_pixel_size)
        self._followed = self.stack.layer()
        if self._followed is not None:
            self._followed.events.scale.connect(self._adopt_pixel_size)
            self._followed.events.units.connect(self._adopt_pixel_size)
            known = layers.acquisition_of(self._followed)
            if known is not None:
                self.form.set_acquisition(known)
        self._adopt_pixel_size()

    def _adopt_pixel_size(self, *_: object) -> None:
        known = stated_pixel_size(self.stack.layer())
        if known is not None:
            self.form.pixel_row.editor.set_value(known)
        self._on_edited()

    # ---- results

    def _show_all_frames(self, everything: bool) -> None:
        frames = self._viewer.dims.range[-3].stop if self._viewer.dims.ndim > 2 else 0
        layers.show_frames_around(self._viewer, float(frames + 1) if everything else 0.0)

    def _export(self) -> None:
        try:
            text = export_localizations(self._viewer, parent=self)
        except UnfoldError as error:
            self._fail(error)
            return
        if text:
            self.panel.show_summary(text)

    # ---- memory of the last session

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

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        """Catch up with what happened to the layers while the widget was hidden."""
        self.reset_choices()
        super().showEvent(event)

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802
        """Keep usable settings; a running job goes on."""
        if not self.form.errors():
            self._remember()
        super().hideEvent(event)

    def _connect(self) -> None:
        self.runner.event.connect(self._on_event)
        self.runner.ended.connect(self._on_ended)
        self.stack.layer_changed.connect(self._on_layer)
        self.stack.changed.connect(self._on_edited)
        self.form.changed.connect(self._on_edited)
        self.panel.run_clicked.connect(self.run)
        self.panel.cancel_clicked.connect(self.cancel)
        self.form.pixel_hint.applied.connect(self._viewer.reset_view)
        self.all_frames_box.toggled.connect(self._show_all_frames)
        self.export_button.clicked.connect(self._export)

    def _lay_out(self) -> None:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(4, 4, 4, 4)
        column.setSpacing(2)
        column.addWidget(self.stack)
        column.addWidget(self.form)
        column.addStretch(1)
        area = _VerticalScrollArea()
        area.setWidget(inner)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(2)
        outer.addWidget(area, 1)
        options = QHBoxLayout()
        options.setContentsMargins(6, 0, 6, 0)
        for widget in (self.preview_box, self.all_frames_box):
            options.addWidget(widget)
        options.addStretch(1)
        options.addWidget(self.export_button)
        outer.addWidget(self.panel)
        outer.addLayout(options)


class _VerticalScrollArea(QScrollArea):
    """A scroll area as wide as its content needs, so that nothing is cut off at the right."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        bar = self.verticalScrollBar().sizeHint().width()
        return QSize(self.widget().minimumSizeHint().width() + bar, 120)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        # a style sheet that came later may have made the content wider
        self.updateGeometry()


def _reconstruction(*args: Any, **keywords: Any) -> Job:
    """Reconstruct, with the slow import of PyTorch in the background thread too."""
    yield Stage("Loading PyTorch")
    from napari_unfold.analysis.reconstruct import reconstruct

    yield from reconstruct(*args, **keywords)
