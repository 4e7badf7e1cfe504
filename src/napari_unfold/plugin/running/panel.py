"""Run and Cancel, the progress, and what there is to say about a job."""

from __future__ import annotations

import time

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_unfold.jobs import Event, Note, Progress, Stage
from napari_unfold.plugin.forms.rows import ERROR_STYLE, HINT_STYLE, message_label
from napari_unfold.plugin.running.runner import State

_BAR_STEPS = 1000


class JobPanel(QWidget):
    """Buttons and progress of one job; it shows what it is told and decides nothing.

    Parameters
    ----------
    run_tooltip : str
        What Run does.

    Signals
    -------
    run_clicked, cancel_clicked
    """

    run_clicked = Signal()
    cancel_clicked = Signal()

    def __init__(self, run_tooltip: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.run_tooltip = run_tooltip
        self.run_button = QPushButton("Run")
        self.cancel_button = QPushButton("Cancel")
        self.bar = QProgressBar()
        self.stage = QLabel()
        self.notes = message_label(HINT_STYLE)
        self.error = message_label(ERROR_STYLE)
        self.summary = message_label("")
        self._stage_text, self._stage_start = "", 0.0
        self.run_button.clicked.connect(self.run_clicked)
        self.cancel_button.clicked.connect(self.cancel_clicked)
        self._lay_out()
        self.show_state("idle", reason="")

    def show_state(self, state: State, reason: str) -> None:
        """Set buttons and progress to `state`; `reason` says why Run is not possible."""
        running = state != "idle"
        self.run_button.setEnabled(not running and not reason)
        self.run_button.setToolTip(reason or self.run_tooltip)
        self.cancel_button.setEnabled(state == "running")
        self.cancel_button.setText("Cancelling…" if state == "cancelling" else "Cancel")
        self.bar.setVisible(running)
        self.stage.setVisible(running)

    def clear(self) -> None:
        """Forget the previous job."""
        self.bar.setRange(0, _BAR_STEPS)
        self.stage.setText("Starting")
        for label in (self.notes, self.error, self.summary):
            _show(label, "")

    def show_event(self, event: Event) -> None:
        """Show a stage, a progress or a note."""
        if isinstance(event, Stage):
            self._stage_text, self._stage_start = event.text, time.monotonic()
            self.stage.setText(event.text)
            self.bar.setRange(0, _BAR_STEPS)
        elif isinstance(event, Progress):
            self.bar.setRange(0, _BAR_STEPS)
            self.bar.setValue(round(_BAR_STEPS * event.done / max(event.total, 1)))
            self.stage.setText(self._stage_text + self._remaining(event))
        elif isinstance(event, Note):
            _show(self.notes, "\n".join(filter(None, [self.notes.text(), event.text])))

    def show_error(self, text: str) -> None:
        """Show `text` in red, or nothing."""
        _show(self.error, text)

    def forget_note(self, text: str) -> None:
        """Take a note away that is said elsewhere."""
        kept = [line for line in self.notes.text().split("\n") if line != text]
        _show(self.notes, "\n".join(kept))

    def show_summary(self, text: str) -> None:
        """Show how the job ended."""
        _show(self.summary, text)

    def _remaining(self, progress: Progress) -> str:
        elapsed = time.monotonic() - self._stage_start
        if not 0 < progress.done < progress.total or elapsed < 1:
            return ""
        seconds = elapsed / progress.done * (progress.total - progress.done)
        return f", {duration(seconds)} left"

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self.run_button, 2)
        buttons.addWidget(self.cancel_button, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 4, 6, 4)
        column.setSpacing(4)
        column.addLayout(buttons)
        for widget in (self.bar, self.stage, self.error, self.summary, self.notes):
            column.addWidget(widget)


def duration(seconds: float) -> str:
    """Return a duration in words short enough for a status line."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def _show(label: QLabel, text: str) -> None:
    label.setText(text)
    label.setVisible(bool(text))
