"""What the documentation names is there, under that name."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from pkgutil import resolve_name

import pytest

import napari_unfold
from napari_unfold.cli.options import SECTIONS
from napari_unfold.tables.columns import COLUMNS

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


REFERENCE = runpy.run_path(str(ROOT / "docs" / "make_reference.py"))


def test_the_reference_of_settings_and_columns_is_up_to_date() -> None:
    folder = ROOT / "docs" / "reference"
    assert {page.name: page.read_text("utf-8") for page in folder.iterdir()} == REFERENCE["pages"]()


def test_every_formula_is_of_a_setting_or_a_column() -> None:
    paths = {f"{s}.{name}" for s, model in SECTIONS.items() for name in model.model_fields}
    assert set(REFERENCE["FORMULAS"]) <= paths | {column.name for column in COLUMNS}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda p: p.name)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    """Seen in the repository; `make docs` tests the same on the site."""
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        target, _, anchor = link.partition("#")
        file = (page.parent / target) if target else page
        assert file.exists(), link
        assert not anchor or anchor in anchors_of(file), link


def anchors_of(page: Path) -> set[str]:
    """Return the places of a page that can be linked to."""
    text = page.read_text("utf-8")
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


def test_every_page_and_picture_is_used() -> None:
    docs = ROOT / "docs"
    texts = [page.read_text("utf-8") for page in [*docs.rglob("*.md"), ROOT / "README.md"]]
    nav = (ROOT / "mkdocs.yml").read_text("utf-8")
    pages = {page.relative_to(docs).as_posix() for page in docs.rglob("*.md")}
    assert {page for page in pages if f"{page}\n" not in nav} == set()
    pictures = [picture.name for picture in (docs / "images").iterdir()]
    assert [name for name in pictures if not any(f"images/{name})" in text for text in texts)] == []
