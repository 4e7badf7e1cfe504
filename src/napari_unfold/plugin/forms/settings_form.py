"""What the forms of all jobs share: the microscope, the checks, and the place of an error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_unfold.errors import InputError, UnfoldError
from napari_unfold.imaging.camera import unknown_type
from napari_unfold.jobs import Device
from napari_unfold.plugin.forms.estimate_panel import EstimatePanel
from napari_unfold.plugin.forms.pixel_hint import PixelHint
from napari_unfold.plugin.forms.psf import PsfEdit
from napari_unfold.plugin.forms.rows import (
    Row,
    SectionForm,
    choice_of,
    row_for,
    section_form,
    sentence,
)
from napari_unfold.settings.explain import checked
from napari_unfold.settings.microscope import EXCESS_NOISE, Background, Camera, Optics
from napari_unfold.settings.recipe import Recipe

_ACQUISITION = {"optics", "camera"}


class SettingsForm(QWidget):
    """Optics, camera, background and device, to which each job adds sections of its own.

    Everything is checked by the model while it is typed.

    Signals
    -------
    changed
        After every change of any setting.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.optics = section_form("optics", Optics, "Optics", only=["pixel_size_nm"])
        self.pixel_row = self.optics.rows[0]
        self.pixel_row.editor.set_value(None)
        self.pixel_row.editor.native.setPlaceholderText("e.g. 100")
        self.pixel_hint = PixelHint()
        self.optics.add_full_width(self.pixel_hint)
        self.psf_row = Row(
            "optics.psf_sigma_nm",
            "PSF",
            PsfEdit(),
            "<qt>Width of the point spread function: the image of one molecule. "
            "FWHM = 2.355 sigma; about half the wavelength over the numerical aperture.</qt>",
        )
        self.optics.add_row(self.psf_row)
        self.camera = section_form("camera", Camera, "Camera")
        camera_rows = list(self.camera.rows)
        self._camera_row = {row.key.partition(".")[2]: row for row in camera_rows}
        self._camera_row["type"].changed.connect(self._on_camera_type)
        self.background_row = row_for("background", "photons", Background.model_fields["photons"])
        self.camera.add_row(self.background_row)
        self.device_row = Row(
            "device",
            "Device",
            choice_of(Device),
            "<qt>Where to compute: 'auto' takes a GPU if there is one.</qt>",
        )
        self.sections: list[SectionForm] = []
        self._own: dict[Row, Any] = {}
        """What the user has entered, while a sample is shown."""
        self._own_pixel_size: Any = None
        self._pixel_size_is_the_layers = False
        self.pixel_row.changed.connect(self._on_pixel_size)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        self.add_sections(self.optics, self.camera)
        self.estimates = EstimatePanel(self.pixel_row, self.psf_row, camera_rows)
        column.addWidget(self.estimates)
        self._show_excess_noise()

    def add_sections(self, *sections: SectionForm) -> None:
        """Add sections at the bottom."""
        for section in sections:
            self.layout().addWidget(section)
            section.changed.connect(self._on_changed)
            self.sections.append(section)

    @property
    def rows(self) -> list[Row]:
        """All settings."""
        return [row for section in self.sections for row in section.rows]

    def value(self) -> Recipe:
        """Return the settings.

        Raises
        ------
        InputError
            Naming the first setting that is missing or cannot be used.
        """
        for error in self.errors():
            raise error
        raw = self.raw()
        return validated({name: raw[name] for name in Recipe.model_fields if name in raw})

    def raw(self) -> dict[str, dict[str, Any]]:
        """Return what stands in all rows, by section, usable or not."""
        raw: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            for section, values in raw_of(row).items():
                raw.setdefault(section, {}).update(values)
        return raw

    def errors(self) -> list[InputError]:
        """Return what is wrong, one entry for each setting that is missing or unusable."""
        found = []
        for row in self.rows:
            try:
                self.check(row)
            except InputError as error:
                found.append(error)
        camera = self.estimates.camera()
        if camera.known_excess_noise is None:
            found.append(unknown_type(camera))
        if not found:
            # what concerns two settings together
            try:
                pixel, psf = raw_of(self.pixel_row)["optics"], raw_of(self.psf_row)["optics"]
                validated({"optics": {**pixel, **psf}})
            except InputError as error:
                found.append(error)
        return found

    def check(self, row: Row) -> None:
        """Raise an `InputError` if a row holds no usable value, taken by itself."""
        check_presence(row)
        # the PSF is judged together with the pixel size
        if row is not self.psf_row:
            validated(raw_of(row))

    def set_value(self, recipe: Recipe) -> None:
        """Show `recipe`, as far as the form has a row for its settings."""
        self._show(recipe, set(Recipe.model_fields))

    def set_acquisition(self, recipe: Recipe) -> None:
        """Show the optics and the camera of `recipe`, and leave all else."""
        self._show(recipe, _ACQUISITION)

    def show_sample(self, recipe: Recipe | None) -> None:
        """Show optics and camera of a sample; None for the user's own, as they were before."""
        if recipe is not None:
            self._own = self._own or {
                row: row.editor.value
                for row in self._acquisition_rows()
                if row is not self.pixel_row
            }
            self.adopt_pixel_size(recipe.optics.pixel_size_nm)
            self.set_acquisition(recipe)
            self._pixel_size_is_the_layers = True
            return
        own, self._own = self._own, {}
        for row, value in own.items():
            row.editor.set_value(Optics.model_construct(**value) if row is self.psf_row else value)
        self._show_excess_noise()

    def adopt_pixel_size(self, known_nm: float | None) -> None:
        """Show the pixel size that a layer states; None for what the user has entered."""
        own = self.own_pixel_size()
        if known_nm is not None:
            self.pixel_row.editor.set_value(known_nm)
        elif self._pixel_size_is_the_layers:
            self.pixel_row.editor.set_value(own)
        self._own_pixel_size = own
        self._pixel_size_is_the_layers = known_nm is not None

    def own_pixel_size(self) -> Any:
        """Return the pixel size that the user has entered, whatever the layer says; or None."""
        is_layers = self._pixel_size_is_the_layers
        return self._own_pixel_size if is_layers else self.pixel_row.editor.value

    def own_value(self) -> Recipe | None:
        """Return the settings with the user's own microscope, or None if they are not usable."""
        raw = self.raw()
        for row, value in self._own.items():
            section, _, name = row.key.partition(".")
            raw[section].pop(name, None)
            values = value if isinstance(value, dict) else {name: value}
            raw[section].update({name: v for name, v in values.items() if v is not None})
        if isinstance(own := self.own_pixel_size(), float):
            raw["optics"]["pixel_size_nm"] = own
        try:
            return validated({name: raw[name] for name in Recipe.model_fields if name in raw})
        except InputError:
            return None

    def device(self) -> Device:
        """Return the chosen device."""
        device: Device = self.device_row.editor.value
        return device

    def show_errors(self, errors: Iterable[UnfoldError]) -> list[UnfoldError]:
        """Show each error beside its setting, unfolded; return those that have no place here."""
        texts: dict[Row, str] = {}
        homeless = []
        for error in errors:
            row = self._row_of(error)
            if row is None:
                homeless.append(error)
            else:
                texts.setdefault(row, sentence(error))
        for section in self.sections:
            for row in section.rows:
                row.show_error(texts.get(row, ""))
            if not section.isExpanded() and texts.keys() & set(section.rows):
                section.expand(animate=False)
        return homeless

    def _show(self, recipe: Recipe, sections: set[str]) -> None:
        for row in self.rows:
            section, _, name = row.key.partition(".")
            if section not in sections:
                continue
            if row is self.psf_row:
                row.editor.set_value(recipe.optics)
            else:
                row.editor.set_value(getattr(getattr(recipe, section), name))
        self._show_excess_noise()

    def _acquisition_rows(self) -> list[Row]:
        return [row for row in self.rows if row.key.partition(".")[0] in _ACQUISITION]

    def _on_pixel_size(self) -> None:
        # typed, unless `adopt_pixel_size` says otherwise
        self._pixel_size_is_the_layers = False

    def _row_of(self, error: UnfoldError) -> Row | None:
        owners = [row for row in self.rows if row.owns(error)]
        if owners:
            return owners[0]
        if error.field == Optics.section_name():  # PSF and pixel size together
            return self.psf_row
        # an error of another section as a whole stands under its last setting
        name = (error.field or "").split(".")[0]
        section = [row for row in self.rows if row.key.split(".")[0] == name]
        return section[-1] if section else None

    def _on_camera_type(self) -> None:
        # which tells the excess noise, unless it is another one
        if self._camera_row["type"].editor.value in EXCESS_NOISE:
            self._camera_row["excess_noise"].editor.set_value(None)
        self._show_excess_noise()

    def _show_excess_noise(self) -> None:
        row, kind = self._camera_row["excess_noise"], self._camera_row["type"].editor.value
        row.show(kind == "other" or row.editor.value not in (None, EXCESS_NOISE.get(kind)))

    def _on_changed(self) -> None:
        self.estimates.refresh()
        self.changed.emit()


def raw_of(row: Row) -> dict[str, dict[str, Any]]:
    """Return what stands in a row as raw values of a section; nothing for rows of the form."""
    section, _, name = row.key.partition(".")
    if not name:
        return {}
    value = row.editor.value
    values = value if isinstance(value, dict) else {name: value}
    return {section: {name: value for name, value in values.items() if value is not None}}


def check_presence(row: Row) -> None:
    """Raise an `InputError` if there is nothing in a row, or words in the place of a number."""
    for values in raw_of(row).values():
        if not values and not row.may_be_empty:
            unit = f" in {row.unit.text()}" if row.unit.text() else ""
            remedy = row.editor.remedy if isinstance(row.editor, PsfEdit) else f"Enter it{unit}"
            raise InputError(f"{row.title} is missing", remedy, field=row.key)
    text = getattr(row.editor, "text_instead_of_number", lambda: None)()
    if text:
        raise InputError(f"'{text}' is not a number", "Use digits and a decimal point", row.key)


def validated(raw: dict[str, Any]) -> Recipe:
    """Return raw values as a `Recipe`; raises `InputError` if one is out of range."""
    return checked(Recipe, raw)
