"""The settings of the last run, kept for the next session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_unfold.errors import InputError
from napari_unfold.files.atomic import output_folder, replacing
from napari_unfold.jobs import Device
from napari_unfold.settings.recipe import Recipe


class LastSettings(BaseModel):
    """What the form showed when it was last used.

    Attributes
    ----------
    recipe : Recipe
    preset : str, optional
        Name of the preset; None for the classical network.
    device : {"auto", "cpu", "cuda"}
    """

    model_config = ConfigDict(extra="ignore")

    recipe: Recipe
    preset: str | None = None
    device: Device = "auto"


def settings_file() -> Path:
    """Return where the settings are kept."""
    from platformdirs import user_config_path

    return user_config_path("napari-unfold", appauthor=False) / "reconstruct.json"


def load_last_settings() -> LastSettings | None:
    """Return the settings of the last run, or None if there are none that can be read."""
    try:
        raw: Any = json.loads(settings_file().read_text(encoding="utf-8"))
        return LastSettings.model_validate(raw)
    except (OSError, ValueError, ValidationError, RecursionError):
        return None


def save_last_settings(settings: LastSettings) -> None:
    """Keep the settings; a folder that cannot be written to is no reason to disturb anyone."""
    target = settings_file()
    try:
        with replacing(output_folder(target.parent) / target.name) as temporary:
            temporary.write_text(settings.model_dump_json(indent=2), encoding="utf-8")
    except InputError:
        return
