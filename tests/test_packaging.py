"""What the package says of itself is true, and said once."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import yaml

import napari_unfold

ROOT = Path(__file__).parents[1]
PACKAGE = Path(napari_unfold.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOADED_BY_OTHERS = {"imagecodecs"}
"""What tifffile decompresses with."""


def distribution_name(requirement: str) -> str:
    return re.split(r"[\[<>=;\s]", requirement)[0].lower()


def imported_packages() -> set[str]:
    """Return the top-level packages that a file imports, inside functions and for types too."""
    found = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"napari_unfold"}


def test_every_dependency_is_imported_and_every_import_is_a_dependency() -> None:
    declared = {distribution_name(requirement) for requirement in PROJECT["dependencies"]}
    providers = packages_distributions()
    imported = {name: {d.lower() for d in providers[name]} for name in imported_packages()}
    assert {name for name, from_ in imported.items() if not from_ & declared} == set()
    used = set.union(*imported.values())
    assert declared - used == LOADED_BY_OTHERS


def test_what_a_file_needs_can_be_installed_as_an_extra() -> None:
    sources = "".join(f.read_text("utf-8") for f in (PACKAGE / "files").glob("*.py"))
    extras = PROJECT["optional-dependencies"]
    for package, extra in re.findall(r'needed\("(\w+)", "(\w+)"', sources):
        assert [distribution_name(r) for r in extras[extra]] == [package]
        assert extra in extras["all"][1]


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == PROJECT["version"] == napari_unfold.__version__


def test_the_citation_says_what_the_package_says() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["title"] == PROJECT["name"]
    assert citation["license"] == PROJECT["license"]
    assert [a["name"] for a in citation["authors"]] == [a["name"] for a in PROJECT["authors"]]
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    paper = citation["preferred-citation"]
    assert paper["title"] in readme
    for author in paper["authors"]:
        assert f"{author['given-names'][0]}. {author['family-names']}" in readme


def test_the_package_tells_type_checkers_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
