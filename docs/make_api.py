"""Write docs/api.md, the reference of the public names, from their docstrings.

python docs/make_api.py
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import napari_unfold

OPENING = """# The public names

Written by `python docs/make_api.py` from the docstrings; change them there. Everything is imported
from `napari_unfold`, on first use. Jobs yield events; `run_to_end` runs one and returns its result.
"""
SECTION = re.compile(r"^(\w+)\n-{3,}\n", re.MULTILINE)


def reference() -> str:
    """Return the page."""
    names = [name for name in napari_unfold.__all__ if not name.startswith("_")]
    return "\n".join([OPENING, *(chapter(name) for name in names)])


def chapter(name: str) -> str:
    """Return the chapter of one public name."""
    what = getattr(napari_unfold, name)
    summary, *sections = SECTION.split(inspect.getdoc(what) or "")
    parts = [f"## {name}", f"```python\n{signature(name, what)}\n```", summary.strip()]
    for title, text in zip(sections[::2], sections[1::2], strict=True):
        parts += [f"**{title}**", "\n".join(entries(text.strip()))]
    if isinstance(what, type) and issubclass(what, BaseModel):
        parts += settings(what)
    return "\n\n".join(parts) + "\n"


def signature(name: str, what: Any) -> str:
    """Return how it is called, one parameter a line where there are many."""
    if isinstance(what, type):
        return f"{name}({', '.join(f'{field}=...' for field in what.model_fields)})"
    parameters = list(parameters_of(what))
    line = f"{name}({', '.join(parameters)})"
    return line if len(line) <= 90 else f"{name}(\n    " + ",\n    ".join(parameters) + ",\n)"


def parameters_of(function: Any) -> Iterator[str]:
    """Yield the parameters of a function, with a star before those to be given by name."""
    starred = False
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        yield f"{name}: {parameter.annotation}{default}"


def entries(text: str) -> Iterator[str]:
    """Yield the entries of a numpydoc section as a list."""
    for line in text.splitlines():
        if line.startswith(" "):
            yield f"  {line.strip()}"
        elif line:
            yield f"- `{line}`"


def settings(model: type[BaseModel]) -> Iterator[str]:
    """Yield a table of the settings of every section of a model."""
    for name, section in model.model_fields.items():
        yield f"### {name}"
        yield str(inspect.getdoc(section.annotation))
        rows = ["| setting | unit | default | |", "|---|---|---|---|"]
        for field, info in section.annotation.model_fields.items():  # type: ignore[union-attr]
            unit = (info.json_schema_extra or {}).get("unit", "")  # type: ignore[union-attr]
            rows.append(f"| `{field}` | {unit} | {info.default} | {info.description} |")
        yield "\n".join(rows)


if __name__ == "__main__":
    Path(__file__).with_name("api.md").write_text(reference(), "utf-8")
