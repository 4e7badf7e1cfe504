"""Options of the command line, made from the settings, and the few that are none of theirs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from napari_unfold.cli.progress import say_note, telling
from napari_unfold.errors import UnfoldError
from napari_unfold.settings.explain import checked
from napari_unfold.settings.fluctuation import Fluctuation
from napari_unfold.settings.microscope import Background, Camera, Optics
from napari_unfold.settings.recipe import Localization, Recipe, Solver
from napari_unfold.settings.section import Said, Section
from napari_unfold.settings.simulation import Instrument, Sample
from napari_unfold.settings.tables import Drift, Linking, Rendering, Resolution
from napari_unfold.settings.training import Training

if TYPE_CHECKING:
    from napari_unfold.files.presets import Preset
    from napari_unfold.files.stacks import Stack

_Model = TypeVar("_Model", bound=Section)

SECTIONS: dict[str, type[Section]] = {
    model.section_name(): model
    for model in (
        Optics, Camera, Background, Solver, Localization, Training, Fluctuation,
        Linking, Drift, Rendering, Resolution, Sample, Instrument,
    )
}  # fmt: skip
"""All settings by the first part of their paths."""

StackArgument = Annotated[
    Path,
    typer.Argument(
        help="Frame stack: TIFF (or a folder of them), OME-Zarr, HDF5, NumPy, .raw, .dax, .spe, "
        ".nd2, .czi."
    ),
]
ChannelOption = Annotated[
    int | None,
    typer.Option("--channel", help="Channel of a stack that has several, counted from 0."),
]
PlaneOption = Annotated[
    int | None,
    typer.Option("--plane", help="Plane of a stack that has several, counted from 0."),
]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder for the results.")]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option("--device", help="Where to compute; 'auto' takes the GPU if there is one."),
]
FramesOption = Annotated[
    str | None,
    typer.Option(
        "--frames", help="A:B uses the frames from A up to, not including, B, counted from 0."
    ),
]
SaveFramesOption = Annotated[
    bool, typer.Option("--save-frames", help="Also write every frame to frames.tif.")
]
Values = Mapping[str, Mapping[str, Any]]
"""Raw values of settings, by section and name."""


@dataclass(frozen=True)
class Stated:
    """What was stated in the options of a command, and what it takes for the rest.

    Attributes
    ----------
    values, usual : dict
        Raw values by section and name: as stated, and where this command differs from the
        defaults of the models.
    """

    values: Values
    usual: Values

    def assuming(self, values: Values) -> Stated:
        """Return the same, with values that hold where nothing is stated."""
        return Stated(self.values, {**self.usual, **values})

    def section(self, model: type[_Model]) -> _Model:
        """Return the settings of one section; raises `InputError` if one cannot be used."""
        return checked(model, self._merged(model.section_name()))

    @property
    def files(self) -> list[Path]:
        """The files that were stated, all of them to be read."""
        values = [value for section in self.values.values() for value in section.values()]
        return [value for value in values if isinstance(value, Path)]

    def recipe(self, known: Values | None = None) -> Recipe:
        """Return the recipe; raises `InputError` if a setting cannot be used.

        Parameters
        ----------
        known : dict, optional
            Values that hold where nothing is stated, as from a file or a preset.
        """
        return checked(Recipe, {name: self._merged(name, known) for name in Recipe.model_fields})

    def _merged(self, section: str, known: Values | None = None) -> dict[str, Any]:
        stated = self.values.get(section, {})
        assumed = {**self.usual.get(section, {}), **(known or {}).get(section, {})}
        for name, field in SECTIONS[section].model_fields.items():
            if assumed.get(name) is None or stated.keys() & Said.of(field).also.keys():
                assumed.pop(name, None)
        return {**assumed, **stated}


def takes_settings(
    *paths: str, usual: Values | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of some settings; it finds what was stated in ``stated``.

    Parameters
    ----------
    *paths : str
        Sections (``"camera"``) or single settings (``"solver.iterations"``).
    usual : dict, optional
        Values by section and name where this command differs from the defaults of the models.
    """
    usual = usual or {}
    options = {p.name: (p, s, n) for path in paths for p, s, n in _parameters(path, usual)}

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        def run(**given: Any) -> None:
            values: dict[str, dict[str, Any]] = {}
            for key in options.keys() & given.keys():
                _, section, name = options[key]
                if (value := given.pop(key)) is not None:
                    values.setdefault(section, {})[name] = value
            with telling(lines=given.pop(_LINES, False)):
                command(stated=Stated(values, usual), **given)

        own = inspect.signature(command, eval_str=True).parameters
        kept = [p.replace(kind=p.KEYWORD_ONLY) for n, p in own.items() if n != "stated"]
        made = [parameter for parameter, _, _ in options.values()]
        if "as_json" not in own:
            made.append(_lines_parameter())
        run.__signature__ = inspect.Signature([*kept, *made])  # type: ignore[attr-defined]
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__annotations__ = {}
        return run

    return decorated


_LINES = "as_lines_of_json"


def _lines_parameter() -> inspect.Parameter:
    text = "For programs: tell of the job on stdout, one JSON object a line."
    annotation = Annotated[bool, typer.Option("--json", help=text)]
    return inspect.Parameter(
        _LINES, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation
    )


def flags_of(name: str, field: FieldInfo) -> list[str]:
    """Return the names of the option of a field, the usual one first."""
    return Said.of(field).flag.split() or [_flag(name)]


def flag_of(path: str | None) -> str:
    """Return the option behind a path that an error names, or nothing."""
    if path in _OTHER_FLAGS:
        return _OTHER_FLAGS[path]
    section, _, name = (path or "").partition(".")
    fields = SECTIONS[section].model_fields if section in SECTIONS else {}
    if name not in fields:
        return ""
    also = [_flag(other) for other in Said.of(fields[name]).also]
    return " or ".join([flags_of(name, fields[name])[0], *also])


_OTHER_FLAGS: dict[str | None, str] = {
    "preset": "--preset",
    "frames": "--frames",
    "device": "--device",
    "conditions": "--where",
    "camera_pixel_nm": "--camera-pixel-nm",
    "stack.channel": "--channel",
    "stack.plane": "--plane",
}
"""The options of fields that are no settings."""


def _parameters(path: str, usual: Values) -> Iterator[tuple[inspect.Parameter, str, str]]:
    """Yield the parameters of one path, each with its section and the name of its value."""
    section, _, only = path.partition(".")
    for name, field in SECTIONS[section].model_fields.items():
        if only in ("", name):
            default = usual.get(section, {}).get(name, field.default)
            kind, extra = _kind(field, flags_of(name, field)[0])
            text = f"{field.description}{_default_text(default)}{_unit_text(field)}"
            flags = flags_of(name, field)
            yield _parameter(f"{section}__{name}", kind, flags, text, **extra), section, name
            for other, description in Said.of(field).also.items():
                text = f"{description}{_unit_text(field)}"
                yield (
                    _parameter(f"{section}__{other}", float, [_flag(other)], text), section, other
                )  # fmt: skip


def _parameter(key: str, kind: Any, flags: list[str], text: str, **extra: Any) -> inspect.Parameter:
    if kind is bool:
        flags = [f"{flag}/--no-{flag.removeprefix('--')}" for flag in flags]
    annotation = Annotated[kind | None, typer.Option(*flags, help=text, **extra)]
    return inspect.Parameter(
        key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _kind(field: FieldInfo, flag: str) -> tuple[Any, dict[str, Any]]:
    """Return the type of an option, and how its text is read if that takes more than the type."""
    parts = [part for part in get_args(field.annotation) if part is not type(None)]
    if get_origin(field.annotation) is Literal:
        return field.annotation, {}
    if Literal["auto"] in parts:
        return str, {"parser": _AutoOrNumber(flag, Path in parts), "metavar": "auto|NUMBER"}
    return parts[0] if parts else field.annotation, {}


@dataclass
class _AutoOrNumber:
    """Read ``auto``, a number, or where a file is possible the name of a TIFF."""

    flag: str
    may_be_file: bool
    __name__ = "auto or number"  # which older versions of click ask for

    def __call__(self, text: str) -> Any:
        if text == "auto":
            return text
        if self.may_be_file and Path(text).suffix.lower() in {".tif", ".tiff"}:
            return Path(text)
        try:
            number = float(text)
        except ValueError:
            raise UnfoldError(
                f"{self.flag}: '{text}' is neither a number nor 'auto'", "Check its spelling"
            ) from None
        return int(number) if number.is_integer() else number


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _default_text(default: Any) -> str:
    if default is None:
        return ""
    return f" Default: {default:g}." if isinstance(default, float) else f" Default: {default}."


def _unit_text(field: FieldInfo) -> str:
    unit = Said.of(field).unit
    return f" [{unit}]" if unit else ""


def opened(path: Path, channel: int | None = None, plane: int | None = None) -> Stack:
    """Open a stack and say what there is to say of it."""
    from napari_unfold.files.opening import open_stack

    stack = open_stack(path, channel=channel, plane=plane)
    for note in stack.notes:
        say_note(f"{note}.")
    return stack


def known_of(stack: Stack, preset: Preset | None) -> dict[str, dict[str, Any]]:
    """Return the settings that a stack and a preset bring, by section and name."""
    known: dict[str, dict[str, Any]] = {"optics": {"pixel_size_nm": stack.pixel_size_nm}}
    if preset is not None:
        known["solver"] = {"upsampling": preset.upsampling}
        known["localization"] = preset.localization.model_dump()
    return known


def frames_of(text: str | None) -> slice:
    """Parse ``A:B``."""
    if text is None:
        return slice(None)
    first, colon, last = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return slice(int(first) if first else None, int(last) if last else None)
    except ValueError:
        raise UnfoldError(
            f"--frames: '{text}' is not a range of frames",
            "Write A:B for the frames from A up to, not including, B, counted from 0",
        ) from None
