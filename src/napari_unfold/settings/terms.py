"""The terms of the energy that there are to choose from, by name.

A file in ``unfolding/fidelities`` or ``unfolding/penalties`` is a term: its name is that of the
file, and what a form calls it stands before the colon in the file's first line. Both are read
without importing the file, which would bring PyTorch in.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Literal

_UNFOLDING = Path(__file__).parents[1] / "unfolding"


def _titles(folder: str) -> dict[str, str]:
    files = sorted((_UNFOLDING / folder).glob("[!_]*.py"))
    openings = {f.stem: ast.get_docstring(ast.parse(f.read_text("utf-8"))) for f in files}
    return {
        stem.replace("_", "-"): (opening or stem).partition(":")[0]
        for stem, opening in openings.items()
    }


FIDELITIES = _titles("fidelities")
PENALTIES = _titles("penalties")
"""From the name of each term to its title."""

if TYPE_CHECKING:
    Fidelity = str
    Penalty = str
else:
    Fidelity = Literal[tuple(FIDELITIES)]
    Penalty = Literal[tuple(PENALTIES)]


def listed(titles: dict[str, str]) -> str:
    """Return names and titles as a help text."""
    return ", ".join(f"'{name}' - {title}" for name, title in titles.items())
