"""How a setting is declared: all that is said of it stands once, where its field is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo


def setting(
    default: Any,
    title: str,
    description: str,
    unit: str = "",
    *,
    flag: str = "",
    also: Mapping[str, str] | None = None,
    **bounds: Any,
) -> Any:
    """Declare a field with the texts that forms and help pages show.

    Parameters
    ----------
    default : object
    title, description, unit : str
    flag : str
        Option of the command line, if not made of the name of the field; several names for the
        same option are separated by blanks.
    also : dict, optional
        Other names under which the model takes the value, with their descriptions; each has an
        option of its own.
    **bounds
        As of `pydantic.Field`.
    """
    extra: Any = {"unit": unit, "flag": flag, "also": dict(also or {})}
    return Field(default, title=title, description=description, json_schema_extra=extra, **bounds)


class Said(NamedTuple):
    """What is said of a field beside its title and description."""

    unit: str = ""
    flag: str = ""
    also: Mapping[str, str] = {}

    @classmethod
    def of(cls, field: FieldInfo) -> Said:
        """Return what `setting` was told."""
        extra = field.json_schema_extra
        return cls(**extra) if isinstance(extra, dict) else cls()  # type: ignore[arg-type]


class Section(BaseModel):
    """A group of settings; unknown names and values out of range are refused."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)

    @classmethod
    def section_name(cls) -> str:
        """Return the first part of the paths of these settings, as in ``solver.iterations``."""
        return cls.__name__.lower()
