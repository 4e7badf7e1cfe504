"""What the documentation names is there, under that name."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from pkgutil import resolve_name

import pytest

import napari_unfold

ROOT = Path(__file__).parents[1]
PACKAGE = Path(napari_unfold.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
PAGES = ["docs/architecture.md", "CONTRIBUTING.md"]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
ROWS = re.findall(r"^\| ((?:\(\d+\) ?)+) \|.*\| `([\w.]+)` \|$", ARCHITECTURE, re.MULTILINE)
ROOMS = {path.stem for path in PACKAGE.iterdir()}


def exists(name: str) -> bool:
    """Whether there is a module, or something in one, of that dotted name."""
    try:
        resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.mark.parametrize("page", PAGES)
def test_every_module_and_function_of_a_page_exists(page: str) -> None:
    dotted = re.findall(r"`([a-z_]+(?:\.\w+)+)`", (ROOT / page).read_text("utf-8"))
    names = {f"napari_unfold.{name}" for name in dotted if name.partition(".")[0] in ROOMS}
    assert names
    assert {name for name in names if not exists(name)} == set()


def test_every_module_and_function_of_a_docstring_exists() -> None:
    named = re.compile(r"`(?:napari_unfold\.)?([a-z_]+(?:\.\w+)+)`")
    texts = {file.relative_to(PACKAGE).as_posix(): file.read_text("utf-8") for file in MODULES}
    names = {(file, name) for file, text in texts.items() for name in named.findall(text)}
    names = {(f, n) for f, n in names if n.partition(".")[0] in ROOMS and not n.endswith(".tif")}
    assert {(f, n) for f, n in names if not exists(f"napari_unfold.{n}")} == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_path_of_a_page_exists(page: str) -> None:
    paths = set(re.findall(r"`(\w+/[\w/.-]*)`", (ROOT / page).read_text("utf-8")))
    assert paths
    assert {p for p in paths if not (ROOT / p).exists() and not (PACKAGE / p).exists()} == set()


def test_the_table_names_all_equations_of_the_method() -> None:
    numbers = [int(n) for row, _ in ROWS for n in re.findall(r"\d+", row)]
    assert numbers == [1, *range(5, 24)]


@pytest.mark.parametrize(("numbers", "name"), ROWS)
def test_an_equation_is_where_the_table_says(numbers: str, name: str) -> None:
    module = resolve_name(f"napari_unfold.{name}").__module__
    texts = {f.relative_to(PACKAGE.parent): f.read_text("utf-8") for f in MODULES}
    for number in re.findall(r"\(\d+\)", numbers):
        found = [file for file, text in texts.items() if f"equation {number}" in text]
        assert [".".join(file.with_suffix("").parts) for file in found] == [module]


def test_the_reference_of_the_public_names_is_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "make_api.py"))
    assert (ROOT / "docs" / "api.md").read_text("utf-8") == script["reference"]()
