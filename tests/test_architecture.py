"""The rules of the house (CONTRIBUTING.md, docs/architecture.md) hold in the code as it is."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from npe2 import PluginManifest
from npe2.manifest.utils import import_python_name

import napari_unfold

PACKAGE = Path(napari_unfold.__file__).parent
GUI_PACKAGES = {"qtpy", "superqt", "magicgui", "napari", "vispy", "PyQt5", "PyQt6", "PySide6"}
ROOMS = (
    "errors", "jobs", "settings", "imaging", "tables", "simulation", "unfolding", "localization",
    "files", "presets", "estimation", "reconstruction", "learning", "fluctuation", "plugin", "cli",
)  # fmt: skip
SLOW_PACKAGES = {"torch", "pandas", "skimage", "dask", "tifffile"}

# Prints, for each module in argv, the top-level packages that importing it brought in.
REPORT_IMPORTS = """
import importlib, json, sys
brought = {}
for name in sys.argv[1:]:
    before = {module.partition(".")[0] for module in sys.modules}
    importlib.import_module(name)
    brought[name] = sorted({module.partition(".")[0] for module in sys.modules} - before)
print(json.dumps(brought))
"""


def imported_by(*modules: str) -> dict[str, set[str]]:
    """Import the modules in turn in a new interpreter; return the packages each brought in."""
    run = subprocess.run(
        [sys.executable, "-c", REPORT_IMPORTS, *modules], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return {name: set(packages) for name, packages in json.loads(run.stdout).items()}


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_distribution("napari-unfold")


def functions_of(manifest: PluginManifest) -> dict[str, str]:
    return {c.id: c.python_name for c in manifest.contributions.commands or () if c.python_name}


@cache
def names_imported_by(file: Path) -> set[str]:
    """Return the dotted names that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports by a relative path"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return names


def packages_imported_by(file: Path) -> set[str]:
    return {name.partition(".")[0] for name in names_imported_by(file)}


def rooms_imported_by(file: Path) -> set[str]:
    paths = [name.split(".") for name in names_imported_by(file)]
    return {path[1] for path in paths if path[0] == "napari_unfold" and path[1:]} & set(ROOMS)


def test_only_the_plugin_knows_qt_and_napari() -> None:
    outside = [f for f in PACKAGE.rglob("*.py") if PACKAGE / "plugin" not in f.parents]
    known = {module_name(file): packages_imported_by(file) & GUI_PACKAGES for file in outside}
    assert {name: packages for name, packages in known.items() if packages} == {}


def test_a_room_imports_only_what_stands_above_it() -> None:
    upwards = set()
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room in ROOMS:
            below = ROOMS[ROOMS.index(room) + 1 :]
            upwards |= {(module_name(file), other) for other in rooms_imported_by(file) & {*below}}
    assert upwards == set()


def test_every_folder_is_a_room() -> None:
    found = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert found <= set(ROOMS)


def test_the_rooms_are_drawn_in_their_order() -> None:
    page = Path(__file__).parents[1] / "docs" / "architecture.md"
    picture = page.read_text("utf-8").split("```\n")[1]
    first, *others = re.findall(r"^  (\w+)(?:/|  jobs)", picture, re.MULTILINE)
    assert (first, "jobs", *others) == ROOMS


def test_importing_the_package_is_quick() -> None:
    (brought,) = imported_by("napari_unfold").values()
    assert brought & (SLOW_PACKAGES | GUI_PACKAGES) == set()


def test_the_public_names_exist() -> None:
    assert [n for n in napari_unfold.__all__ if not hasattr(napari_unfold, n)] == []


def test_modules_stay_short() -> None:
    lines = {module_name(f): len(f.read_text("utf-8").splitlines()) for f in PACKAGE.rglob("*.py")}
    assert {name: n for name, n in lines.items() if n > 400} == {}


def test_the_manifest_describes_this_distribution(manifest: PluginManifest) -> None:
    assert manifest.name == "napari-unfold"
    assert manifest.package_version == napari_unfold.__version__


def test_the_manifest_at_the_top_level_is_the_one_in_the_package() -> None:
    link = Path(__file__).parents[1] / "napari.yaml"
    assert link.read_text("utf-8") == (PACKAGE / "napari.yaml").read_text("utf-8")


def test_every_command_of_the_manifest_can_be_called(manifest: PluginManifest) -> None:
    functions = functions_of(manifest)
    assert functions
    assert [i for i, name in functions.items() if not callable(import_python_name(name))] == []


@pytest.mark.slow
def test_opening_the_plugin_does_not_wait_for_slow_packages(manifest: PluginManifest) -> None:
    modules = {name.partition(":")[0] for name in functions_of(manifest).values()}
    brought = imported_by(*sorted(modules))
    slow = SLOW_PACKAGES - {"skimage", "dask"}  # which napari itself has imported by then
    assert {m: found for m, packages in brought.items() if (found := packages & slow)} == {}
