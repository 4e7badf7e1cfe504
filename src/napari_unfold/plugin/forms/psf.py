"""The editor of the point spread function: a Gaussian by FWHM or sigma, or a bead image."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import Container, Label
from magicgui.widgets.bases import ValuedContainerWidget

from napari_unfold.plugin.forms.editors import (
    ChoiceEdit,
    NumberEdit,
    PathEdit,
    number_or_text,
    number_text,
    tighten,
)
from napari_unfold.settings.microscope import FWHM_PER_SIGMA, Optics

_SIGMAS = {"fwhm": FWHM_PER_SIGMA, "sigma": 1.0}
_KINDS = (("FWHM", "fwhm"), ("Sigma", "sigma"), ("Bead image", "image"))


class PsfEdit(ValuedContainerWidget[dict[str, Any]]):
    """Width of a Gaussian PSF as FWHM or sigma, or the file of a measured one.

    Changing from FWHM to sigma and back restores what was typed, digit for digit.
    """

    remedy = (
        "Enter its full width at half maximum (FWHM) or its sigma, or choose the image of a bead"
    )

    def __init__(self, **keywords: Any) -> None:
        self.kind = ChoiceEdit(choices=_KINDS)
        self.kind.native.setMinimumContentsLength(5)
        self.width_nm = NumberEdit(placeholder="e.g. 260")
        self.image = PathEdit()
        self.image_pixel = NumberEdit(placeholder="its pixel")
        self._typed = ("fwhm", "")
        self._gaussian = _group("horizontal", self.width_nm, Label(value="nm"))
        pixel = _group("horizontal", self.image_pixel, Label(value="nm"))
        self._bead = _group("vertical", self.image, pixel)
        super().__init__(
            widgets=[self.kind, self._gaussian, self._bead],
            layout="horizontal",
            labels=False,
            **keywords,
        )
        tighten(self)
        for index in range(3):
            self.native.layout().setStretch(index, 1)
        self._on_kind()
        self.kind.changed.connect(self._on_kind)
        self.width_nm.native.textEdited.connect(self._remember)
        for editor in (self.width_nm, self.image, self.image_pixel):
            editor.changed.connect(self._tell)

    def get_value(self) -> dict[str, Any]:
        """Return the raw optics fields that describe the PSF."""
        if self.kind.value == "image":
            return {"psf_image": self.image.value, "psf_image_pixel_nm": self.image_pixel.value}
        kind, text = self._typed
        width = number_or_text(text)
        return {"psf_sigma_nm": width / _SIGMAS[kind] if isinstance(width, float) else width}

    def text_instead_of_number(self) -> str | None:
        """Return what was typed if it should be a number and is none."""
        texts = [value for value in self.value.values() if isinstance(value, str)]
        return texts[0] if texts else None

    def set_value(self, optics: Optics) -> None:
        """Show the PSF of `optics`, its width in the kind chosen at present."""
        if optics.psf_image is not None:
            self.kind.set_value("image")
        elif self.kind.value == "image":
            self.kind.set_value("fwhm")
        self.image.set_value(optics.psf_image)
        self.image_pixel.set_value(optics.psf_image_pixel_nm)
        kind, sigma = self.kind.value, optics.psf_sigma_nm
        if sigma is None or kind == "image":
            self._typed = ("sigma", "" if sigma is None else number_text(sigma))
        elif sigma != self.value.get("psf_sigma_nm"):
            # a width that was typed as FWHM is shown as typed, not as 257.99999999999994
            short = f"{sigma * _SIGMAS[kind]:.7g}"
            exact = float(short) / _SIGMAS[kind] == sigma
            self._typed = (kind, short) if exact else ("sigma", number_text(sigma))
        self._show_width()
        self._tell()

    def _on_kind(self) -> None:
        self._gaussian.visible = self.kind.value != "image"
        self._bead.visible = self.kind.value == "image"
        self._show_width()
        self._tell()

    def _remember(self, text: str) -> None:
        self._typed = (self.kind.value, text)

    def _show_width(self) -> None:
        shown = self.kind.value
        if shown == "image":
            return
        kind, text = self._typed
        width = number_or_text(text)
        if isinstance(width, float) and shown != kind:
            text = f"{width * _SIGMAS[shown] / _SIGMAS[kind]:.6g}"
        self.width_nm.set_value(text)

    def _tell(self) -> None:
        self.changed.emit(self.value)


def _group(layout: str, *widgets: Any) -> Container[Any]:
    group: Container[Any] = Container(widgets=widgets, layout=layout, labels=False)
    tighten(group)
    return group
