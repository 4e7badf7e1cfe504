"""What all tests share: the environment they run in, the settings of hypothesis, the real data."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Before anything imports Qt, matplotlib or napari.
os.environ.setdefault("QT_API", "pyqt6")
os.environ.setdefault("PYTEST_QT_API", os.environ["QT_API"])
os.environ.setdefault("MPLBACKEND", "Agg")
# Empty: napari neither reads nor writes the settings of whoever runs the tests.
os.environ.setdefault("NAPARI_CONFIG", "")

_HAS_DISPLAY = not sys.platform.startswith("linux") or any(
    os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
)
if not _HAS_DISPLAY:
    # Without it Qt ends the whole process at the first widget.
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

# A machine under load must not fail a test, so no example has a deadline.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

_TESTS = Path(__file__).parent
_SHARED_DATA = _TESTS.parent.parent / "shared" / "data"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import the tests of windows, and napari with them, where they are not wanted."""
    unwanted = "not gui" in config.option.markexpr
    return True if unwanted and collection_path == _TESTS / "plugin" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of tests/plugin as `gui`, and skip what needs a display where there is none."""
    no_display = pytest.mark.skip(reason="no display: run `make test`, which brings a virtual one")
    for item in items:
        if _TESTS / "plugin" in item.path.parents:
            item.add_marker(pytest.mark.gui)
        if item.get_closest_marker("gui") and not _HAS_DISPLAY:
            item.add_marker(no_display)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of data sets beside the repository; read it, never write."""
    if not _SHARED_DATA.is_dir():
        pytest.skip(f"needs the data sets in {_SHARED_DATA}, which are not part of the project")
    return _SHARED_DATA
