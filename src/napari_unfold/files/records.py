"""What a result was made with, read back from its record to do the same again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_unfold.errors import InputError
from napari_unfold.settings.explain import checked
from napari_unfold.settings.recipe import Recipe


@dataclass(frozen=True)
class Repeat:
    """The settings of an earlier run.

    Attributes
    ----------
    recipe : Recipe
        As the user gave it; of older records, as it was used.
    preset : str, optional
        Name of the preset; None for the classical network.
    frames : slice, optional
        From 0.
    """

    recipe: Recipe
    preset: str | None
    frames: slice | None


def repeat_of(record: Mapping[str, Any], where: str) -> Repeat:
    """Return the settings that a record of a reconstruction tells.

    Parameters
    ----------
    record : mapping
        As in ``run.json`` and in the metadata of layers.
    where : str
        Where it comes from, for messages.

    Raises
    ------
    InputError
        If it is none.
    """
    raw = record.get("given", record.get("recipe"))
    if not isinstance(raw, dict):
        raise InputError(
            f"{where} does not tell how it was made",
            "Choose a result of 'Unfold: reconstruct', or the run.json beside one",
        )
    asked = record.get("stack", {}).get("frames")
    return Repeat(
        recipe=checked(Recipe, raw),
        preset=record.get("preset"),
        frames=slice(*asked) if asked else None,
    )


def read_record(path: Path) -> dict[str, Any]:
    """Return the record in a ``run.json``, or in the OME-TIFF of a layer of this plugin.

    Raises
    ------
    InputError
        If there is none in the file.
    """
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            from napari_unfold.files.images import description_of

            text = description_of(path)
        else:
            text = path.read_text("utf-8")
        record = json.loads(text)
    except (OSError, ValueError) as error:
        raise InputError(
            f"'{path.name}' holds no record of a run", "Choose the run.json beside a result"
        ) from error
    if not isinstance(record, dict):
        raise InputError(f"'{path.name}' holds no record of a run", "Choose a run.json")
    return record
