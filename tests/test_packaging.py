"""What the package says of itself is true, and said once."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

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


def test_the_lowest_versions_that_are_tested_are_those_that_are_allowed() -> None:
    """To as many places as are stated: 2024.7.2 is the lowest release of 2024.7."""
    extras = PROJECT["optional-dependencies"]
    texts = [*PROJECT["dependencies"], *(r for n, rs in extras.items() if n != "all" for r in rs)]
    lines = (ROOT / "constraints-lowest.txt").read_text("utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pinned.keys() == {distribution_name(text) for text in texts}
    for requirement in map(Requirement, texts):
        (bound,) = requirement.specifier
        allowed, tested = Version(bound.version), Version(pinned[requirement.name.lower()])
        assert bound.operator == ">="
        places = len(allowed.release)
        assert (tested.release + (0,) * places)[:places] == allowed.release, requirement


def test_what_a_file_needs_can_be_installed_as_an_extra() -> None:
    sources = "".join(f.read_text("utf-8") for f in (PACKAGE / "files").glob("*.py"))
    extras = PROJECT["optional-dependencies"]
    for package, extra in re.findall(r'needed\("(\w+)", "(\w+)"', sources):
        assert [distribution_name(r) for r in extras[extra]] == [package]
        assert extra in extras["all"][1]


def closure(name: str, extra: str = "") -> set[str]:
    """Return the distributions that come with one, as far as they are installed here."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = canonicalize_name(waiting.pop())
        if one in found:
            continue
        try:
            requirements = [Requirement(text) for text in requires(one) or ()]
        except PackageNotFoundError:
            continue
        found.add(one)
        marked = {"extra": extra if one == name else ""}
        waiting += [r.name for r in requirements if not r.marker or r.marker.evaluate(marked)]
    return found


def licence_of(name: str) -> str:
    told = metadata(name)
    classes = [c for c in told.get_all("Classifier") or () if c.startswith("License")]
    # some put the whole text there; what it is called stands in its first lines
    named = (told.get("License") or "")[:80]
    return " ".join([told.get("License-Expression") or "", *classes, named])


def is_gpl(licence: str) -> bool:
    """Whether it is the GPL alone; the LGPL lets a library be used, and of two one may choose."""
    others = re.sub(r"LGPL|(Lesser|Library) General Public License", "", licence)
    return " OR " not in licence and bool(re.search(r"GPL|General Public License", others))


def test_nothing_under_the_gpl_comes_with_it() -> None:
    """Which would make napari-unfold itself GPL."""
    distributions = {d for r in PROJECT["dependencies"] for d in closure(distribution_name(r))}
    assert {"napari", "torch", "numpy", "psutil", "pyyaml"} <= distributions
    licences = {name: licence_of(name) for name in distributions}
    assert {name: licence for name, licence in licences.items() if is_gpl(licence)} == {}


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("GPL-3.0-only", True),
        ("License :: OSI Approved :: GNU General Public License v3 (GPLv3)", True),
        ("AGPL-3.0", True),
        ("License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)", False),
        ("LGPL-3.0-only", False),
        ("BSD-3-Clause", False),
        ("LGPL-3.0-only OR GPL-2.0-only", False),
    ],
)
def test_what_is_the_gpl(licence: str, expected: bool) -> None:
    assert is_gpl(licence) is expected


@pytest.mark.slow
def test_the_wheel_holds_all_that_the_source_tree_holds(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        packed = {name for name in content.namelist() if name.startswith("napari_unfold/")}
        (entries,) = [n for n in content.namelist() if n.endswith("entry_points.txt")]
        assert "napari_unfold:napari.yaml" in content.read(entries).decode()
    files = [p for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert packed == {p.relative_to(PACKAGE.parent).as_posix() for p in files}


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
