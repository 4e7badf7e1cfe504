"""The dock widget *Unfold: train*."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QHBoxLayout, QPushButton

from napari_unfold.errors import InputError, UnfoldError
from napari_unfold.jobs import Checkpoint, Event, Job, Metric, Preview
from napari_unfold.plugin import layers
from napari_unfold.plugin.forms.rows import show_beside
from napari_unfold.plugin.forms.save_preset import SavePresetDialog
from napari_unfold.plugin.forms.train_form import TrainForm
from napari_unfold.plugin.forms.training_data import TrainingData
from napari_unfold.plugin.preset_store import store
from napari_unfold.plugin.remember import load_last_settings
from napari_unfold.plugin.running.loading import load
from napari_unfold.plugin.running.panel import duration
from napari_unfold.plugin.running.runner import Outcome
from napari_unfold.plugin.running.stack_dock import StackDock
from napari_unfold.plugin.sample_data import simulation_placement
from napari_unfold.plugin.views.comparison import Comparison, beside
from napari_unfold.plugin.views.preview import LivePreview
from napari_unfold.plugin.views.training_plot import TrainingPlot, titled

if TYPE_CHECKING:
    import numpy as np
    from napari.components import ViewerModel

    from napari_unfold.files.presets import Preset
    from napari_unfold.files.stacks import Stack
    from napari_unfold.learning.adapt import Adapted
    from napari_unfold.learning.learn import Learned
    from napari_unfold.settings.recipe import Recipe

_PRESET_NAME = "my-microscope"
"""Until the user gives it another."""


@dataclass(frozen=True)
class _Run:
    """What a running training works on, whatever happens to the form and the layers meanwhile."""

    placement: layers.Placement
    stack_width: int
    upsampling: int
    started: float


class TrainWidget(StackDock):
    """Learn a preset for one's own microscope, and save it for *Unfold: reconstruct*.

    Parameters
    ----------
    napari_viewer : napari.components.ViewerModel
        The viewer whose layers are offered, and in which what was learned is shown.
    """

    title = "Unfold: train"

    def __init__(self, napari_viewer: ViewerModel) -> None:
        form = TrainForm()
        super().__init__(napari_viewer, form, "Learn the parameters of the network")
        self.form = form
        self._run: _Run
        self._has_preview = self._is_adaptation = False
        self.learned: Learned | None = None
        self._preview = LivePreview(napari_viewer)
        self._comparison = Comparison(napari_viewer)
        self.data = TrainingData(napari_viewer, self.stack)
        self.plot = TrainingPlot()
        self.plot.follow_theme(napari_viewer)
        self.save_button = QPushButton("Save preset…")
        self.save_button.setToolTip(
            "<qt>Keep what was learned; it is then offered in 'Unfold: reconstruct'.</qt>"
        )
        self.adapt_button = QPushButton("Adapt to my stack")
        self.adapt_button.setToolTip(
            "<qt>Simulate frames like those of the stack in all that can be estimated (density, "
            "brightness, on-times, background, camera, PSF), learn from them, and compare the "
            "result with the shipped preset. Takes minutes; of the settings of the training "
            "none is used.</qt>"
        )
        self.dialog: SavePresetDialog | None = None
        self._lay_out_all()
        self._restore()
        self._offer_starts()
        self.data.changed.connect(self._on_edited)
        self.save_button.clicked.connect(self.save_preset)
        self.adapt_button.clicked.connect(self.adapt)
        store.changed.connect(self._offer_starts)
        self._on_layer()

    def save_preset(self) -> None:
        """Ask for a name, and save what was learned."""
        if self.learned is None:
            return
        self.dialog = SavePresetDialog(self.learned.preset, self)
        self.dialog.saved.connect(self._on_saved)
        self.dialog.open()

    # ---- a run, from start to end

    def adapt(self) -> None:
        """Learn a preset for the chosen stack, and compare it with the shipped one."""
        if not self.data.needs_stack():
            self.data.source_row.editor.set_value("like a stack")
        self._start(self._prepare_adaptation)

    def _prepare(self) -> Job[Any]:
        recipe, training = self.value(), self.form.training_value()
        self._is_adaptation = False
        stack = self._begin(recipe, needs_stack=self.data.needs_stack())
        return _training(
            recipe,
            training,
            name=_PRESET_NAME,
            stack=stack,
            truth=self.data.truth(recipe.optics.pixel_size_nm),
            frames=self.stack.frames() if stack is not None else slice(None),
            resume=self.form.start(),
            device=self.form.device(),
        )

    def _prepare_adaptation(self) -> Job[Any]:
        recipe = self.value()
        self._is_adaptation = True
        return _adaptation(
            self._begin(recipe, needs_stack=True),
            recipe,
            name=_PRESET_NAME,
            frames=self.stack.frames(),
            device=self.form.device(),
        )

    def _begin(self, recipe: Recipe, needs_stack: bool) -> Stack | None:
        """Forget what was learned before, and return the stack to learn from, if it is needed."""
        pixel_size = recipe.optics.pixel_size_nm
        stack, width, placement = None, 0, simulation_placement("simulation", pixel_size)
        if needs_stack:
            layer = self.stack.need_layer()
            stack = layers.stack_of_layer(layer, pixel_size)
            width, placement = stack.shape[2], self._in_nm(layer, pixel_size)
        self._run = _Run(placement, width, recipe.solver.upsampling, time.monotonic())
        self.learned, self._has_preview = None, False
        self.plot.clear()
        return stack

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Metric):
            self.plot.add(event.iteration, titled(event.values))
        elif isinstance(event, Checkpoint):
            self.learned = event.value
        elif isinstance(event, Preview):
            self._show_preview(event.image)
        else:
            super()._on_event(event)

    def _show_preview(self, image: np.ndarray) -> None:
        run = self._run
        # not over the stack: it shows another, simulated frame
        place = beside(run.placement, run.stack_width, 0, image.shape[1] / run.upsampling)
        self._preview.show(image, run.upsampling, place)
        if not self._has_preview:
            self._has_preview = True
            self._viewer.reset_view()  # the place may be out of sight

    def _before_end(self) -> None:
        self._preview.remove()

    def _show_result(self, result: Any) -> None:
        if self._is_adaptation:
            self._show_adapted(result)
        else:
            self._show_learned(result, "")

    def _show_adapted(self, adapted: Adapted) -> None:
        self._show_learned(adapted.learned, "")
        taken = duration(time.monotonic() - self._run.started)
        self.panel.show_summary(f"<qt>{adapted.verdict} ({taken}).{_as_text(adapted)}</qt>")

    def _show_cancelled(self) -> None:
        if self.learned is None or len(self.learned.history) < 2:
            self.learned = None
            self.panel.show_summary("Cancelled before anything was learned.")
        else:
            self._show_learned(self.learned, "Cancelled; the best so far is kept. ")

    def _on_ended(self, outcome: Outcome) -> None:
        super()._on_ended(outcome)
        if outcome.kind == "failed" and self.learned is not None and self.learned.history[1:]:
            self._show_learned(self.learned, "The best before the error is kept. ")
            self._refresh()

    def _offer_starts(self) -> None:
        last = [] if self.learned is None else [_titled(self.learned.preset)]
        self.form.set_starts([*last, *store.presets()])

    def _show_learned(self, learned: Learned, how: str) -> None:
        self.learned = learned
        self._comparison.show(learned, self._run.placement, self._run.stack_width)
        taken = duration(time.monotonic() - self._run.started)
        self._offer_starts()
        self.panel.show_summary(f"{how}{_gain(learned)}, {taken}")

    def _on_saved(self, title: str, path: str) -> None:
        self.panel.show_summary(
            f"Saved. 'Unfold: reconstruct' now offers the preset '{title}' ({path})."
        )

    # ---- the state of the form

    def _list_layers(self) -> None:
        super()._list_layers()
        self.data.reset_choices()

    def _refresh(self, *_: object) -> None:
        super()._refresh()
        idle = self.runner.state == "idle"
        self.save_button.setEnabled(idle and self.learned is not None)
        ready = self.stack.layer() is not None and not self.settings.errors()
        self.adapt_button.setEnabled(idle and ready)

    def _forget_results(self) -> None:
        super()._forget_results()
        # what was learned can still be saved, and says by its name what it is
        self.plot.clear()

    def _input_errors(self) -> list[InputError]:
        errors = super()._input_errors() if self.data.needs_stack() else []
        try:
            self.data.check()
        except InputError as error:
            errors.append(error)
        return errors

    def _show_errors(self, errors: list[UnfoldError]) -> None:
        super()._show_errors(errors)
        show_beside(self.data.rows, errors)

    def _on_edited(self) -> None:
        self.form.set_data(self.data.needs_stack(), self.data.source() == "truth")
        super()._on_edited()

    def _restore(self) -> None:
        last = load_last_settings()
        if last is not None:
            self.form.set_acquisition(last.recipe)
            self.form.pixel_row.editor.set_value(last.pixel_size_nm)
        if self.stack.layer() is None:
            self.data.source_row.editor.set_value("simulation")

    # ---- looks

    def _lay_out_all(self) -> None:
        outer = self._lay_out(self.data, self.form)
        outer.addWidget(self.plot)
        buttons = QHBoxLayout()
        buttons.setContentsMargins(6, 0, 6, 4)
        buttons.addWidget(self.adapt_button)
        buttons.addStretch(1)
        buttons.addWidget(self.save_button)
        outer.addLayout(buttons)


def _titled(preset: Preset) -> Preset:
    return preset.model_copy(update={"title": "What was learned last"})


def _gain(learned: Learned) -> str:
    """Return in words what was gained in the frames that were held out."""
    start, best = learned.history[0], learned.history[learned.best]
    return (
        f"Held-out frames: Jaccard index {start.jaccard:.3g} → {best.jaccard:.3g}, "
        f"loss {start.validation_loss:.3g} → {best.validation_loss:.3g} "
        f"(step {learned.best} of {len(learned.history) - 1})"
    )


def _as_text(adapted: Adapted) -> str:
    """Return what was compared as a table."""
    head = "".join(f"<th>{title}</th>" for title in ("", "shipped", "adapted"))
    rows = "".join(
        f"<tr><td>{name}</td><td align='right'>{shipped}</td><td align='right'>{own}</td></tr>"
        for name, shipped, own in adapted.rows()
    )
    return f"<table cellpadding=2><tr>{head}</tr>{rows}</table>"


def _training(*args: Any, **keywords: Any) -> Job[Any]:
    """Learn, with the slow import of PyTorch in the background thread too."""
    yield from load("napari_unfold.learning.learn")
    from napari_unfold.learning.learn import learn

    return (yield from learn(*args, **keywords))


def _adaptation(*args: Any, **keywords: Any) -> Job[Any]:
    """Adapt, with the slow import of PyTorch in the background thread too."""
    yield from load("napari_unfold.learning.adapt")
    from napari_unfold.learning.adapt import adapt

    return (yield from adapt(*args, **keywords))
