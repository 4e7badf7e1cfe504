"""The form of a whole `Recipe`, with the choice of a preset and of the device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_unfold.jobs import Device, InputError, UnfoldError
from napari_unfold.plugin.widgets.editors import ChoiceEdit, PathEdit
from napari_unfold.plugin.widgets.form import (
    HINT_STYLE,
    Row,
    SectionForm,
    message_label,
    row_for,
    section_form,
    sentence,
)
from napari_unfold.plugin.widgets.pixel_hint import PixelHint
from napari_unfold.plugin.widgets.psf import PsfEdit
from napari_unfold.recipe import (
    Background,
    Camera,
    Localization,
    Optics,
    Recipe,
    Solver,
    explain,
)

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unfold.files.presets import Preset

UNTRAINED = "Untrained (classical)"
_UNTRAINED_TEXT = "Fixed step sizes and weights from theory; penalty and iterations as below."


class RecipeForm(QWidget):
    """All settings of a reconstruction, checked by the model while they are typed.

    Signals
    -------
    changed
        After every change of any setting.
    """

    changed = Signal()

    def __init__(self, presets: list[Preset], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._presets = {preset.name: preset for preset in presets}
        self.optics = section_form("optics", Optics, "Optics", only=["pixel_size_nm"])
        self.pixel_row = self.optics.rows[0]
        self.pixel_row.editor.set_value(None)
        self.pixel_row.editor.setPlaceholderText("e.g. 100")
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
        self.camera.add_row(row_for("background", "photons", Background.model_fields["photons"]))
        self._build_method()
        self._build_advanced()
        self.sections = [self.optics, self.camera, self.method, self.advanced]
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        for section in self.sections:
            column.addWidget(section)
            section.changed.connect(self._on_changed)
        if self._presets:
            self.preset_row.editor.setCurrentIndex(1)
        self._on_changed()

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
        raw: dict[str, Any] = {}
        for row in self.rows:
            for section, values in _raw(row).items():
                raw.setdefault(section, {}).update(values)
        return _validated(raw)

    def errors(self) -> list[InputError]:
        """Return what is wrong, one entry for each setting that is missing or unusable."""
        found = []
        for row in self.rows:
            try:
                _check(row)
            except InputError as error:
                found.append(error)
        if not found:
            # what concerns two settings together
            try:
                pixel, psf = _raw(self.pixel_row)["optics"], _raw(self.psf_row)["optics"]
                _validated({"optics": {**pixel, **psf}})
            except InputError as error:
                found.append(error)
        return found

    def set_value(self, recipe: Recipe, preset: str | None = None) -> None:
        """Show `recipe`, and choose the preset of that name, or the classical network."""
        # first, since choosing a preset changes other settings
        self.fidelity_row.editor.set_value(recipe.solver.fidelity)
        self.preset_row.editor.set_value(preset)
        for row in self.rows:
            section, _, name = row.key.partition(".")
            if row is self.psf_row:
                row.editor.set_value(recipe.optics)
            elif name:
                row.editor.set_value(getattr(getattr(recipe, section), name))

    def set_acquisition(self, recipe: Recipe) -> None:
        """Show the optics and the camera of `recipe`, and leave all else."""
        self.psf_row.editor.set_value(recipe.optics)
        for row in self.rows:
            section, _, name = row.key.partition(".")
            if section in ("optics", "camera") and row is not self.psf_row:
                row.editor.set_value(getattr(getattr(recipe, section), name))

    def preset(self) -> Preset | None:
        """Return the chosen preset, or None for the classical network."""
        return self._presets.get(self.preset_row.editor.value())

    def device(self) -> Device:
        """Return the chosen device."""
        device: Device = self.device_row.editor.value()
        return device

    def save_frames(self) -> Path | None:
        """Return the file for the single reconstructed frames, or None."""
        path: Path | None = self.frames_row.editor.value()
        return path

    def show_errors(self, errors: Iterable[UnfoldError]) -> list[UnfoldError]:
        """Show each error beside its setting, unfolded; return those that have no place here."""
        texts: dict[Row, str] = {}
        homeless = []
        for error in errors:
            row = self._row_of(error.field or "")
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

    def _row_of(self, field: str) -> Row | None:
        for row in self.rows:
            if field == row.key or field.startswith(f"{row.key}."):
                return row
        # an error of a section as a whole stands under its last setting
        section = [row for row in self.rows if row.key.split(".")[0] == field.split(".")[0]]
        return section[-1] if section else None

    def _build_method(self) -> None:
        fields = Solver.model_fields
        self.preset_row = Row(
            "preset",
            "Preset",
            ChoiceEdit({UNTRAINED: None}),
            "<qt>Learned parameters of the unfolded network. They are rescaled to the brightness "
            "of your molecules.</qt>",
        )
        self.fidelity_row = row_for("solver", "fidelity", fields["fidelity"])
        self.upsampling_row = row_for("solver", "upsampling", fields["upsampling"])
        self.method = SectionForm("Method", [self.fidelity_row, self.preset_row])
        self.preset_text = message_label(HINT_STYLE)
        self.preset_text.show()
        self.method.add_full_width(self.preset_text)
        self.method.add_row(self.upsampling_row)
        self.method.add_row(row_for("solver", "molecule_photons", fields["molecule_photons"]))
        self.fidelity_row.changed.connect(self._offer_presets)
        self.preset_row.changed.connect(self._adopt_preset)
        self._offer_presets()

    def _build_advanced(self) -> None:
        fields = Solver.model_fields
        self.classical_rows = [
            row_for("solver", name, fields[name]) for name in ("penalty", "iterations")
        ]
        self.localization_rows = [
            row_for("localization", n, f) for n, f in Localization.model_fields.items()
        ]
        self.device_row = Row(
            "device",
            "Device",
            ChoiceEdit({"auto": "auto", "CPU": "cpu", "NVIDIA GPU (CUDA)": "cuda"}),
            "<qt>Where to compute: 'auto' takes a GPU if there is one.</qt>",
        )
        self.frames_row = Row(
            "save_frames",
            "Save frames",
            PathEdit(save=True),
            "<qt>TIFF file to which every reconstructed frame is written as it comes; "
            "empty to keep only their mean.</qt>",
        )
        self.frames_row.editor.edit.setPlaceholderText("not saved")
        rows = [*self.classical_rows, *self.localization_rows, self.device_row, self.frames_row]
        self.advanced = SectionForm("Advanced", rows, expanded=False)

    def _offer_presets(self) -> None:
        fidelity = self.fidelity_row.editor.value()
        fitting = {p.title: p.name for p in self._presets.values() if fidelity in p.networks}
        self.preset_row.editor.set_choices({UNTRAINED: None, **fitting})

    def _adopt_preset(self) -> None:
        preset = self.preset()
        if preset is None:
            return
        self.upsampling_row.editor.set_value(preset.upsampling)
        for row in self.localization_rows:
            row.editor.set_value(getattr(preset.localization, row.key.partition(".")[2]))

    def _on_changed(self) -> None:
        preset = self.preset()
        for row in self.classical_rows:
            row.set_enabled(preset is None)
        self.preset_text.setText(_UNTRAINED_TEXT if preset is None else preset.description)
        self.preset_text.setToolTip("" if preset is None else _provenance(preset))
        self.changed.emit()


def _provenance(preset: Preset) -> str:
    """Where a preset comes from and how well it did, as a tool tip."""
    rows = "".join(f"<li>{s.data}: {s.metric} {s.value:.3g}</li>" for s in preset.scores)
    return f"<qt><p>{preset.trained_on}</p><ul>{rows}</ul></qt>"


def _raw(row: Row) -> dict[str, dict[str, Any]]:
    """Return what stands in a row as raw values of a section; nothing for rows of the form."""
    section, _, name = row.key.partition(".")
    if not name:
        return {}
    value = row.editor.value()
    values = value if isinstance(value, dict) else {name: value}
    return {section: {name: value for name, value in values.items() if value is not None}}


def _check(row: Row) -> None:
    """Raise an `InputError` if a row holds no usable value, taken by itself."""
    for values in _raw(row).values():
        if not values:
            unit = f" in {row.unit.text()}" if row.unit.text() else ""
            remedy = row.editor.remedy if isinstance(row.editor, PsfEdit) else f"Enter it{unit}"
            raise InputError(f"{row.title} is missing", remedy, field=row.key)
    text = getattr(row.editor, "text_instead_of_number", lambda: None)()
    if text:
        raise InputError(f"'{text}' is not a number", "Use digits and a decimal point", row.key)
    # the PSF is judged together with the pixel size
    if not isinstance(row.editor, PsfEdit):
        _validated(_raw(row))


def _validated(raw: dict[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise explain(error) from error
