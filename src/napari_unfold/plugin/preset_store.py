"""The user's presets, and the news that there is another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unfold.files.presets import Preset


class PresetStore(QObject):
    """Where presets are saved to by one widget, so that all others hear of it.

    Signals
    -------
    changed
        After a preset was saved, renamed or deleted.
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

        path = presets.add_preset(preset)
        self.changed.emit()
        return path

    def rename(self, name: str, renamed: Preset) -> Path:
        """Keep one of the user's presets under the name, title and description of `renamed`.

        Raises
        ------
        InputError
            If it is none of theirs, or name or title are taken.
        """
        from napari_unfold.files import presets

        path = presets.rename_preset(name, renamed)
        self.changed.emit()
        return path

    def delete(self, name: str) -> None:
        """Delete one of the user's presets; raises `InputError` if that is not possible."""
        from napari_unfold.files import presets

        presets.delete_preset(name)
        self.changed.emit()

    def is_own(self, name: str) -> bool:
        """Whether a preset is the user's."""
        from napari_unfold.files import presets

        return name in presets.find_presets().own


store = PresetStore()
"""The one store of this session."""
