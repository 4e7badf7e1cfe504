"""The form of a reconstruction: all of a `Recipe`, with the choice of a preset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_unfold.plugin.forms.editors import ChoiceEdit, PathEdit
from napari_unfold.plugin.forms.learned_psf import LearnedPsf
from napari_unfold.plugin.forms.preset_files import PresetFiles
from napari_unfold.plugin.forms.preset_fit import misfit
from napari_unfold.plugin.forms.rows import (
    HINT_STYLE,
    WARNING_STYLE,
    Row,
    SectionForm,
    message_label,
    row_for,
)
from napari_unfold.plugin.forms.settings_form import SettingsForm
from napari_unfold.settings.microscope import Optics
from napari_unfold.settings.recipe import Localization, Recipe, Solver

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unfold.files.presets import Preset

UNTRAINED = "Untrained (classical)"
_UNTRAINED_TEXT = "Fixed step sizes and weights from theory; penalty and iterations as below."


class RecipeForm(SettingsForm):
    """All settings of a reconstruction, checked by the model while they are typed."""

    def __init__(self, presets: list[Preset], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.psf_row.may_be_empty = True
        self.psf_row.editor.width_nm.native.setPlaceholderText("estimated")
        self.learned_psf = LearnedPsf(self.pixel_row, self.psf_row)
        self.optics.add_full_width(self.learned_psf)
        self._presets: dict[str, Preset] = {}
        self._keep_presets(presets)
        self._build_method()
        self._build_advanced()
        self.add_sections(self.method, self.advanced)
        _, *fitting = self.preset_row.editor.choices
        if fitting:
            self.preset_row.editor.set_value(fitting[0])
        self._on_changed()

    def set_value(self, recipe: Recipe, preset: str | None = None) -> None:
        """Show `recipe`, and choose the preset of that name, or the classical network."""
        # first, since choosing a preset changes other settings
        self.fidelity_row.editor.set_value(recipe.solver.fidelity)
        self.preset_row.editor.set_value(preset)
        super().set_value(recipe)

    def set_presets(self, presets: list[Preset]) -> None:
        """Offer other presets, keeping the chosen one if it is among them."""
        self._keep_presets(presets)
        self.preset_row.editor.reset_choices()

    def preset(self) -> Preset | None:
        """Return the chosen preset, or None for the classical network."""
        return self._presets.get(self.preset_row.editor.value)

    def save_frames(self) -> Path | None:
        """Return the file for the single reconstructed frames, or None."""
        path: Path | None = self.frames_row.editor.value
        return path

    def _build_method(self) -> None:
        fields = Solver.model_fields
        self.fidelity_row = row_for("solver", "fidelity", fields["fidelity"])
        self.preset_row = Row(
            "preset",
            "Preset",
            ChoiceEdit(choices=self._fitting),
            "<qt>Parameters of the unfolded network, tuned or learned, as its description says. "
            "They are rescaled to the brightness of your molecules.</qt>",
        )
        self.upsampling_row = row_for("solver", "upsampling", fields["upsampling"])
        self.method = SectionForm("Method", [self.fidelity_row, self.preset_row])
        self.preset_text = message_label(HINT_STYLE)
        self.preset_text.show()
        self.preset_warning = message_label(WARNING_STYLE)
        self.preset_files = PresetFiles(self.preset)
        for widget in (self.preset_text, self.preset_warning, self.preset_files):
            self.method.add_full_width(widget)
        self.method.add_row(self.upsampling_row)
        self.method.add_row(row_for("solver", "molecule_photons", fields["molecule_photons"]))
        self.fidelity_row.changed.connect(self.preset_row.editor.reset_choices)
        self.preset_row.changed.connect(self._adopt_preset)
        self.preset_files.choose.connect(self._choose)

    def _build_advanced(self) -> None:
        fields = Solver.model_fields
        self.classical_rows = [
            row_for("solver", name, fields[name]) for name in ("penalty", "iterations")
        ]
        self.localization_rows = [
            row_for("localization", n, f) for n, f in Localization.model_fields.items()
        ]
        self.frames_row = Row(
            "save_frames",
            "Save frames",
            PathEdit(mode="w", placeholder="not saved"),
            "<qt>TIFF file to which every reconstructed frame is written as it comes; "
            "empty to keep only their mean.</qt>",
        )
        refine_psf = row_for("optics", "refine_psf", Optics.model_fields["refine_psf"])
        self.trust_row = row_for("solver", "trust_settings", fields["trust_settings"])
        rows = [
            refine_psf,
            *self.classical_rows,
            *self.localization_rows,
            self.trust_row,
            self.device_row,
            self.frames_row,
        ]
        self.advanced = SectionForm("Advanced", rows, expanded=False)

    def _fitting(self, _: object) -> list[tuple[str, str | None]]:
        fidelity, presets = self.fidelity_row.editor.value, self._presets.values()
        return [(UNTRAINED, None), *((p.title, p.name) for p in presets if fidelity in p.networks)]

    def _choose(self, name: str) -> None:
        if name in self.preset_row.editor.choices:  # one for another fidelity is not offered
            self.preset_row.editor.set_value(name)

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
        warning = "" if preset is None else self._warning(preset)
        self.preset_warning.setText(warning)
        self.preset_warning.setVisible(bool(warning))
        self.learned_psf.refresh()
        super()._on_changed()

    def _keep_presets(self, presets: list[Preset]) -> None:
        self._presets = {preset.name: preset for preset in presets}

    def _warning(self, preset: Preset) -> str:
        pixel, psf = self.pixel_row.editor.value, self.psf_row.editor.value.get("psf_sigma_nm")
        known = isinstance(pixel, float) and isinstance(psf, float) and pixel > 0
        return misfit(
            preset,
            self.fidelity_row.editor.value,
            self.upsampling_row.editor.value,
            psf / pixel if known else None,
        )


def _provenance(preset: Preset) -> str:
    """Where a preset comes from and how well it did, as a tool tip."""
    rows = "".join(f"<li>{s.data}: {s.metric} {s.value:.3g}</li>" for s in preset.scores)
    return f"<qt><p>{preset.trained_on}</p><ul>{rows}</ul></qt>"
