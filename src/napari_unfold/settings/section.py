"""How a setting is declared: its texts, unit and bounds stand once, where its field is."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue


def setting(default: Any, title: str, description: str, unit: str = "", **bounds: Any) -> Any:
    """Declare a field with the texts and the unit that forms and help pages show."""
    extra: dict[str, JsonValue] = {"unit": unit}
    return Field(default, title=title, description=description, json_schema_extra=extra, **bounds)


class Section(BaseModel):
    """A group of settings; unknown names and values out of range are refused."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)
