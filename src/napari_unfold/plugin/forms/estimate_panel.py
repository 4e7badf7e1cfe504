"""What the stack says about the microscope, offered beside what is entered; applied by a click."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from napari_unfold.jobs import Event, Progress, Stage
from napari_unfold.plugin.forms.rows import HINT_STYLE, Row, message_label
from napari_unfold.plugin.forms.stack_question import StackQuestion
from napari_unfold.settings.microscope import Camera

if TYPE_CHECKING:
    from napari_unfold.estimation.estimate import Estimate
    from napari_unfold.estimation.measured import Measured

_WARNING_COLOR = "#d99a2b"
_BUTTON_TEXT = "Estimate from stack…"
_BUTTON_TOOLTIP = (
    "<qt>Estimate PSF, offset and gain from what changes between neighbouring frames, at any "
    "density of molecules. Nothing is changed until you click <i>Use</i>.</qt>"
)


@dataclass(frozen=True)
class Offer:
    """An estimated value in the unit of its row, and what is entered there."""

    key: str
    title: str
    measured: Measured
    unit: str
    entered: float | None
    tooltip: str
    is_usable: bool = True

    @property
    def in_use(self) -> bool:
        """Whether the value is the one entered, as far as it is shown."""
        return self.entered is not None and (
            abs(self.entered - self.measured.rounded()) < 0.5 * 10.0**-self.measured.decimals
        )

    @property
    def text(self) -> str:
        """The value in words, with a word of warning where the entered one cannot be."""
        text = f"{self.title} <b>{self.measured}</b> {self.unit}"
        if self.entered is not None and self.measured.contradicts(self.entered):
            text += (
                f"<br><span style='color: {_WARNING_COLOR}; font-size: 9pt'>"
                f"differs from the {self.entered:.5g} entered</span>"
            )
        return f"<qt>{text}</qt>"


class EstimatePanel(StackQuestion):
    """A button that asks for an estimate, and the values it brought.

    Parameters
    ----------
    pixel_row, psf_row : Row
        The optics, to compare with and to fill in.
    camera_rows : list of Row
    """

    def __init__(self, pixel_row: Row, psf_row: Row, camera_rows: list[Row]) -> None:
        super().__init__("Estimate from stack", psf_row)
        self._pixel = pixel_row.editor
        self._camera = {row.key.partition(".")[2]: row.editor for row in camera_rows}
        self.all_button = QPushButton("Use all")
        self.notes = message_label(HINT_STYLE)
        self.values: dict[str, QLabel] = {}
        self.use_buttons: dict[str, QPushButton] = {}
        self._lay_out()
        self.all_button.clicked.connect(self.use_all)
        self.refresh()

    @property
    def estimate(self) -> Estimate | None:
        """What the stack told."""
        return self.answer

    def use(self, key: str) -> None:
        """Enter an estimated value in its row."""
        for offer in self.offers():
            if offer.key == key and offer.is_usable:
                self._enter(key, offer.measured.rounded())

    def use_all(self) -> None:
        """Enter all estimated values."""
        for offer in self.offers():
            self.use(offer.key)

    def offers(self) -> list[Offer]:
        """Return what can be offered, given what else is entered."""
        found = self.estimate
        if found is None:
            return []
        psf = [] if found.psf_sigma_px is None else [self._psf_offer(found.psf_sigma_px)]
        if found.transfer is None:
            return psf
        known = self.camera()
        read_noise = known.read_noise_photons or 0.0
        offset = Offer(
            "offset_adu",
            "Offset",
            found.transfer.offset_adu(known),
            "ADU",
            _number(self._camera["offset_adu"].value),
            f"<qt>For a read noise of {read_noise:g} photons.</qt>",
        )
        gain = found.transfer.adu_per_photon(known)
        if gain is None:
            return [*psf, offset]
        return [
            *psf,
            offset,
            Offer(
                "adu_per_photon",
                "Gain",
                gain,
                "ADU/photon",
                _number(self._camera["adu_per_photon"].value),
                f"<qt>A stack shows only gain x excess noise, {found.transfer.slope} ADU/photon; "
                f"divided by the excess noise ({known.known_excess_noise:g}).</qt>",
            ),
        ]

    def camera(self) -> Camera:
        """Return type, excess noise and read noise as entered, as far as they are usable."""
        camera = Camera()
        for name in ("type", "excess_noise", "read_noise_photons"):
            try:
                setattr(camera, name, self._camera[name].value)
            except ValueError:
                continue
        return camera

    def refresh(self) -> None:
        """Compare with what is entered now."""
        super().refresh()
        running = self.runner.state != "idle"
        self.button.setText("Cancel estimate" if running else _BUTTON_TEXT)
        offers = {offer.key: offer for offer in self.offers()}
        for key, label in self.values.items():
            offer, use = offers.get(key), self.use_buttons[key]
            label.setVisible(offer is not None)
            use.setVisible(offer is not None)
            if offer is not None:
                label.setText(offer.text)
                label.setToolTip(offer.tooltip)
                use.setText("In use" if offer.in_use else "Use")
                use.setEnabled(offer.is_usable and not offer.in_use)
        open_offers = [o for o in offers.values() if o.is_usable and not o.in_use]
        self.all_button.setVisible(len(open_offers) > 1)
        notes = self.estimate.notes if self.estimate else ()
        self.notes.setText("\n".join(f"{note}." for note in notes))
        self.notes.setVisible(bool(notes))

    def _psf_offer(self, sigma_px: Measured) -> Offer:
        pixel_nm = _number(self._pixel.value)
        if pixel_nm is None or not pixel_nm > 0:
            tooltip = "<qt>Enter the pixel size to have it in nm.</qt>"
            return Offer("psf", "PSF sigma", sigma_px, "pixels", None, tooltip, is_usable=False)
        sigma_nm = _number(self._psf.value.get("psf_sigma_nm"))
        factor = self._width_per_sigma()
        return Offer(
            "psf",
            "PSF sigma" if factor == 1 else "PSF FWHM",
            sigma_px * (pixel_nm * factor),
            "nm",
            None if sigma_nm is None else sigma_nm * factor,
            "<qt>Of the Gaussian, integrated over pixels, that suits the molecules best.</qt>",
        )

    def _enter(self, key: str, value: float) -> None:
        if key == "psf":
            self._enter_psf(value)
        else:
            self._camera[key].set_value(value)

    def _on_event(self, event: Event) -> None:
        super()._on_event(event)
        if not isinstance(event, Stage | Progress):
            self.stage.setText(self._stage_text)

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(0, 1)
        for line, key in enumerate(("psf", "offset_adu", "adu_per_photon")):
            label, use = message_label(""), QPushButton("Use")
            use.clicked.connect(lambda _=False, key=key: self.use(key))
            self.values[key], self.use_buttons[key] = label, use
            grid.addWidget(label, line, 0)
            grid.addWidget(use, line, 1)
        buttons = QHBoxLayout()
        buttons.addWidget(self.button, 1)
        buttons.addWidget(self.all_button)
        self.button.setToolTip(_BUTTON_TOOLTIP)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 2, 6)
        column.setSpacing(4)
        column.addLayout(buttons)
        for widget in (self.stage, self.error):
            column.addWidget(widget)
        column.addLayout(grid)
        column.addWidget(self.notes)


def _number(value: object) -> float | None:
    return value if isinstance(value, float) else None
