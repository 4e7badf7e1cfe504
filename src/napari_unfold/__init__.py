"""Super-resolution microscopy by algorithm unfolding.

The public names below are imported on first use, so that ``import napari_unfold`` stays quick.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("napari-unfold")

# Threads of torch that have nothing to do leave their core to those of the compiled loops, and to
# napari, instead of running idle; on a busy computer that is a third of the time. Read when torch
# is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_PUBLIC = {
    "Recipe": "napari_unfold.settings.recipe",
    "open_stack": "napari_unfold.files.opening",
    "as_stack": "napari_unfold.files.stacks",
    "read_localizations": "napari_unfold.files.localizations",
    "write_localizations": "napari_unfold.files.localizations",
    "load_preset": "napari_unfold.files.presets",
    "reconstruct": "napari_unfold.reconstruction.reconstruct",
    "evaluate": "napari_unfold.tables.evaluate",
    "simulate": "napari_unfold.simulation.scenes",
    "run_to_end": "napari_unfold.jobs",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
