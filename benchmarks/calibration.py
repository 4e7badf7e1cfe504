"""Are the stated uncertainties right? Standard deviations of error over uncertainty (pulls).

Of x and y, for pairs of found and true molecules within 100 nm; 1 is perfect. Background and
brightness are estimated by the program. Where molecules overlap, a pair may be a molecule that
was taken for another; that is part of what is measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from bounds import error_over_uncertainty
from scenes import Scene, realistic, run

from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
from napari_unfold.settings.recipe import Fidelity

SEED = 4000
FRAMES = {0.1: 120, 0.5: 40, 1.0: 24, 2.0: 16, 4.0: 10}
"""Frames for each density per square micrometre."""
SPREADS = (0.0, 0.2, 0.4, 0.6)
REALISTIC_DENSITIES = (0.3, 1.0, 3.0)
NAME_WIDTH = 40


def pull(scene: Scene, seed: int, fidelity: Fidelity) -> float:
    """Return the standard deviation of error over stated uncertainty."""
    made = scene.simulate(seed)
    found = run(made, fidelity, load_preset(DEFAULT_PRESET)).localizations
    if not len(found):
        return math.nan
    return error_over_uncertainty(found, made.truth)


def pulls(fidelity: Fidelity) -> Iterator[str]:
    """Yield the lines of two tables."""
    yield row("pull, independent frames: brightness spread", [f"{d:g}/um2" for d in FRAMES])
    for spread in SPREADS:
        scenes = [
            Scene("random", d, frames=n, sample={"brightness_spread": spread})
            for d, n in FRAMES.items()
        ]
        yield of_scenes(f"{100 * spread:.0f} %", scenes, fidelity)
    yield row("pull, as acquisitions are", [f"{d:g}/um2" for d in REALISTIC_DENSITIES])
    for scenes in zip(*map(realistic, REALISTIC_DENSITIES), strict=True):
        yield of_scenes(scenes[0].name, list(scenes), fidelity)


def of_scenes(title: str, scenes: list[Scene], fidelity: Fidelity) -> str:
    """Return one line."""
    return row(title, [f"{pull(s, SEED + i, fidelity):.2f}" for i, s in enumerate(scenes)])


def row(title: str, cells: list[str]) -> str:
    """Return one line."""
    return f"{title:{NAME_WIDTH}s}" + "".join(cell.rjust(9) for cell in cells)
