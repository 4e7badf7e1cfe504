"""A button that asks the stack something in the background, with what the job tells meanwhile."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QWidget

from napari_unfold.jobs import Event, Job, Progress, Stage
from napari_unfold.plugin.forms.rows import ERROR_STYLE, HINT_STYLE, Row, message_label, sentence
from napari_unfold.plugin.running.runner import JobRunner, Outcome
from napari_unfold.settings.microscope import FWHM_PER_SIGMA, Optics


class StackQuestion(QWidget):
    """The button, the job behind it, and the PSF that its answer may be entered in.

    Parameters
    ----------
    title : str
        Of the job.
    psf_row : Row

    Attributes
    ----------
    answer : object
        What the job brought; None before.

    Signals
    -------
    requested
        The user wants to know; whoever knows the stack calls `start`.
    """

    requested = Signal()

    def __init__(self, title: str, psf_row: Row) -> None:
        super().__init__()
        self._psf = psf_row.editor
        self.answer: Any = None
        self.runner = JobRunner(self, title)
        self.button = QPushButton()
        self.stage, self.error = message_label(HINT_STYLE), message_label(ERROR_STYLE)
        self._stage_text = ""
        self.button.clicked.connect(self._on_button)
        self.runner.event.connect(self._on_event)
        self.runner.ended.connect(self._on_ended)

    def start(self, job: Job[Any]) -> None:
        """Ask in the background and show what that brings."""
        self.clear()
        self._stage_text = "Starting"
        self.runner.start(job)
        self.refresh()

    def clear(self) -> None:
        """Forget the answer, and the one that is on its way."""
        self.runner.cancel()
        self.answer = None
        self.show_error("")
        self.refresh()

    def show_error(self, text: str) -> None:
        """Show `text` in red, or nothing."""
        self.error.setText(text)
        self.error.setVisible(bool(text))

    def set_available(self, available: bool) -> None:
        """Allow to ask, or not."""
        self.button.setEnabled(available or self.runner.state == "running")

    def refresh(self) -> None:
        """Show where the job stands; what is more is up to those who ask."""
        self.stage.setText(self._stage_text)
        self.stage.setVisible(self.runner.state != "idle")

    def _width_per_sigma(self) -> float:
        return 1.0 if self._psf.kind.value == "sigma" else FWHM_PER_SIGMA

    def _enter_psf(self, width_nm: float) -> None:
        # a width that no pixel size allows is shown as such by the form
        sigma_nm = width_nm / self._width_per_sigma()
        self._psf.set_value(Optics.model_construct(psf_sigma_nm=sigma_nm))

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
            self.answer = outcome.value
        elif outcome.error is not None:
            self.show_error(sentence(outcome.error))
        self.refresh()
