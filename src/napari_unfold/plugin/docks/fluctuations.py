"""The dock widget *Unfold: fluctuations*."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_unfold.jobs import Event, Job, Metric, Metrics, Preview
from napari_unfold.plugin import layers, viewing
from napari_unfold.plugin.forms.fluctuation_form import FluctuationForm
from napari_unfold.plugin.psf_layer import gaussian_image, psf_layer
from napari_unfold.plugin.remember import load_last_settings
from napari_unfold.plugin.running.loading import load
from napari_unfold.plugin.running.panel import duration
from napari_unfold.plugin.running.stack_dock import StackDock
from napari_unfold.plugin.views.preview import LivePreview
from napari_unfold.plugin.views.training_plot import TrainingPlot, titled
from napari_unfold.settings.microscope import FWHM_PER_SIGMA

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_unfold.fluctuation.sharpened import FluctuationResult

SOURCES = {"data": "from the data", "learned": "learned", "settings": "as entered"}

PLOTS = {
    "Loss": {"training loss": "#4c9be8", "validation loss": "#f0903c"},
    "PSF sigma (nm)": {"PSF sigma": "#e05a5a", "of the data": "#868c96"},
}


@dataclass(frozen=True)
class _Run:
    """What a running job works on, whatever happens to the form and the layers meanwhile."""

    placement: layers.Placement
    shape: tuple[int, int]
    pixel_size_nm: float
    started: float


class FluctuationsWidget(StackDock):
    """Sharpen a stack of fluctuating emitters; its PSF need not be known.

    Parameters
    ----------
    napari_viewer : napari.components.ViewerModel
        The viewer whose layers are offered and to which the results are added.
    """

    title = "Unfold: fluctuations"

    def __init__(self, napari_viewer: ViewerModel) -> None:
        form = FluctuationForm()
        super().__init__(napari_viewer, form, "Sharpen the variance of the chosen frames over time")
        self.form = form
        self._run: _Run
        self._preview = LivePreview(napari_viewer)
        self.plot = TrainingPlot(plots=PLOTS)
        self.plot.follow_theme(napari_viewer)
        self._lay_out(self.stack, form).addWidget(self.plot)
        last = load_last_settings()
        if last is not None:
            form.set_acquisition(last.recipe)
            form.pixel_row.editor.set_value(last.pixel_size_nm)
        self._on_layer()

    # ---- a run, from start to end

    def _prepare(self) -> Job[Any]:
        layer = self.stack.need_layer()
        recipe, settings = self.value(), self.form.fluctuation_value()
        stack = layers.stack_of_layer(layer, recipe.optics.pixel_size_nm)
        shape = stack.shape[1], stack.shape[2]
        pixel_nm = recipe.optics.pixel_size_nm
        self._run = _Run(self._in_nm(layer, pixel_nm), shape, pixel_nm, time.monotonic())
        self.plot.clear()
        self.plot.setVisible(settings.learning_steps > 0)
        return _sharpening(
            stack, recipe, settings, frames=self.stack.frames(), device=self.form.device()
        )

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Metric):
            self.plot.add(event.iteration, self._numbers(event.values))
        elif isinstance(event, Preview):
            upsampling = event.image.shape[0] // self._run.shape[0]
            self._preview.show(event.image, upsampling, self._run.placement)
        else:
            super()._on_event(event)

    def _numbers(self, metrics: Metrics) -> dict[str, float]:
        if metrics.psf_sigma_px is None:
            return titled(metrics)
        sigma_nm = metrics.psf_sigma_px * self._run.pixel_size_nm
        return {**titled(metrics), "PSF sigma": sigma_nm}

    def _forget_results(self) -> None:
        super()._forget_results()
        self.plot.clear()

    def _before_end(self) -> None:
        self._preview.remove()

    def _show_result(self, result: FluctuationResult) -> None:
        made = fluctuation_layers(result, self._run.placement, self._run.shape[1])
        shown, *_ = viewing.add_in_pieces(self._viewer, made)
        viewing.show_what_is_beside(self._viewer, shown)
        if result.data_sigma_nm is not None:
            for step in range(len(result.history)):
                self.plot.add(step, {"of the data": result.data_sigma_nm})
        taken = duration(time.monotonic() - self._run.started)
        self.panel.show_summary(f"'{self._run.placement.name}': {psf_text(result)}, {taken}")


def psf_text(result: FluctuationResult) -> str:
    """Say which PSF was used, and beside it what else is known of it."""
    text = f"PSF FWHM {result.fwhm_nm:.0f} nm, {SOURCES[result.settings.psf_from]}"
    others = []
    if result.settings.psf_from != "data" and result.data_sigma_nm is not None:
        others.append(f"{FWHM_PER_SIGMA * result.data_sigma_nm:.0f} nm from the data")
    if result.settings.psf_from != "learned" and result.learned_sigma_nm is not None:
        others.append(f"{FWHM_PER_SIGMA * result.learned_sigma_nm:.0f} nm learned")
    return f"{text} ({', '.join(others)})" if others else text


def fluctuation_layers(
    result: FluctuationResult, placement: layers.Placement, stack_width: int
) -> list[layers.LayerData]:
    """Layer data of mean, variance and reconstruction over the stack, and of its PSF beside it.

    A PSF that was learned but not used lies below the one that was.
    """
    metadata = {layers.METADATA_KEY: result.record}
    q, used = result.upsampling, SOURCES[result.settings.psf_from]
    made = [
        layers.image_layer(
            result.mean, 1, placement, name=f"{placement.name} mean", metadata=metadata,
            colormap="gray",
        ),
        layers.image_layer(
            result.variance, 1, placement, name=f"{placement.name} variance", metadata=metadata,
            visible=False,
        ),
        layers.image_layer(
            result.reconstruction, q, placement,
            name=f"{placement.name} unfolded {result.settings.image}", metadata=metadata,
        ),
        psf_layer(
            result.psf, q, result.sigma_nm, used, placement, stack_width, record=result.record
        ),
    ]  # fmt: skip
    learned_nm = result.learned_sigma_nm
    if learned_nm is not None and result.settings.psf_from != "learned":
        learned = gaussian_image(learned_nm / result.pixel_size_nm, q)
        made.append(
            psf_layer(
                learned, q, learned_nm, "learned", placement, stack_width,
                row=1, record=result.record,
            )
        )  # fmt: skip
    return made


def _sharpening(*args: Any, **keywords: Any) -> Job[Any]:
    """Sharpen, with the slow import of PyTorch in the background thread too."""
    yield from load("napari_unfold.fluctuation.sharpen")
    from napari_unfold.fluctuation.sharpen import unfold_fluctuations

    return (yield from unfold_fluctuations(*args, **keywords))
