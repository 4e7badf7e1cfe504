"""The dock widget *Unfold: camera maps*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unfold.errors import InputError, UnfoldError
from napari_unfold.jobs import Job, Stage
from napari_unfold.plugin import layers
from napari_unfold.plugin.forms.editors import PathEdit
from napari_unfold.plugin.forms.layer_picker import layer_chooser
from napari_unfold.plugin.forms.rows import Row, SectionForm, row_for, show_beside
from napari_unfold.plugin.running.job_dock import JobDock
from napari_unfold.settings.microscope import EXCESS_NOISE, Camera

if TYPE_CHECKING:
    from pathlib import Path

    from napari.components import ViewerModel

    from napari_unfold.files.camera_maps import CameraMaps

LEVELS = 4
"""So many lit stacks can be chosen."""


class CameraMapsWidget(JobDock):
    """Make maps of offset, variance and gain from dark and lit stacks.

    Parameters
    ----------
    napari_viewer : napari.components.ViewerModel
        The viewer whose layers are offered and to which the maps are added.
    """

    title = "Unfold: camera maps"

    def __init__(self, napari_viewer: ViewerModel) -> None:
        from napari.layers import Image

        super().__init__(napari_viewer, "Measure every pixel of the camera")
        self.dark_row = Row(
            "stack",
            "Dark stack",
            layer_chooser(napari_viewer, Image, ("choose…", None)),
            "<qt>Frames without any light, hundreds or thousands.</qt>",
        )
        self.flat_rows = [
            Row(
                f"flat_{i}",
                f"Lit stack {i}",
                layer_chooser(napari_viewer, Image, ("none", None)),
                "<qt>Evenly lit frames, at another level in each stack; for the gain.</qt>",
            )
            for i in range(1, LEVELS + 1)
        ]
        self.type_row = row_for("camera", "type", Camera.model_fields["type"])
        self.folder_row = Row(
            "folder",
            "Folder",
            PathEdit(mode="d", placeholder="not saved"),
            "<qt>Where offset.tif, variance.tif and gain.tif are written.</qt>",
        )
        self._layer_rows = [self.dark_row, *self.flat_rows]
        for row in self._layer_rows:
            row.editor.set_value(None)
        self.rows = [*self._layer_rows, self.type_row, self.folder_row]
        form = SectionForm("Camera maps", self.rows)
        form.changed.connect(self._on_edited)
        self._lay_out(form)
        self._refresh()

    # ---- a run, to its end

    def _prepare(self) -> Job[Any]:
        for error in self._errors():
            raise error
        chosen = [row.editor.value for row in self._layer_rows]
        dark, *flats = (layers.stack_of_layer(layer) for layer in chosen if layer is not None)
        self._folder: Path | None = self.folder_row.editor.value
        return _calibration(dark, flats, EXCESS_NOISE.get(self.type_row.editor.value, 1.0))

    def _show_result(self, maps: CameraMaps) -> None:
        for name, values in maps.given.items():
            self._viewer.add_image(values, name=f"camera {name}")
        text = f"Maps of {', '.join(maps.given)}"
        if self._folder is not None:
            try:
                maps.save(self._folder)
            except UnfoldError as error:
                self._fail(error)
                return
            text += f", written to {self._folder}"
        self.panel.show_summary(text)

    # ---- the state of the form

    def _list_layers(self) -> None:
        for row in self._layer_rows:
            chosen = row.editor.value
            with row.editor.changed.blocked():
                row.editor.reset_choices()
                row.editor.set_value(chosen if chosen in row.editor.choices else None)

    def _errors(self) -> list[InputError]:
        if self.dark_row.editor.value is None:
            return [InputError("there is no dark stack yet", "Choose its layer", field="stack")]
        found = []
        for row in self._layer_rows:
            if row.editor.value is not None:
                try:
                    layers.stack_of_layer(row.editor.value)
                except InputError as error:
                    found.append(InputError(error.problem, error.remedy, field=row.key))
        return found

    def _show_errors(self, errors: list[UnfoldError]) -> None:
        show_beside(self.rows, errors)


def _calibration(*args: Any) -> Job[Any]:
    """Measure, with the slow import of scientific packages in the background thread too."""
    yield Stage("Loading")
    from napari_unfold.estimation.calibrate_camera import calibrate_camera

    return (yield from calibrate_camera(*args))
