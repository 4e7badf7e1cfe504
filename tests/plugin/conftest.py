"""A small result to show, and a home for settings that is not the user's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from napari.layers import Image

from napari_unfold.files import presets
from napari_unfold.plugin import remember


@pytest.fixture(autouse=True)
def settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the remembered settings and the user's presets of these tests in a folder of theirs."""
    file = tmp_path / "config" / "reconstruct.json"
    monkeypatch.setattr(remember, "settings_file", lambda: file)
    monkeypatch.setattr(presets, "user_preset_folder", lambda: tmp_path / "presets")
    return file


def result_of(
    shape: tuple[int, int] = (8, 10), upsampling: int = 4, pixel_size_nm: float = 100.0
) -> SimpleNamespace:
    """Return what a reconstruction of one molecule at x = 212.5 nm, y = 437.5 nm looks like."""
    fine_nm = pixel_size_nm / upsampling
    image = np.zeros((shape[0] * upsampling, shape[1] * upsampling), np.float32)
    image[int(437.5 // fine_nm), int(212.5 // fine_nm)] = 7.0
    table = pd.DataFrame({"frame": [2], "x_nm": [212.5], "y_nm": [437.5], "photons": [1500.0]})
    return SimpleNamespace(
        image=image,
        localizations=table,
        upsampling=upsampling,
        pixel_size_nm=pixel_size_nm,
        record={"program": "test"},
    )


def outer_corners(layer: Image) -> np.ndarray:
    """World positions (y, x) of the first and the last outer corner of the frames of a layer."""
    shape = np.array(layer.data.shape)
    first, last = np.full(layer.ndim, -0.5), shape - 0.5
    if layer.ndim == 3:
        first[0] = last[0] = 0
    return np.array([layer.data_to_world(first)[-2:], layer.data_to_world(last)[-2:]])
