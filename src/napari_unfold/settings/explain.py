"""A value that was refused, as a sentence for the user."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from napari_unfold.errors import InputError
from napari_unfold.settings.fluctuation import Fluctuation
from napari_unfold.settings.recipe import Recipe
from napari_unfold.settings.section import Section
from napari_unfold.settings.simulation import SimulatedMicroscope, SimulatedSample
from napari_unfold.settings.training import Training

_BESIDE: dict[str, type[Section]] = {
    "training": Training,
    "fluctuation": Fluctuation,
    "simulation": SimulatedSample,
    "simulated_microscope": SimulatedMicroscope,
}
"""Sections of other jobs, whose settings are no part of a `Recipe`."""


def explain(error: ValidationError) -> InputError:
    """Turn a validation error into one sentence that names the setting and its range."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"] if str(part).islower()]
    for name, section in _BESIDE.items():
        if error.title == section.__name__:
            path = [name, *path]
    if first["type"] == "value_error":
        return InputError(str(first["ctx"]["error"]), field=".".join(path) or None)
    if first["type"] == "extra_forbidden":
        return InputError(f"'{path[-1]}' is not a known setting", "Check its spelling")
    field = _field_at(path)
    name = field.title if field else ".".join(path)
    if field and _unit(field):
        name = f"{name} ({_unit(field)})"
    in_range = first["type"].startswith(("greater_than", "less_than"))
    return InputError(
        f"{name}: {first['input']!r} is not usable ({first['msg'].lower()})",
        "Give a value in that range" if in_range else "Correct the value",
        field=".".join(path),
    )


def _field_at(path: list[str]) -> Any:
    model: Any = Recipe
    if path and path[0] in _BESIDE:
        model, path = _BESIDE[path[0]], path[1:]
    field = None
    for name in path:
        fields = getattr(model, "model_fields", {})
        if name not in fields:
            return field
        field = fields[name]
        model = field.annotation
    return field


def _unit(field: Any) -> str:
    return str((field.json_schema_extra or {}).get("unit", ""))
