"""Write docs/reference/, a page for every group of settings and one for the columns of a table.

python docs/make_reference.py

Titles, units, defaults, ranges and texts come from `napari_unfold.settings` and
`napari_unfold.tables.columns`, options from the commands. Formulas and the places in the window
stand here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic.fields import FieldInfo

from napari_unfold.cli import app
from napari_unfold.cli.options import SECTIONS
from napari_unfold.settings.section import Said
from napari_unfold.tables.columns import COLUMNS, Column

FOLDER = Path(__file__).with_name("reference")
WRITTEN = "Written by `python docs/make_reference.py`; the texts are those of the declarations."

TITLES = {
    "optics": "Optics",
    "camera": "Camera",
    "background": "Background",
    "solver": "Network",
    "localization": "Localization",
    "fluctuation": "Fluctuation imaging",
    "training": "Training",
    "linking": "Linking",
    "drift": "Drift",
    "resolution": "Resolution",
    "rendering": "Rendering",
    "sample": "Simulated sample",
    "instrument": "Simulated instrument",
}

_MICROSCOPE = {
    "Optics": ["optics.pixel_size_nm", "optics.psf_sigma_nm"],
    "Camera": [
        *(f"camera.{name}" for name in SECTIONS["camera"].model_fields),
        "background.photons",
    ],
}
_LOSS_DETAILS = ["training.softness", "training.huber_width", "training.full_pixel"]
WINDOW: dict[str, dict[str, list[str]]] = {
    "Unfold: reconstruct": {
        **_MICROSCOPE,
        "Method": ["solver.fidelity", "solver.upsampling", "solver.molecule_photons"],
        "Advanced": [
            "optics.refine_psf",
            "solver.penalty",
            "solver.iterations",
            *(f"localization.{name}" for name in SECTIONS["localization"].model_fields),
            "solver.trust_settings",
        ],
    },
    "Unfold: train": {
        **_MICROSCOPE,
        "Method": [
            f"solver.{name}"
            for name in ("fidelity", "penalty", "iterations", "upsampling", "molecule_photons")
        ],
        "Training": [
            key
            for name in SECTIONS["training"].model_fields
            if (key := f"training.{name}") not in _LOSS_DETAILS
        ],
        "Details of the loss": _LOSS_DETAILS,
    },
    "Unfold: fluctuations": {
        **_MICROSCOPE,
        "Fluctuations": [f"fluctuation.{name}" for name in SECTIONS["fluctuation"].model_fields],
        "Method": ["solver.upsampling", "solver.iterations"],
    },
    "Unfold: localizations": {
        title: [f"{section}.{name}" for name in SECTIONS[section].model_fields]
        for title, section in (
            ("Link", "linking"),
            ("Correct drift", "drift"),
            ("Render", "rendering"),
            ("Measure resolution", "resolution"),
        )
    },
    "Unfold: camera maps": {"Camera maps": ["camera.type"]},
}
"""By dock and group of rows, the settings that have a row there."""

PART_OF = dict.fromkeys(["optics.psf_image", "optics.psf_image_pixel_nm"], "optics.psf_sigma_nm")
"""Settings that are entered in the row of another one."""

FORMULAS = {
    "optics.psf_sigma_nm": "`FWHM = 2 sqrt(2 ln 2) sigma = 2.355 sigma`. Sigma must lie between "
    "0.3 and 20 pixels.",
    "camera.offset_adu": "`photons = (ADU - offset) / gain`",
    "camera.adu_per_photon": "`photons = (ADU - offset) / gain`",
    "camera.excess_noise": "`variance of a pixel = excess noise x photons + read noise²`, in "
    "photons².",
    "camera.read_noise_photons": "See [excess noise](#excess_noise).",
    "camera.variance_map": "`read noise in photons = sqrt(variance) / gain`, pixel by pixel.",
    "background.photons": "`b` in `expected frame = A x + b`; `A` blurs and bins the image `x`.",
    "solver.fidelity": "With the frame `y` in photons: *Gaussian* `1/2 sum (A x + b - y)²`; *KL* "
    "`sum (A x + b) - y + y log(y / (A x + b))`.",
    "solver.penalty": "*l1* `sum x`; *log-sum* `sum p log(1 + x / p)` with the bend `p`, which a "
    "preset learns. Times a weight it is added to the fidelity.",
    "solver.iterations": "The same number whatever the frames hold.",
    "solver.upsampling": "`fine pixel = pixel size / upsampling`. Localizations are not bound to "
    "fine pixels: the joint fit moves them freely.",
    "localization.min_photons_fraction": "Discarded below `fraction x photons per molecule`.",
    "localization.split_brightness": "Tested above `multiple x photons per molecule`.",
    "fluctuation.image": "Per pixel over time `t`: *mean* `<y>`; *variance* `<(y - <y>)²>` less "
    "the noise of the camera; *lag-1* `<(y(t) - <y>)(y(t + 1) - <y>)>`.",
    "fluctuation.weight": "`lambda = weight x lambda_max`, above which the image is empty "
    "(equation 20 of the paper).",
    "training.loss": "*reconstruction* `1/2 sum (x - x*)²` (equation 13); *localization* "
    "`sum h(B(x) - B(x*))` (equation 14); *tolerant* `1 - sum min / sum max` of the blurred "
    "binarized images; *image* `(tolerant + 10 (1 - correlation)) / 11`.",
    "training.softness": "`B` rises from 0 to M between `threshold (1 - rho)` and "
    "`threshold (1 + rho)` as `3 s² - 2 s³` (equations 16 to 18).",
    "training.huber_width": "`h(t) = t² / (2 delta)` up to `|t| = delta`, `|t| - delta / 2` beyond "
    "(equation 15).",
    "linking.radius": "In uncertainties: `distance <= radius x sqrt(u1² + u2²)`.",
    "resolution.halves": "The resolution is the period at which the Fourier ring correlation of "
    "the two images has fallen to 1/7.",
    "rendering.width_nm": "The light of a Gaussian is integrated over each pixel and sums to the "
    "brightness of the localization.",
    "sample.brightness_spread": "`standard deviation / mean`",
    "sample.background_bleaching_frames": "`background(t) = background(0) exp(-t / frames)`",
    "sigma_nm": "That of the PSF of the fit: the same for all rows of a run.",
    "noise_photons": "`sqrt(excess noise x background + read noise²)`",
    "uncertainty_nm": "`sqrt((u_x² + u_y²) / 2)`",
    "uncertainty_x_nm": "Cramér-Rao bound of the joint fit, neighbours included, plus the chance "
    "that the spot is two: see [How to read the result](../read-the-result.md#uncertainties).",
    "quality": "Natural logarithm of a ratio of probabilities; 12.5 is a molecule that stands out "
    "by five standard deviations. For a molecule of several frames it is the sum.",
    "detections": "In `molecules.csv`: frames in which the molecule was on.",
    "photons": "In `molecules.csv`: the sum over its frames.",
}
"""What is computed with it, by path of a setting or name of a column."""


class Option(NamedTuple):
    """An option of a command for a setting."""

    command: str
    flags: str
    default: str


def pages() -> dict[str, str]:
    """Return all pages by file name."""
    made = {f"{section}.md": settings_page(section) for section in SECTIONS}
    return {"index.md": index_page(), **made, "columns.md": columns_page()}


def index_page() -> str:
    """Return the list of all settings and columns."""
    lines = ["# Every setting and every column", WRITTEN]
    for section in TITLES:
        fields = SECTIONS[section].model_fields.items()
        names = ", ".join(f"[{field.title}]({section}.md#{name})" for name, field in fields)
        lines.append(f"**[{TITLES[section]}]({section}.md)**: {names}")
    names = ", ".join(f"[{column.title}](columns.md#{column.name})" for column in COLUMNS)
    lines.append(f"**[Columns of a localization table](columns.md)**: {names}")
    return "\n\n".join(lines) + "\n"


def settings_page(section: str) -> str:
    """Return the page of one group of settings."""
    model = SECTIONS[section]
    summary = (inspect.getdoc(model) or "").partition("\n")[0].replace("``", "`")
    parts = [f"# {TITLES[section]}", summary, WRITTEN]
    for name, field in model.model_fields.items():
        parts += setting_entry(section, name, field)
    return "\n\n".join(parts) + "\n"


def setting_entry(section: str, name: str, field: FieldInfo) -> Iterator[str]:
    """Yield the paragraphs of one setting."""
    path = f"{section}.{name}"
    options = options_of(section, name)
    yield f'<a id="{name}"></a>'
    yield f"## {field.title}"
    yield str(field.description)
    rows = [
        ("In a recipe", f"`{path}`"),
        ("Unit", Said.of(field).unit or "none"),
        ("Default", default_text(field.default)),
        ("Range", range_text(field)),
        ("Formula", FORMULAS.get(path, "")),
        ("In the window", window_text(path)),
        ("On the command line", options_text(options, field)),
    ]
    yield "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows if v)])


def columns_page() -> str:
    """Return the page of the columns."""
    parts = [
        "# Columns of a localization table",
        "One row per molecule and frame; `molecules.csv` has one per molecule. Inside the program, "
        "frames count from 0 and positions from the outer corner of the top-left pixel. Files get "
        "the origin, the first frame and the units of the program they are for.",
        WRITTEN,
    ]
    for column in COLUMNS:
        parts += column_entry(column)
    return "\n\n".join(parts) + "\n"


def column_entry(column: Column) -> Iterator[str]:
    """Yield the paragraphs of one column."""
    yield f'<a id="{column.name}"></a>'
    yield f"## {column.title}"
    yield column.description
    rows = [
        ("Name", f'`{column.name}`, as in filters: `--where "{column.name} > 1"`'),
        ("Unit", column.unit or "none"),
        ("In ThunderSTORM files", f"`{column.thunderstorm}`"),
        ("Needed", "yes" if column.required else "no"),
        ("Formula", FORMULAS.get(column.name, "")),
    ]
    yield "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows if v)])


# ---- what is said of a setting


def default_text(default: Any) -> str:
    """Return a default in words."""
    if default is None:
        return "empty"
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"{default:g}" if isinstance(default, float) else str(default)


def range_text(field: FieldInfo) -> str:
    """Return the values that are possible."""
    kind = field.annotation
    parts = [part for part in get_args(kind) if part is not type(None)]
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if parts and get_origin(parts[0]) is Literal and "auto" not in get_args(parts[0]):
        return ", ".join(f"`{value}`" for value in get_args(parts[0]))
    signs = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}
    bounds = [
        sign.format(f"{getattr(bound, name):,g}")
        for bound in field.metadata
        for name, sign in signs.items()
        if hasattr(bound, name)
    ]
    auto = ["`auto`"] if any("auto" in get_args(part) for part in (kind, *parts)) else []
    kinds = {getattr(part, "__name__", "") for part in parts}
    words = {"float": "a number", "int": "a whole number", "Path": "a file"}
    others = [text for kind_name, text in words.items() if kind_name in kinds]
    if bounds:
        return " ".join([*auto, *bounds])
    if kind is bool:
        return "yes, no"
    return ", or ".join([*auto, *others])


def window_text(path: str) -> str:
    """Return where a setting is in the window."""
    key = PART_OF.get(path, path)
    places = [
        f"*{dock}* > {group}"
        for dock, groups in WINDOW.items()
        for group, keys in groups.items()
        if key in keys
    ]
    how = " (*Bead image* in the row *PSF*)" if path in PART_OF else ""
    return "; ".join(places) + how if places else "not there"


def options_text(options: list[Option], field: FieldInfo) -> str:
    """Return the options of a setting, and of which commands they are."""
    if not options:
        return "not there"
    usual = default_text(field.default) if field.default is not None else ""
    by_flags: dict[str, list[str]] = {}
    for option in options:
        other = option.default and option.default not in (usual, str(field.default))
        command = f"`{option.command}`" + (f" (default {option.default})" if other else "")
        by_flags.setdefault(option.flags, []).append(command)
    return "; ".join(f"{flags} of {', '.join(names)}" for flags, names in by_flags.items())


def options_of(section: str, name: str) -> list[Option]:
    """Return the options for a setting in all commands."""
    also = Said.of(SECTIONS[section].model_fields[name]).also
    found = []
    for command in app.registered_commands:
        assert command.callback is not None
        title = command.name or command.callback.__name__.replace("_", "-")
        parameters = inspect.signature(command.callback).parameters
        texts = [option_of(parameters[key]) for other in (name, *also)
                 if (key := f"{section}__{other}") in parameters]  # fmt: skip
        if texts:
            found.append(Option(title, ", ".join(flags for flags, _ in texts), texts[0][1]))
    return found


def option_of(parameter: inspect.Parameter) -> tuple[str, str]:
    """Return flags and default of an option."""
    info = get_args(parameter.annotation)[1]
    default = re.search(r"Default: (\S+)\.(?: \[|$)", info.help)
    flags = ", ".join(f"`{flag}`" for flag in (info.default, *info.param_decls))
    return flags, default[1] if default else ""


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")
