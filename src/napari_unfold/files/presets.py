"""Presets: parameters of the network that were tuned or learned, with where and how well."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import Field, ValidationError, field_validator

from napari_unfold.errors import InputError
from napari_unfold.files.atomic import cannot_write, output_folder, replacing
from napari_unfold.settings.explain import checked
from napari_unfold.settings.recipe import Localization
from napari_unfold.settings.section import Section
from napari_unfold.settings.terms import Fidelity
from napari_unfold.unfolding.parameters import NetworkParameters

SCHEMA_VERSION = 2

LARGEST_BYTES = 2**22

DEFAULT_PRESET = "dense-smlm"


class PresetScore(Section):
    """How well a preset did, and on which data."""

    data: str
    metric: str
    value: float


class Preset(Section):
    """Network parameters for one or both fidelities, ready to be applied to other data.

    Attributes
    ----------
    schema_version : int
    name : str
        Short name without blanks, unique.
    title, description : str
        For people.
    trained_on : str
        The data and the method by which the parameters were found.
    scores : list of PresetScore
    upsampling : int
        Fine pixels per camera pixel the parameters were found with.
    networks : dict
        Parameters by fidelity.
    localization : Localization
    """

    schema_version: Literal[2] = 2
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=100)
    title: str
    description: str
    trained_on: str
    scores: list[PresetScore] = Field(default_factory=list)
    upsampling: int = Field(ge=1, le=16)
    networks: dict[Fidelity, NetworkParameters] = Field(min_length=1)
    localization: Localization = Field(default_factory=Localization)

    @field_validator("schema_version", mode="before")
    @classmethod
    def _read_version_1(cls, version: Any) -> Any:
        return SCHEMA_VERSION if version == 1 else version


def user_preset_folder() -> Path:
    """Folder in which a user's own presets are kept."""
    return Path(platformdirs.user_data_dir("napari-unfold")) / "presets"


@dataclass(frozen=True)
class FoundPresets:
    """The presets that there are, and what is to be said of files that are left out.

    Attributes
    ----------
    presets : list of Preset
        Shipped ones, then the user's.
    left_out : dict
        For each file of the user's that cannot be used, why.
    own : dict
        The files of the user's presets, by name.
    """

    presets: list[Preset]
    left_out: dict[Path, str]
    own: dict[str, Path]


def find_presets() -> FoundPresets:
    """Read the presets that are shipped and those in the user's folder.

    A file with the name of another preset is left out, so that no name changes its meaning; it can
    still be used by its path.
    """
    shipped = resources.files("napari_unfold") / "presets"
    texts = [f.read_text("utf-8") for f in sorted(shipped.iterdir(), key=lambda f: f.name)
             if f.name.endswith(".json")]  # fmt: skip
    presets = [_parse(text, "shipped preset") for text in texts]
    left_out, own = {}, {}
    for path in sorted(user_preset_folder().glob("*.json")):
        try:
            preset = _parse(_read_text(path), f"'{path}'")
        except InputError as error:
            left_out[path] = str(error)
            continue
        if any(preset.name == other.name for other in presets):
            left_out[path] = (
                f"'{path}' has the name '{preset.name}' of another preset, which is used instead. "
                "Change its name, or give its path."
            )
            continue
        presets.append(preset)
        own[preset.name] = path
    return FoundPresets(presets, left_out, own)


def list_presets() -> list[Preset]:
    """Shipped presets, then the user's; files that cannot be used are left out."""
    return find_presets().presets


def load_preset(name_or_path: str | Path) -> Preset:
    """Return a preset by its name, or from a JSON file.

    Raises
    ------
    InputError
        If there is no such preset, or the file is not a preset.
    """
    presets = {preset.name: preset for preset in list_presets()}
    if str(name_or_path) in presets:
        return presets[str(name_or_path)]
    path = Path(name_or_path)
    if path.suffix != ".json" and not os.path.isfile(path):  # noqa: PTH113 (never raises)
        raise InputError(
            f"there is no preset called '{name_or_path}'",
            f"Choose one of {', '.join(presets)}, or give the path of a .json file",
            field="preset",
        )
    return _parse(_read_text(path), f"'{path}'")


def _read_text(path: Path) -> str:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise _not_a_preset(f"'{path}'", "it is not a file")
        if found.st_size > LARGEST_BYTES:
            raise _not_a_preset(f"'{path}'", f"it has more than {LARGEST_BYTES // 2**20} MB")
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise _not_a_preset(f"'{path}'", "it is not a text file") from error
    except (OSError, ValueError) as error:  # a ValueError is a name that no file can have
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"the preset '{path}' cannot be read ({reason})", "Check the path", field="preset"
        ) from error


def save_preset(preset: Preset, path: Path) -> None:
    """Write a preset as JSON."""
    text = json.dumps(preset.model_dump(mode="json"), indent=1)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", "utf-8")


def named(
    preset: Preset, name: str | None = None, title: str | None = None, **other: str
) -> Preset:
    """Return a preset under another name, title or description.

    Raises
    ------
    InputError
        If that cannot be the name of a preset.
    """
    texts = {"name": name, "title": title, **other}
    values = {what: text for what, text in texts.items() if text is not None}
    try:
        return Preset.model_validate({**preset.model_dump(), **values})
    except ValidationError as error:
        raise InputError(
            f"'{name}' cannot be the name of a preset",
            "Use small letters, digits and hyphens only",
            field="preset.name",
        ) from error


def add_preset(preset: Preset) -> Path:
    """Keep a preset among the user's own, and return its file.

    Raises
    ------
    InputError
        If its name or title is taken, or the folder cannot be written to.
    """
    _check_free(preset, list_presets())
    path = output_folder(user_preset_folder()) / f"{preset.name}.json"
    save_preset(preset, path)
    return path


def rename_preset(name: str, renamed: Preset) -> Path:
    """Keep a renamed preset in the place of one of the user's own, and return its file.

    Raises
    ------
    InputError
        If it is none of theirs, or name or title are taken.
    """
    file = own_file(name)
    _check_free(renamed, [other for other in list_presets() if other.name != name])
    path = user_preset_folder() / f"{renamed.name}.json"
    save_preset(renamed, path)
    if path != file:
        file.unlink(missing_ok=True)
    return path


def delete_preset(name: str) -> Path:
    """Delete one of the user's own presets, and return where it was.

    Raises
    ------
    InputError
        If it is none of theirs, or cannot be deleted.
    """
    file = own_file(name)
    try:
        file.unlink()
    except OSError as error:
        raise cannot_write(file, error) from error
    return file


def own_file(name: str) -> Path:
    """Return the file of one of the user's own presets.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    own = find_presets().own
    if name in own:
        return own[name]
    load_preset(name)  # which refuses one that is not there
    raise InputError(
        f"the preset '{name}' is none of your own",
        "Export or save it under another name to change it",
    )


def _check_free(preset: Preset, others: list[Preset]) -> None:
    for other in others:
        for what, taken in (("title", other.title), ("name", other.name)):
            if getattr(preset, what) == taken:
                raise InputError(
                    f"there is a preset with the {what} '{taken}' already",
                    f"Choose another {what}",
                    field=f"preset.{what}",
                )
    path = user_preset_folder() / f"{preset.name}.json"
    if path.exists() and path not in find_presets().own.values():
        raise InputError(
            f"there is another file '{path}'", "Choose another name", field="preset.name"
        )


def _parse(text: str, where: str) -> Preset:
    try:
        raw: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise _not_a_preset(where, f"line {error.lineno} is not valid JSON") from error
    except RecursionError as error:
        raise _not_a_preset(where, "its values are nested too deeply") from error
    except ValueError as error:
        raise _not_a_preset(where, "it holds a number of too many digits") from error
    if not isinstance(raw, dict) or "networks" not in raw:
        raise _not_a_preset(where, "it holds no network parameters")
    version = raw.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InputError(
            f"the preset {where} was made by a newer version of napari-unfold",
            "Update napari-unfold to use it",
            field="preset",
        )
    try:
        return checked(Preset, raw)
    except InputError as error:
        raise _not_a_preset(where, error.problem) from error


def _not_a_preset(where: str, reason: str) -> InputError:
    return InputError(
        f"{where} is not a preset of napari-unfold ({reason})",
        "Choose a .json file that was saved as a preset",
        field="preset",
    )
