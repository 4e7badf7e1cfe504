"""The doctor finds a sound installation sound, and says what is wrong with another one."""

from __future__ import annotations

import pytest
import torch

from napari_unfold.files import presets
from napari_unfold.jobs import run_to_end
from napari_unfold.reconstruction import examine as module
from napari_unfold.reconstruction.examine import examine

pytestmark = pytest.mark.slow


def findings() -> dict[str, module.Finding]:
    return {finding.name: finding for finding in run_to_end(examine("cpu"))}


@pytest.fixture(autouse=True)
def user_folder(tmp_path, monkeypatch):
    """Keep the presets of whoever runs the tests out of them."""
    monkeypatch.setattr(presets, "user_preset_folder", lambda: tmp_path)
    return tmp_path


def test_this_installation_is_sound(monkeypatch) -> None:
    found = findings()
    sound = {name for name, finding in found.items() if not finding.problem}
    # from a source tree that is not installed the plugin cannot be found
    assert {*found} - sound <= {"plugin"}
    assert f"torch {torch.__version__.partition('+')[0]}" in found["packages"].value
    assert "Jaccard index" in found["test"].value
    assert "GB" in found["memory"].value


def test_what_is_wrong_is_said(monkeypatch, user_folder) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no kernel image is available for execution on the device")

    (user_folder / "mine.json").write_text("{")
    monkeypatch.setattr(module, "LEAST_JACCARD", 1.1)
    monkeypatch.setattr(module, "LEAST_MEMORY_GB", 1e9)
    monkeypatch.setattr(module, "entry_points", lambda **_: [])
    found = findings()
    assert "mine.json" in found["presets"].problem
    assert "usual" in found["test"].problem
    assert "is free" in found["memory"].problem
    assert "install napari-unfold again" in found["plugin"].problem
    monkeypatch.setattr(torch.nn.functional, "conv2d", broken)
    assert "no kernel image" in module._computation(torch.device("cpu")).problem
