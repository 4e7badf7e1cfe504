"""The width of the PSF learned from the stack, offered below the one that is entered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_unfold.jobs import Event, Job, Progress, Stage
from napari_unfold.plugin.forms.estimate_panel import Offer
from napari_unfold.plugin.forms.rows import ERROR_STYLE, HINT_STYLE, Row, message_label, sentence
from napari_unfold.plugin.running.runner import JobRunner, Outcome
from napari_unfold.settings.microscope import FWHM_PER_SIGMA, Optics

if TYPE_CHECKING:
    from napari_unfold.estimation.learn_psf_width import LearnedWidth

_BUTTON_TEXT = "Learn from this stack…"
_BUTTON_TOOLTIP = (
    "<qt>Find the width of the PSF with which the molecules of this stack foretell pixels that are "
    "hidden from the fit. Takes up to a minute or two. Nothing is changed until you click "
    "<i>Use</i>.</qt>"
)


class LearnedPsf(QWidget):
    """A button that asks for the PSF to be learned, and the width that this brought.

    Parameters
    ----------
    pixel_row, psf_row : Row
        The optics, to compare with and to fill in.

    Signals
    -------
    requested
        The user wants it learned; whoever knows the stack calls `start`.
    learned
        With what came of it, a `LearnedWidth`.
    """

    requested = Signal()
    learned = Signal(object)

    def __init__(self, pixel_row: Row, psf_row: Row) -> None:
        super().__init__()
        self._pixel, self._psf = pixel_row.editor, psf_row.editor
        self.width: LearnedWidth | None = None
        self.runner = JobRunner(self, "Learn the PSF from the stack")
        self.button = QPushButton(_BUTTON_TEXT)
        self.button.setToolTip(_BUTTON_TOOLTIP)
        self.use_button = QPushButton("Use")
        self.value = message_label("")
        self.stage, self.comparison = message_label(HINT_STYLE), message_label(HINT_STYLE)
        self.error = message_label(ERROR_STYLE)
        self._stage_text = ""
        self._lay_out()
        self.button.clicked.connect(self._on_button)
        self.use_button.clicked.connect(self.use)
        self.runner.event.connect(self._on_event)
        self.runner.ended.connect(self._on_ended)
        self.refresh()

    def start(self, job: Job[Any]) -> None:
        """Learn in the background and show what that brings."""
        self.clear()
        self._stage_text = "Starting"
        self.runner.start(job)
        self.refresh()

    def clear(self) -> None:
        """Forget what was learned, and what is being learned."""
        self.runner.cancel()
        self.width = None
        self.show_error("")
        self.refresh()

    def show_error(self, text: str) -> None:
        """Show `text` in red, or nothing."""
        self.error.setText(text)
        self.error.setVisible(bool(text))

    def set_available(self, available: bool) -> None:
        """Allow to ask for it, or not."""
        self.button.setEnabled(available or self.runner.state == "running")

    def use(self) -> None:
        """Enter the learned width."""
        offer = self.offer()
        if offer is not None and offer.is_usable:
            sigma_nm = offer.measured.rounded() / self._width_per_sigma()
            self._psf.set_value(Optics.model_construct(psf_sigma_nm=sigma_nm))

    def offer(self) -> Offer | None:
        """Return what can be offered, given what else is entered."""
        width, pixel_nm = self.width, self._pixel.value
        if width is None or width.sigma_px is None or not isinstance(pixel_nm, float):
            return None
        factor = self._width_per_sigma()
        sigma_nm = self._psf.value.get("psf_sigma_nm")
        return Offer(
            "psf",
            "Learned sigma" if factor == 1 else "Learned FWHM",
            width.sigma_px * (pixel_nm * factor),
            "nm",
            sigma_nm * factor if isinstance(sigma_nm, float) else None,
            "<qt>Of the Gaussian, integrated over pixels, that foretells hidden pixels best.</qt>",
            is_usable=width.doubt is None,
        )

    def refresh(self) -> None:
        """Compare with what is entered now."""
        running, width, offer = self.runner.state != "idle", self.width, self.offer()
        self.button.setText("Cancel learning" if running else _BUTTON_TEXT)
        self.stage.setText(self._stage_text)
        self.stage.setVisible(running)
        self.value.setVisible(offer is not None)
        self.use_button.setVisible(offer is not None and offer.is_usable)
        if offer is not None:
            self.value.setText(offer.text)
            self.value.setToolTip(offer.tooltip)
            self.use_button.setText("In use" if offer.in_use else "Use")
            self.use_button.setEnabled(not offer.in_use)
        said = ""
        if width is not None:
            if offer is not None:
                said = f"{width.comparison(self._pixel.value)}."
            if width.doubt is not None:
                said = f"{said} {sentence(width.doubt)}".strip()
        self.comparison.setText(said)
        self.comparison.setVisible(bool(said))

    def _width_per_sigma(self) -> float:
        return 1.0 if self._psf.kind.value == "sigma" else FWHM_PER_SIGMA

    def _on_button(self) -> None:
        if self.runner.state == "idle":
            self.requested.emit()
        else:
            self.runner.cancel()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Stage):
            self._stage_text = event.text
            self.stage.setText(self._stage_text)
        elif isinstance(event, Progress):
            self.stage.setText(f"{self._stage_text}, {100 * event.done / event.total:.0f} %")

    def _on_ended(self, outcome: Outcome) -> None:
        if outcome.kind == "done":
            self.width = outcome.value
        elif outcome.error is not None:
            self.show_error(sentence(outcome.error))
        self.refresh()
        if self.width is not None:
            self.learned.emit(self.width)

    def _lay_out(self) -> None:
        line = QHBoxLayout()
        line.addWidget(self.value, 1)
        line.addWidget(self.use_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for widget in (self.button, self.stage, self.error):
            column.addWidget(widget)
        column.addLayout(line)
        column.addWidget(self.comparison)
