"""A value that was refused, as a sentence for the user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from napari_unfold.errors import InputError
from napari_unfold.settings.section import Said, Section

_Model = TypeVar("_Model", bound=Section)


def checked(model: type[_Model], values: Mapping[str, Any]) -> _Model:
    """Return raw values as settings.

    Raises
    ------
    InputError
        If one is unknown or out of range.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise explain(error, model) from error


def explain(error: ValidationError, model: type[Section]) -> InputError:
    """Turn a validation error of `model` into one sentence with the setting and its range."""
    first = error.errors(include_url=False)[0]
    names, field = _place(first["loc"], model)
    path = ".".join(filter(None, [model.section_name(), *names])) or None
    if first["type"] == "value_error":
        return InputError(str(first["ctx"]["error"]), field=path)
    if first["type"] == "extra_forbidden":
        return InputError(f"'{first['loc'][-1]}' is not a known setting", "Check its spelling")
    name = (field and field.title) or ".".join(map(str, first["loc"]))
    if field and Said.of(field).unit:
        name = f"{name} ({Said.of(field).unit})"
    in_range = first["type"].startswith(("greater_than", "less_than"))
    return InputError(
        f"{name}: {first['input']!r} is not usable ({first['msg'].lower()})",
        "Give a value in that range" if in_range else "Correct the value",
        field=path,
    )


def _place(
    location: tuple[int | str, ...], model: type[Section]
) -> tuple[list[str], FieldInfo | None]:
    """Return the names of the fields that lead to a location, and the last of them."""
    names, field = [], None
    here: Any = model
    for part in map(str, location):
        fields: dict[str, FieldInfo] = getattr(here, "model_fields", {})
        if part not in fields:
            break
        names.append(part)
        field = fields[part]
        here = field.annotation
    return names, field
