"""PyTorch is loaded beside the window, and once."""

from __future__ import annotations

import gc
import subprocess
import sys

from napari_unfold.plugin.running.loading import load

LOADED = """
import gc, sys
from napari_unfold.jobs import run_to_end
from napari_unfold.plugin.running.loading import load
assert "torch" not in sys.modules
run_to_end(load("napari_unfold.unfolding.network"))
assert "torch" in sys.modules and "napari_unfold.unfolding.network" in sys.modules
assert gc.isenabled() and gc.get_freeze_count() > 0
import torch
print(float(torch.ones(3).sum()))
"""


def test_what_needs_pytorch_is_there_afterwards_and_garbage_is_collected_again() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "3.0"


def test_the_second_time_nothing_is_said() -> None:
    list(load("napari_unfold.unfolding.network"))
    assert list(load("napari_unfold.unfolding.network")) == []
    assert gc.isenabled()
