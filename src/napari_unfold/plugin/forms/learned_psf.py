"""The width of the PSF learned from the stack, offered below the one that is entered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout

from napari_unfold.plugin.forms.estimate_panel import Offer
from napari_unfold.plugin.forms.rows import HINT_STYLE, Row, message_label, sentence
from napari_unfold.plugin.forms.stack_question import StackQuestion
from napari_unfold.plugin.running.runner import Outcome

if TYPE_CHECKING:
    from napari_unfold.estimation.learn_psf_width import LearnedWidth

_BUTTON_TEXT = "Learn from this stack…"
_BUTTON_TOOLTIP = (
    "<qt>Find the width of the PSF with which the molecules of this stack foretell pixels that are "
    "hidden from the fit. Takes up to a minute or two. Nothing is changed until you click "
    "<i>Use</i>.</qt>"
)


class LearnedPsf(StackQuestion):
    """A button that asks for the PSF to be learned, and the width that this brought.

    Parameters
    ----------
    pixel_row, psf_row : Row
        The optics, to compare with and to fill in.

    Signals
    -------
    learned
        With what came of it, a `LearnedWidth`.
    """

    learned = Signal(object)

    def __init__(self, pixel_row: Row, psf_row: Row) -> None:
        super().__init__("Learn the PSF from the stack", psf_row)
        self._pixel = pixel_row.editor
        self.button.setToolTip(_BUTTON_TOOLTIP)
        self.use_button = QPushButton("Use")
        self.value = message_label("")
        self.comparison = message_label(HINT_STYLE)
        self._lay_out()
        self.use_button.clicked.connect(self.use)
        self.refresh()

    @property
    def width(self) -> LearnedWidth | None:
        """What was learned."""
        return self.answer

    def use(self) -> None:
        """Enter the learned width."""
        offer = self.offer()
        if offer is not None and offer.is_usable:
            self._enter_psf(offer.measured.rounded())

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
        super().refresh()
        running, width, offer = self.runner.state != "idle", self.width, self.offer()
        self.button.setText("Cancel learning" if running else _BUTTON_TEXT)
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

    def _on_ended(self, outcome: Outcome) -> None:
        super()._on_ended(outcome)
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
