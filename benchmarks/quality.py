"""Quality of the shipped preset: `make bench-quality`.

Prints one table: published stacks with truth, where they lie in ../shared/data, beside what
3D-DAOSTORM finds there, simulated molecules of many densities and brightnesses, and what happens
at a microscope; then how right the stated uncertainties are (`calibration`). Background and
brightness are estimated by the program; the settings are those of the preset throughout, and were
chosen on other simulations.

    J, P, R     Jaccard index, precision, recall at a tolerance in nm, pooled over the frames
    RMSE        of the pairs within 250 nm; E, the efficiency of the SMLM challenge, too
    /CRLB       root mean square error of isolated molecules over their Cramer-Rao bound
    err/unc     standard deviation of error over stated uncertainty, pairs within 100 nm
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pandas as pd
from bounds import error_over_uncertainty, rmse_over_bound
from calibration import pulls
from scenes import TOLERANCES_NM, Scene, realistic, run

from napari_unfold.files.localizations import read_localizations
from napari_unfold.files.opening import open_stack
from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
from napari_unfold.jobs import run_to_end
from napari_unfold.reconstruction.reconstruct import reconstruct
from napari_unfold.settings.microscope import FWHM_PER_SIGMA, Optics
from napari_unfold.settings.recipe import Recipe, Solver
from napari_unfold.settings.terms import Fidelity
from napari_unfold.simulation.scenes import Simulation
from napari_unfold.simulation.simulated_microscope import MICROSCOPE
from napari_unfold.tables.evaluate import evaluate

SHARED = Path(__file__).parents[2] / "shared" / "data" / "deep-storm"
SEED = 3000
PUBLISHED = (("random_density6", 250.0, range(6, 20)), ("microtubules_odd", 258.0, range(181)))
DAOSTORM_MICROTUBULES = "0.38   0.60   0.73       -       -      -       -       -    29.0"
"""Pooled Jaccard indices and efficiency on the sibling frames, as published with the data."""
FRAMES = {0.1: 120, 0.5: 32, 1.0: 20, 2.0: 12, 4.0: 8, 8.0: 6}
"""Frames of 64 x 64 pixels of 100 nm for each density per square micrometre."""
SIMULATED = (
    *(Scene("random", d, p, frames=n) for p in (500.0, 1500.0, 5000.0) for d, n in FRAMES.items()),
    Scene("filaments", 3.0),
    Scene("filaments", 3.0, photons=3000.0, background=500.0, excess_noise=1.0),
    *realistic(1.0),
    *realistic(3.0),
)
HEADER = " J 50  J 100  J 250   P 100   R 100   RMSE   /CRLB err/unc       E"


def row(
    name: str,
    found: pd.DataFrame,
    truth: pd.DataFrame,
    frames: range | None = None,
    made: Simulation | None = None,
) -> str:
    """Return one line of the table."""
    at = evaluate(found, truth, TOLERANCES_NM, frames)
    known = "uncertainty_x_nm" in found
    numbers = [
        *(f"{s.jaccard:.3f}" for s in at),
        f"{at[1].precision:.3f}",
        f"{at[1].recall:.3f}",
        f"{at[-1].rmse_nm:.1f}",
        _or_dash(rmse_over_bound(found, made)) if made else "-",
        f"{error_over_uncertainty(found, truth):.2f}" if known else "-",
        f"{at[-1].efficiency:.1f}",
    ]
    widths = (5, 5, 5, 6, 6, 5, 6, 6, 6)
    return f"{name:53s} " + "  ".join(n.rjust(w) for n, w in zip(numbers, widths, strict=True))


def _or_dash(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:.2f}"


def published(fidelity: Fidelity) -> Iterator[str]:
    """Yield the rows of the published stacks, if they are there."""
    if not SHARED.is_dir():
        yield f"(no published stacks in {SHARED})"
        return
    preset = load_preset(DEFAULT_PRESET)
    for name, fwhm_nm, frames in PUBLISHED:
        truth = read_localizations(SHARED / f"{name}_truth.csv")
        recipe = Recipe(
            optics=Optics(psf_sigma_nm=fwhm_nm / FWHM_PER_SIGMA),
            camera=MICROSCOPE.camera,
            solver=Solver(fidelity=fidelity),
            localization=preset.localization,
        )
        with open_stack(SHARED / f"{name}.tif") as stack:
            span = slice(frames.start, frames.stop)
            result = run_to_end(reconstruct(stack, recipe, preset, frames=span))
        truth = truth[truth["frame"].isin(frames)].reset_index(drop=True)
        yield row(name, result.localizations, truth, frames)
        peer = SHARED / "peers" / f"{name}__3d-daostorm.csv"
        if peer.is_file():
            yield row(f"{name}, 3D-DAOSTORM", read_localizations(peer), truth, frames)
        else:
            yield f"{name + ', 3D-DAOSTORM (sibling frames)':53s} {DAOSTORM_MICROTUBULES}"


def simulated(fidelity: Fidelity) -> Iterator[str]:
    """Yield the rows of the simulated stacks."""
    preset = load_preset(DEFAULT_PRESET)
    for i, scene in enumerate(SIMULATED):
        made = scene.simulate(SEED + i)
        result = run(made, fidelity, preset)
        yield row(scene.title, result.localizations, made.truth, made=made)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Quality of the shipped preset.")
    parser.add_argument("--fidelity", choices=get_args(Fidelity), default="gaussian")
    fidelity: Fidelity = parser.parse_args().fidelity
    print(f"{'fidelity ' + fidelity:53s} {HEADER}")
    for rows in (published(fidelity), simulated(fidelity), pulls(fidelity)):
        for line in rows:
            print(line, flush=True)


if __name__ == "__main__":
    main()
