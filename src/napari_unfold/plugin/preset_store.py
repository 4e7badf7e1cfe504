"""The user's presets, and the news that there is another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_unfold.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unfold.files.presets import Preset


class PresetStore(QObject):
    """Where presets are saved to by one widget, so that all others hear of it.

    Signals
    -------
    changed
        After a preset was saved.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def presets(self) -> list[Preset]:
        """Return all presets; a file that is left out is said, once."""
        from napari.utils.notifications import show_warning

        from napari_unfold.files import presets

        found = presets.find_presets()
        for note in found.left_out.values():
            if note not in self._said:
                self._said.add(note)
                show_warning(note)
        return found.presets

    def save(self, preset: Preset) -> Path:
        """Write `preset` into the user's folder and return its path.

        Raises
        ------
        InputError
            If its name or title is taken, or the folder cannot be written to.
        """
        from napari_unfold.files import presets
        from napari_unfold.files.atomic import output_folder

        for other in presets.list_presets():
            for what, taken in (("title", other.title), ("name", other.name)):
                if getattr(preset, what) == taken:
                    raise InputError(
                        f"there is a preset with the {what} '{taken}' already",
                        f"Choose another {what}",
                        field=f"preset.{what}",
                    )
        path = output_folder(presets.user_preset_folder()) / f"{preset.name}.json"
        presets.save_preset(preset, path)
        self.changed.emit()
        return path


store = PresetStore()
"""The one store of this session."""
