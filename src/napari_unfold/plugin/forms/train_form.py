"""The form of a training: the microscope, the method, and how it is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_unfold.errors import InputError
from napari_unfold.plugin.forms.editors import ChoiceEdit
from napari_unfold.plugin.forms.rows import Row, section_form
from napari_unfold.plugin.forms.settings_form import SettingsForm, check_presence
from napari_unfold.settings.explain import checked
from napari_unfold.settings.recipe import Solver
from napari_unfold.settings.training import TRAINING_ITERATIONS, Training
from napari_unfold.simulation.simulated_microscope import BACKGROUND_PHOTONS, MOLECULE_PHOTONS

if TYPE_CHECKING:
    from napari_unfold.files.presets import Preset

# where there is no stack to estimate from
_TYPICAL = {
    "background.photons": BACKGROUND_PHOTONS,
    "solver.molecule_photons": MOLECULE_PHOTONS,
}
_SEARCH = "The best of several"
_LOSS_DETAILS = ("softness", "huber_width", "full_pixel")
_SIMULATED_ONLY = {"training.scene", "training.density_per_um2", "training.on_frames"}


class TrainForm(SettingsForm):
    """All settings of a training, checked by the models while they are typed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        names = ["fidelity", "penalty", "iterations", "upsampling", "molecule_photons"]
        self.method = section_form("solver", Solver, "Method", only=names)
        self.method.rows[names.index("iterations")].editor.set_value(TRAINING_ITERATIONS)
        usual = [name for name in Training.model_fields if name not in _LOSS_DETAILS]
        self.training = section_form("training", Training, "Training", only=usual)
        self._starts: list[Preset] = []
        self.start_row = Row(
            "start",
            "Start from",
            ChoiceEdit(choices=self._starts_offered),
            "<qt>Parameters to begin with: found by trying several, or those of a preset, for "
            "instance to go on with a training.</qt>",
        )
        for row in (self.start_row, self.device_row):
            self.training.add_row(row)
        self.details = section_form(
            "training", Training, "Details of the loss", only=_LOSS_DETAILS, expanded=False
        )
        self.add_sections(self.method, self.training, self.details)
        self._has_stack = True
        self._were_auto: list[Row] = []

    def training_value(self) -> Training:
        """Return the settings of the training; raises `InputError` like `value`."""
        for error in self.errors():
            raise error
        return checked(Training, self.raw()["training"])

    def start(self) -> Preset | None:
        """Return the preset to begin with, or None to look for a starting point."""
        preset: Preset | None = self.start_row.editor.value
        return preset

    def set_starts(self, presets: list[Preset]) -> None:
        """Offer other presets to begin with, keeping the chosen one if it is among them."""
        self._starts = presets
        self.start_row.editor.reset_choices()

    def set_data(self, has_stack: bool, has_truth: bool) -> None:
        """Say what there is: it decides what can be estimated, and what is simulated."""
        # first, since what follows comes back here
        changed, self._has_stack = has_stack != self._has_stack, has_stack
        if changed:
            self._estimate(has_stack)
            self.estimates.setVisible(has_stack)
        for row in self.training.rows:
            row.set_enabled(not (has_truth and row.key in _SIMULATED_ONLY))

    def check(self, row: Row) -> None:
        """Raise an `InputError` if a row holds no usable value, taken by itself."""
        if row in self.training.rows or row in self.details.rows:
            _check_training(row)
            return
        super().check(row)
        if not self._has_stack and row.key in _TYPICAL and not _is_number(row):
            raise InputError(
                f"{row.title} must be a number where there is no stack to estimate it from",
                f"Enter a number, such as {_TYPICAL[row.key]:g}",
                field=row.key,
            )

    def _starts_offered(self, _: object) -> list[tuple[str, Preset | None]]:
        return [(_SEARCH, None), *((preset.title, preset) for preset in self._starts)]

    def _estimate(self, has_stack: bool) -> None:
        """Replace 'auto' by typical numbers, or return to it when there is a stack again."""
        if has_stack:
            for row in self._were_auto:
                row.editor.set_value("auto")
            return
        rows = [row for row in self.rows if row.key in _TYPICAL]
        self._were_auto = [row for row in rows if row.editor.value == "auto"]
        for row in self._were_auto:
            row.editor.set_value(row.editor.number.value or _TYPICAL[row.key])


def _is_number(row: Row) -> bool:
    return isinstance(row.editor.value, float)


def _check_training(row: Row) -> None:
    check_presence(row)
    section, _, name = row.key.partition(".")
    if section != "training":
        return
    checked(Training, {name: row.editor.value})
