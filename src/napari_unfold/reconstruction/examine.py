"""Examining an installation: is everything there, and does it compute what it should."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version

import psutil
import torch

import napari_unfold
from napari_unfold.errors import UnfoldError
from napari_unfold.files.presets import DEFAULT_PRESET, find_presets, load_preset
from napari_unfold.files.stacks import as_stack
from napari_unfold.jobs import Device, Job, Note, Stage, choose_device, translated
from napari_unfold.reconstruction.reconstruct import reconstruct
from napari_unfold.simulation.scenes import simulate
from napari_unfold.tables.evaluate import evaluate

PACKAGES = (
    "torch", "numpy", "scipy", "pandas", "tifffile", "imagecodecs", "scikit-image", "pydantic",
    "napari", "npe2", "magicgui", "PyQt6", "PyQt5", "PySide6", "zarr", "h5py", "pyarrow", "nd2",
    "czifile",
)  # fmt: skip
LEAST_MEMORY_GB = 1.0
LARGEST_DIFFERENCE = 5e-3
"""Between the device and double precision, relative to the largest value; GPUs round to 1e-3."""
LEAST_JACCARD = 0.9
"""Of the test, at 100 nm; 1 is usual."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    name, value : str
    problem : str
        What is wrong with it; empty if nothing is.
    """

    name: str
    value: str
    problem: str = ""


def examine(device: Device = "auto") -> Job[list[Finding]]:
    """Look at versions, memory, device and plugin, and reconstruct a simulated stack.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}

    Yields
    ------
    Event

    Returns
    -------
    list of Finding

    Raises
    ------
    InputError
        If the device that is asked for cannot be used.
    """
    chosen = choose_device(device)
    yield Stage("Looking at the installation")
    findings = [
        Finding("napari-unfold", napari_unfold.__version__),
        Finding("Python", f"{platform.python_version()} on {platform.platform()}"),
        Finding("packages", ", ".join(_versions())),
        _memory(),
        _plugin(),
        _presets(),
        _computation(chosen),
    ]
    return [*findings, (yield from _reconstruction(device))]


def _versions() -> list[str]:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # some are for those who want them
            continue
    return found


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    free_gb = memory.available / 2**30
    return Finding(
        "memory",
        f"{free_gb:.1f} GB of {memory.total / 2**30:.1f} GB free, {psutil.cpu_count()} processors, "
        f"{torch.get_num_threads()} used",
        "less than 1 GB is free" if free_gb < LEAST_MEMORY_GB else "",
    )


def _plugin() -> Finding:
    found = [e for e in entry_points(group="napari.manifest") if e.name == "napari-unfold"]
    problem = "" if found else "napari will not find it: install napari-unfold again with pip"
    return Finding("plugin", found[0].value if found else "not registered", problem)


def _presets() -> Finding:
    found = find_presets()
    names = ", ".join(preset.name for preset in found.presets)
    return Finding("presets", names, " ".join(found.left_out.values()).rstrip("."))


def _computation(device: torch.device) -> Finding:
    """Blur random images on the device, and in double precision on the processor."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((4, 1, 64, 64), generator=generator)
    kernel = torch.rand((1, 1, 9, 9), generator=generator)
    blur = torch.nn.functional.conv2d
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
    try:
        here = blur(images.to(device), kernel.to(device)).cpu()
    except (RuntimeError, NotImplementedError) as error:
        return Finding("device", f"{device} ({name})", f"it cannot compute: {error}")
    exact = blur(images.double(), kernel.double())
    difference = float((here - exact).abs().max() / exact.abs().max())
    return Finding(
        "device",
        f"{device} ({name}), differs by {difference:.1e} from double precision",
        "" if difference < LARGEST_DIFFERENCE else "it computes something else",
    )


def _reconstruction(device: Device) -> Job[Finding]:
    made = simulate("random", frames=10, shape=(32, 32), density_per_um2=0.5, seed=1)
    stack = as_stack(made.stack, "test", made.recipe.optics.pixel_size_nm)
    started = time.monotonic()
    try:
        job = reconstruct(stack, made.recipe, load_preset(DEFAULT_PRESET), device=device)
        result = yield from translated(job, lambda e: None if isinstance(e, Note) else e)
    except UnfoldError as error:
        return Finding("test", "no result", str(error).rstrip("."))
    (score,) = evaluate(result.localizations, made.truth, (100.0,))
    return Finding(
        "test",
        f"Jaccard index {score.jaccard:.3f} at 100 nm, RMSE {score.rmse_nm:.1f} nm, "
        f"{len(made.stack) / (time.monotonic() - started):.1f} frames a second",
        "" if score.jaccard >= LEAST_JACCARD else "far below what is usual",
    )
