"""The form of fluctuation imaging; the PSF may be left open."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget

from napari_unfold.errors import InputError
from napari_unfold.plugin.forms.rows import Row, section_form
from napari_unfold.plugin.forms.settings_form import SettingsForm, check_presence, raw_of, validated
from napari_unfold.settings.explain import checked
from napari_unfold.settings.fluctuation import FLUCTUATION_ITERATIONS, Fluctuation
from napari_unfold.settings.recipe import Recipe, Solver


class FluctuationForm(SettingsForm):
    """All settings of fluctuation imaging, checked by the models while they are typed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.fluctuation = section_form("fluctuation", Fluctuation, "Fluctuations")
        self.method = section_form(
            "solver", Solver, "Method", only=["upsampling", "iterations"], expanded=False
        )
        self.method.rows[1].editor.set_value(FLUCTUATION_ITERATIONS)
        self.method.add_row(self.device_row)
        self.psf_row.editor.width.setPlaceholderText("estimated")
        self.add_sections(self.fluctuation, self.method)
        self._on_changed()

    def value(self) -> Recipe:
        """Return the settings of microscope and network; raises `InputError` if one is wrong."""
        recipe = super().value()
        return recipe.model_copy(
            update={"solver": recipe.solver.model_copy(update={"penalty": "l1"})}
        )

    def fluctuation_value(self) -> Fluctuation:
        """Return the settings of fluctuation imaging; raises `InputError` like `value`."""
        for error in self.errors():
            raise error
        return checked(Fluctuation, self.raw()["fluctuation"])

    def set_fluctuation(self, settings: Fluctuation) -> None:
        """Show `settings`."""
        for row in self.fluctuation.rows:
            row.editor.set_value(getattr(settings, row.key.partition(".")[2]))

    def errors(self) -> list[InputError]:
        """Return what is wrong, one entry for each setting that is missing or unusable."""
        found = super().errors()
        if not found:
            try:
                checked(Fluctuation, self.raw()["fluctuation"])
            except InputError as error:
                found.append(InputError(error.problem, error.remedy, "fluctuation.learning_steps"))
        return found

    def check(self, row: Row) -> None:
        """Raise an `InputError` if a row holds no usable value, taken by itself."""
        if row is self.psf_row:
            if self._psf_is_needed() or row.editor.text_instead_of_number():
                check_presence(row)
            return
        check_presence(row)
        section, _, name = row.key.partition(".")
        if section == "fluctuation":
            checked(Fluctuation, {name: row.editor.value()})
        else:
            validated(raw_of(row))

    def _psf_is_needed(self) -> bool:
        source = next(r for r in self.fluctuation.rows if r.key == "fluctuation.psf_from")
        bead = self.psf_row.editor.kind.value() == "image"
        return bead or source.editor.value() == "settings"

    def _on_changed(self) -> None:
        rows = {row.key: row for row in self.fluctuation.rows}
        steps = rows["fluctuation.learning_steps"].editor.value()
        rows["fluctuation.loss"].set_enabled(bool(steps))
        super()._on_changed()
