"""The editor of the point spread function: a Gaussian by FWHM or sigma, or a bead image."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QStackedWidget, QVBoxLayout, QWidget

from napari_unfold.plugin.forms.editors import ChoiceEdit, NumberEdit, PathEdit, number_text
from napari_unfold.settings.microscope import FWHM_PER_SIGMA, Optics

_SIGMAS = {"fwhm": FWHM_PER_SIGMA, "sigma": 1.0}


class PsfEdit(QWidget):
    """Width of a Gaussian PSF as FWHM or sigma, or the file of a measured one.

    Changing from FWHM to sigma and back restores what was typed, digit for digit.
    """

    changed = Signal()
    remedy = (
        "Enter its full width at half maximum (FWHM) or its sigma, or choose the image of a bead"
    )

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kind = ChoiceEdit({"FWHM": "fwhm", "Sigma": "sigma", "Bead image": "image"})
        self.kind.setMinimumContentsLength(5)
        self.width = NumberEdit()
        self.width.setPlaceholderText("e.g. 260")
        self.image = PathEdit()
        self.image_pixel = NumberEdit()
        self.image_pixel.setPlaceholderText("its pixel")
        self._typed = ("fwhm", "")
        self._lay_out()
        self.kind.changed.connect(self._on_kind)
        self.width.textEdited.connect(self._remember)
        for editor in (self.width, self.image, self.image_pixel):
            editor.changed.connect(self.changed)

    def value(self) -> dict[str, Any]:
        """Return the raw optics fields that describe the PSF."""
        if self.kind.value() == "image":
            return {
                "psf_image": self.image.value(),
                "psf_image_pixel_nm": self.image_pixel.value(),
            }
        kind, text = self._typed
        width = _number(text)
        return {"psf_sigma_nm": width / _SIGMAS[kind] if isinstance(width, float) else width}

    def text_instead_of_number(self) -> str | None:
        """Return what was typed if it should be a number and is none."""
        texts = [value for value in self.value().values() if isinstance(value, str)]
        return texts[0] if texts else None

    def set_value(self, optics: Optics) -> None:
        """Show the PSF of `optics`, its width in the kind chosen at present."""
        if optics.psf_image is not None:
            self.kind.set_value("image")
        elif self.kind.value() == "image":
            self.kind.set_value("fwhm")
        self.image.set_value(optics.psf_image)
        self.image_pixel.set_value(optics.psf_image_pixel_nm)
        kind, sigma = self.kind.value(), optics.psf_sigma_nm
        if sigma is None or kind == "image":
            self._typed = ("sigma", "" if sigma is None else number_text(sigma))
        elif sigma != self.value().get("psf_sigma_nm"):
            # a width that was typed as FWHM is shown as typed, not as 257.99999999999994
            short = f"{sigma * _SIGMAS[kind]:.7g}"
            exact = float(short) / _SIGMAS[kind] == sigma
            self._typed = (kind, short) if exact else ("sigma", number_text(sigma))
        self._show_width()
        self.changed.emit()

    def _on_kind(self) -> None:
        self._pages.setCurrentIndex(1 if self.kind.value() == "image" else 0)
        self._show_width()
        self.changed.emit()

    def _remember(self, text: str) -> None:
        self._typed = (self.kind.value(), text)

    def _show_width(self) -> None:
        shown = self.kind.value()
        if shown == "image":
            return
        kind, text = self._typed
        width = _number(text)
        if isinstance(width, float) and shown != kind:
            text = f"{width * _SIGMAS[shown] / _SIGMAS[kind]:.6g}"
        self.width.setText(text)

    def _lay_out(self) -> None:
        gaussian, bead = QWidget(), QWidget()
        row = QHBoxLayout(gaussian)
        row.addWidget(self.width, 1)
        row.addWidget(QLabel("nm"))
        column = QVBoxLayout(bead)
        pixel_row = QHBoxLayout()
        pixel_row.addWidget(self.image_pixel, 1)
        pixel_row.addWidget(QLabel("nm"))
        column.addWidget(self.image)
        column.addLayout(pixel_row)
        self._pages = _SmallStack()
        for page in (gaussian, bead):
            page.layout().setContentsMargins(0, 0, 0, 0)
            page.layout().setSpacing(4)
            self._pages.addWidget(page)
        outer = QHBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(4)
        outer.addWidget(self.kind, 1)
        outer.addWidget(self._pages, 1)


class _SmallStack(QStackedWidget):
    """A stack of pages as tall as the page it shows, not as the tallest."""

    def sizeHint(self) -> Any:  # noqa: N802
        return self.currentWidget().sizeHint()

    def minimumSizeHint(self) -> Any:  # noqa: N802
        return self.currentWidget().minimumSizeHint()

    def setCurrentIndex(self, index: int) -> None:  # noqa: N802
        super().setCurrentIndex(index)
        self.updateGeometry()


def _number(text: str) -> float | str | None:
    try:
        return float(text)
    except ValueError:
        return text.strip() or None
