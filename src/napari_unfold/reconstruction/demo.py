"""The whole job on simulated data, from nothing to a scored result."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from napari_unfold.files.figures import save_figure
from napari_unfold.files.images import write_image
from napari_unfold.files.localizations import write_localizations
from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
from napari_unfold.files.result_folder import ResultFolder
from napari_unfold.files.results import write_json
from napari_unfold.files.stacks import as_stack
from napari_unfold.jobs import Device, Job, Stage
from napari_unfold.reconstruction.reconstruct import Reconstruction, reconstruct
from napari_unfold.settings.microscope import Background
from napari_unfold.simulation.scenes import Simulation, simulate
from napari_unfold.tables.evaluate import evaluate

FRAMES = 60
DENSITY_PER_UM2 = 3.0
TOLERANCES_NM = (50.0, 100.0, 250.0)


@dataclass(frozen=True)
class Demo:
    """What the demo made.

    Attributes
    ----------
    simulation : Simulation
    reconstruction : Reconstruction
    report : dict
        Scores and how they came about, ready for JSON.
    """

    simulation: Simulation
    reconstruction: Reconstruction
    report: dict[str, Any]


def demo(folder: Path, *, seed: int = 7, device: Device = "auto") -> Job[Demo]:
    """Simulate filaments, reconstruct and localize them, and compare with the truth.

    Parameters
    ----------
    folder : Path
        For the files, created if need be.
    seed : int
    device : {"auto", "cpu", "cuda"}

    Yields
    ------
    Event

    Returns
    -------
    Demo
    """
    with ResultFolder(folder) as opened:
        return (yield from _demo(opened, seed, device))


def _demo(folder: ResultFolder, seed: int, device: Device) -> Job[Demo]:
    yield Stage("Simulating filaments")
    simulation = simulate("filaments", frames=FRAMES, density_per_um2=DENSITY_PER_UM2, seed=seed)
    pixel_nm = simulation.recipe.optics.pixel_size_nm
    # the job is given what a microscopist knows; background and brightness it has to find out
    recipe = simulation.recipe.model_copy(update={"background": Background()})
    preset = load_preset(DEFAULT_PRESET)
    stack = as_stack(simulation.stack, "demo", pixel_nm)
    result = yield from reconstruct(stack, recipe, preset, device=device)
    scores = evaluate(result.localizations, simulation.truth, TOLERANCES_NM)
    report = {"scores": [asdict(score) for score in scores], "seed": seed, **result.record}
    yield Stage("Writing the results")
    write_image(simulation.stack, folder.file("stack.tif"), pixel_nm)
    write_localizations(simulation.truth, folder.file("truth.csv"))
    write_image(result.image, folder.file("reconstruction.tif"), pixel_nm / result.upsampling)
    write_localizations(result.localizations, folder.file("localizations.csv"))
    write_json(report, folder.file("report.json"))
    save_figure(
        folder.file("figure.png"),
        simulation.stack.mean(axis=0),
        result.image,
        result.localizations,
        simulation.truth,
        pixel_nm,
        f"{FRAMES} frames, {DENSITY_PER_UM2:g} molecules per µm²: Jaccard index "
        + ", ".join(f"{s.jaccard:.2f} at {s.tolerance_nm:g} nm" for s in scores),
    )
    return Demo(simulation, result, report)
