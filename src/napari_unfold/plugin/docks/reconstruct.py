"""The dock widget *Unfold: reconstruct*."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qtpy.QtGui import QHideEvent
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton

from napari_unfold.errors import UnfoldError
from napari_unfold.jobs import Checkpoint, Event, Job, Preview
from napari_unfold.plugin import layers, viewing
from napari_unfold.plugin.forms.folder_run import FolderRunWindow
from napari_unfold.plugin.forms.recipe_form import RecipeForm
from napari_unfold.plugin.forms.rows import sentence
from napari_unfold.plugin.preset_store import store
from napari_unfold.plugin.psf_layer import gaussian_image, psf_layer
from napari_unfold.plugin.remember import LastSettings, load_last_settings, save_last_settings
from napari_unfold.plugin.result_files import ResultFiles
from napari_unfold.plugin.running.loading import load
from napari_unfold.plugin.running.panel import duration
from napari_unfold.plugin.running.stack_dock import StackDock
from napari_unfold.plugin.trial import Trial
from napari_unfold.plugin.views.preview import LivePreview

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

    from napari_unfold.estimation.learn_psf_width import LearnedWidth
    from napari_unfold.files.records import Repeat
    from napari_unfold.reconstruction.result import Reconstruction
    from napari_unfold.settings.recipe import Recipe


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

    title = "Unfold: reconstruct"

    def __init__(self, napari_viewer: ViewerModel) -> None:
        form = RecipeForm(store.presets())
        super().__init__(napari_viewer, form, "Reconstruct and localize the chosen frames")
        self.form = form
        self._run: _Run
        self._learned_on: tuple[layers.Placement, int, float]
        self._learned_layers: list[Layer] = []
        self._finish: Callable[[], Job[Reconstruction]] | None = None
        self._keeps_finished = self._is_trial = False
        self._ended_early = ""  # or how a run ended whose finished frames are a result
        self._preview = LivePreview(napari_viewer)
        self.trial = Trial(napari_viewer)
        self.try_button = QPushButton("Try here")
        self.try_button.setToolTip(
            "<qt>Unfold what is in view of the current frame: molecules in circles, what the model "
            "makes of them, and what it leaves. Zoom in first if the frames are large.</qt>"
        )
        self.folder_button = QPushButton("Run on a folder…")
        self.folder_button.setToolTip(
            "<qt>Reconstruct all stacks of a folder with these settings, in the background.</qt>"
        )
        self.folder_run = FolderRunWindow(self._settings_for_all, self)
        self.preview_box = QCheckBox("Live preview")
        self.all_frames_box = QCheckBox("Points of all frames")
        self.results = ResultFiles(napari_viewer, self)
        self._lay_out_all()
        self._restore()
        self.all_frames_box.toggled.connect(self._show_all_frames)
        self.try_button.clicked.connect(self.try_here)
        self.folder_button.clicked.connect(self.folder_run.show)
        self.results.said.connect(self.panel.show_summary)
        self.results.failed.connect(self._fail)
        self.results.loaded.connect(self.repeat)
        self.form.learned_psf.requested.connect(self.learn_psf)
        self.form.learned_psf.learned.connect(self._show_learned_psf)
        store.changed.connect(self._list_presets)
        self._on_layer()

    def repeat(self, earlier: Repeat) -> None:
        """Show the settings of an earlier run; the same stack then gives the same numbers."""
        self.form.set_value(earlier.recipe, earlier.preset)
        if earlier.frames is not None:
            self.stack.frames_row.editor.set_value(earlier.frames)
        chosen = self.form.preset()
        missing = earlier.preset != (None if chosen is None else chosen.name)
        self.panel.show_summary(
            f"The preset '{earlier.preset}' of that run is not on this computer."
            if missing
            else "The settings of that run are shown; Run repeats it."
        )

    def try_here(self) -> None:
        """Unfold the visible part of the current frame."""

        def job() -> Job[Any]:
            layer = self.stack.need_layer()
            recipe = self.value()
            self._run = self._described(layer, recipe.optics.pixel_size_nm)
            self._finish, self._is_trial = None, True
            return self.trial.job(
                layer, recipe, self.form.preset(), self.stack.frames(), self.form.device()
            )

        self._start(job)

    def learn_psf(self) -> None:
        """Learn the width of the PSF from the stack, in the background; offer it."""
        panel = self.form.learned_psf
        try:
            layer, recipe = self.stack.need_layer(), self.value()
            stack = layers.stack_of_layer(layer, recipe.optics.pixel_size_nm)
            placement = self._in_nm(layer, recipe.optics.pixel_size_nm)
            self._learned_on = placement, stack.shape[2], recipe.optics.pixel_size_nm
            panel.start(_learning(stack, recipe, self.stack.frames()))
        except UnfoldError as error:
            panel.show_error(sentence(error))

    def cancel(self) -> None:
        """Ask the running job to stop; the frames that are finished are kept."""
        self._keeps_finished = True
        super().cancel()

    # ---- a run, from start to end

    def _prepare(self) -> Job[Any]:
        layer = self.stack.need_layer()
        recipe = self.value()
        stack = layers.stack_of_layer(layer, recipe.optics.pixel_size_nm)
        frames = self.stack.frames()
        self._finish, self._keeps_finished, self._ended_early = None, False, ""
        self._is_trial = False
        self._run = self._described(layer, recipe.optics.pixel_size_nm)
        return _reconstruction(
            stack,
            recipe,
            self.form.preset(),
            frames=frames,
            device=self.form.device(),
            save_frames=self.form.save_frames(),
        )

    def _settings_for_all(self) -> tuple[Recipe, str | None, str]:
        preset = self.form.preset()
        return self.value(), None if preset is None else preset.name, self.form.device()

    def _described(self, layer: Image, pixel_size: float) -> _Run:
        height = layers.stack_of_layer(layer).shape[1]
        placement = self._in_nm(layer, pixel_size)
        return _Run(placement, self.stack.frames(), height, time.monotonic())

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Checkpoint):
            self._finish = event.value
        elif not isinstance(event, Preview):
            super()._on_event(event)
        elif self.preview_box.isChecked():
            upsampling = event.image.shape[0] // self._run.height
            self._preview.show(event.image, upsampling, self._run.placement)

    def _before_end(self) -> None:
        self._preview.remove()

    def _show_cancelled(self) -> None:
        if not self._keeps_finished or not self._keep_finished("cancelled"):
            super()._show_cancelled()

    def _show_failed(self, error: UnfoldError) -> None:
        super()._show_failed(error)
        self._keep_finished("failed")

    def _keep_finished(self, ended: str) -> bool:
        """Start to make a result of the frames that are finished; return whether there are any."""
        finish, self._finish = self._finish, None
        if finish is None:
            return False
        self._ended_early = ended
        self.runner.start(finish())
        return True

    def _show_result(self, result: Any) -> None:
        if self._is_trial:
            self.panel.show_summary(self.trial.show(result, self._run.placement))
        else:
            self._show_reconstruction(result)

    def _show_reconstruction(self, result: Reconstruction) -> None:
        placement, frames = self._run.placement, slice(*result.record["stack"]["frames"])
        if self._ended_early:
            of_frames = f"{placement.name}, frames {frames.start} to {frames.stop - 1}"
            placement = replace(placement, name=of_frames)
        self.results.offer(result, placement.name)
        points = layers.localization_layer(result, placement)
        molecules = layers.molecule_layers(result, placement)
        image, width = layers.reconstruction_layer(result, placement), result.background.shape[1]
        psf = result.record["psf"]
        beside = psf_layer(
            result.psf, result.upsampling, psf["sigma_nm"], psf["source"], placement, width,
            record=result.record,
        )  # fmt: skip
        shown, *_ = viewing.add_in_pieces(self._viewer, (image, beside, *molecules, points))
        viewing.show_what_is_beside(self._viewer, shown)
        viewing.go_to_frames(self._viewer, frames, placement)
        self._show_all_frames(self.all_frames_box.isChecked())
        verdict = result.record["verdict"]["summary"]
        kept = f" ({self._ended_early}, the finished frames are kept)" if self._ended_early else ""
        self.panel.forget_note(verdict)
        self.panel.show_summary(
            f"'{placement.name}': {len(result.localizations):,} localizations in "
            f"{frames.stop - frames.start:,} frames, "
            f"{duration(time.monotonic() - self._run.started)}{kept}\n{verdict}"
        )

    def _show_learned_psf(self, learned: LearnedWidth) -> None:
        if learned.sigma_px is None:
            return
        placement, width, pixel_nm = self._learned_on
        q, sigma = self.form.upsampling_row.editor.value, learned.sigma_px.value
        q = q if isinstance(q, int) else 4
        made = psf_layer(
            gaussian_image(sigma, q), q, sigma * pixel_nm, "learned", placement, width, row=1
        )
        for earlier in self._learned_layers:
            if earlier in self._viewer.layers:
                self._viewer.layers.remove(earlier)
        self._learned_layers = viewing.add_in_pieces(self._viewer, [made])
        viewing.show_what_is_beside(self._viewer, self.stack.need_layer())

    # ---- results

    def _show_all_frames(self, everything: bool) -> None:
        frames = self._viewer.dims.range[-3].stop if self._viewer.dims.ndim > 2 else 0
        viewing.show_frames_around(self._viewer, float(frames + 1) if everything else 0.0)

    def _on_layer(self) -> None:
        self.form.learned_psf.clear()
        super()._on_layer()

    def _refresh(self, *_: object) -> None:
        super()._refresh()
        self.form.learned_psf.set_available(self.stack.layer() is not None)
        self.try_button.setEnabled(self.panel.run_button.isEnabled())

    def _forget_results(self) -> None:
        super()._forget_results()
        self.trial.forget()

    # ---- presets, and the memory of the last session

    def _list_presets(self) -> None:
        self.form.set_presets(store.presets())

    def _restore(self) -> None:
        last = load_last_settings()
        if last is not None:
            self.form.set_value(last.recipe, last.preset)
            self.form.pixel_row.editor.set_value(last.pixel_size_nm)
            self.form.device_row.editor.set_value(last.device)

    def _remember(self) -> None:
        recipe, preset = self.form.own_value(), self.form.preset()
        pixel_size = self.form.own_pixel_size()
        if recipe is None:
            return
        save_last_settings(
            LastSettings(
                recipe=recipe,
                preset=None if preset is None else preset.name,
                device=self.form.device(),
                pixel_size_nm=pixel_size if isinstance(pixel_size, float) else None,
            )
        )

    # ---- Qt

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802
        """Keep usable settings; a running job goes on."""
        if not self.form.errors():
            self._remember()
        super().hideEvent(event)

    def _lay_out_all(self) -> None:
        outer = self._lay_out(self.stack, self.form)
        outer.addWidget(self.trial.strip)
        for widgets in (
            (self.try_button, self.folder_button),
            (self.preview_box, self.all_frames_box),
        ):
            row = QHBoxLayout()
            row.setContentsMargins(6, 0, 6, 0)
            for widget in widgets:
                row.addWidget(widget)
            row.addStretch(1)
            outer.addLayout(row)
        outer.addWidget(self.results)


def _learning(*args: Any) -> Job[Any]:
    """Learn the PSF, with the slow import of PyTorch in the background thread too."""
    yield from load("napari_unfold.estimation.learn_psf_width")
    from napari_unfold.estimation.learn_psf_width import learn_psf_width

    return (yield from learn_psf_width(*args))


def _reconstruction(*args: Any, **keywords: Any) -> Job[Any]:
    """Reconstruct, with the slow import of PyTorch in the background thread too."""
    yield from load("napari_unfold.reconstruction.reconstruct")
    from napari_unfold.reconstruction.reconstruct import reconstruct

    return (yield from reconstruct(*args, **keywords))
