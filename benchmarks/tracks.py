"""What following molecules through time is worth: `make bench-tracks`.

Simulated molecules that stay on for 1 to 50 frames in the mean, begin and end within a frame, at
0.1 to 6 per square micrometre and frame. Settings are stated, background and brightness estimated.

    off, on     Jaccard index in percent at 50 and 100 nm, frame by frame and followed
    tracks      found (true)
    err/unc     standard deviation of error over stated uncertainty of molecules, and robust (from
                the median); of pairs within 100 nm
    /CRLB       error of isolated molecules over the Cramer-Rao bound of all their light
    time        of the followed run over that of the other
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from bounds import ISOLATED_SIGMA, background_at, cramer_rao_nm, pairs
from matplotlib.figure import Figure
from scenes import TOLERANCES_NM, Scene, run
from scipy.spatial import cKDTree

from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
from napari_unfold.settings.recipe import Follow
from napari_unfold.simulation.scenes import Simulation
from napari_unfold.tables.evaluate import evaluate

SEED = 5200
ON_FRAMES = (1.0, 5.0, 20.0, 50.0)
FRAMES = {0.1: 200, 0.3: 120, 1.0: 100, 3.0: 60, 6.0: 40}
"""Frames for each density per square micrometre."""
HEADER = "on-time  density       off           on          tracks       err/unc    /CRLB  time"
MATCH_NM = 100.0


@dataclass(frozen=True)
class Molecules:
    """Found molecules and the true ones to which most of their rows belong.

    Attributes
    ----------
    error : array (n, 2)
        Of x and y in nm.
    uncertainty : array (n, 2)
    true : array (n,)
        Index of the true molecule.
    """

    error: np.ndarray
    uncertainty: np.ndarray
    true: np.ndarray

    @classmethod
    def of(cls, found: pd.DataFrame, truth: pd.DataFrame, identity: np.ndarray) -> Molecules:
        """Match rows frame by frame, then tracks by the majority of their rows."""
        i, j = pairs(found, truth, MATCH_NM)
        rows = found.iloc[i].assign(true=identity[j], true_x=truth["x_nm"].to_numpy()[j],
                                    true_y=truth["y_nm"].to_numpy()[j])  # fmt: skip
        best = rows.groupby("track")["true"].agg(lambda of: of.mode().iloc[0])
        rows = rows[rows["true"].to_numpy() == best.loc[rows["track"]].to_numpy()]
        each = rows.groupby("track").first()
        each = each[~each["true"].duplicated()]
        return cls(
            each[["x_nm", "y_nm"]].to_numpy() - each[["true_x", "true_y"]].to_numpy(),
            each[["uncertainty_x_nm", "uncertainty_y_nm"]].to_numpy(),
            each["true"].to_numpy(),
        )

    def pulls(self) -> tuple[float, float]:
        """Return the standard deviation of error over uncertainty, and a robust one."""
        ratio = self.error / self.uncertainty
        return float(ratio.std()), float(1.4826 * np.median(np.abs(ratio)))


def identities(truth: pd.DataFrame) -> np.ndarray:
    """Return the number of the molecule of every row of the truth; molecules do not move."""
    return truth.groupby(["x_nm", "y_nm"]).ngroup().to_numpy()


def over_bound(matched: Molecules, made: Simulation, identity: np.ndarray) -> float:
    """Return the error of molecules that are alone in all their frames over their bound."""
    truth = made.truth
    far = ISOLATED_SIGMA * (made.recipe.optics.psf_sigma_nm or 0.0)
    points = np.column_stack([truth["frame"] * 10.0 * far, truth["y_nm"], truth["x_nm"]])
    size = np.array(made.stack.shape[1:]) * made.recipe.optics.pixel_size_nm
    inner = ((points[:, 1:] > far / 2) & (points[:, 1:] < size - far / 2)).all(axis=1)
    alone = (cKDTree(points).query(points, [2])[0][:, 0] > far) & inner
    chosen = pd.Series(alone).groupby(identity).all()
    keep = chosen.loc[matched.true].to_numpy()
    if not keep.any():
        return math.nan
    rows = truth.assign(identity=identity)
    rows = rows[rows["identity"].isin(matched.true[keep])]
    information = pd.Series(
        [
            cramer_rao_nm(m.y_nm, m.x_nm, m.photons, background_at(m, made), made) ** -2
            for m in rows.itertuples()
        ],
        index=rows["identity"],
    )
    bound = information.groupby(level=0).sum() ** -0.5
    at = bound.loc[matched.true[keep]].to_numpy()
    return float(np.sqrt(np.mean(matched.error[keep] ** 2) / np.mean(at**2)))


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes
    ----------
    on_frames, density : float
    off, on : tuple of float
        Jaccard index in percent at 50 and 100 nm.
    rest : str
        Of the line.
    """

    on_frames: float
    density: float
    off: tuple[float, float]
    on: tuple[float, float]
    rest: str

    def __str__(self) -> str:
        off, on = (f"{at[0]:5.1f} / {at[1]:4.1f}" for at in (self.off, self.on))
        return f"{self.on_frames:5g} f {self.density:6g}/um2  {off}  {on}  {self.rest}"


def line(on_frames: float, density: float) -> Line:
    """Simulate, localize twice, and compare."""
    scene = Scene(
        "random", density, photons=1000.0, excess_noise=1.0, read_noise=1.5, frames=FRAMES[density],
        sample={"on_frames": on_frames, "brightness": "log-normal", "brightness_spread": 0.3},
    )  # fmt: skip
    made = scene.simulate(SEED + round(10 * density + on_frames))
    preset = load_preset(DEFAULT_PRESET)
    follow: Follow
    seconds, scores, found = [], [], pd.DataFrame()
    for follow in ("off", "on"):
        started = time.monotonic()
        settings = preset.localization.model_copy(update={"follow": follow})
        found = run(made, "gaussian", preset, settings).localizations
        seconds.append(time.monotonic() - started)
        at = evaluate(found, made.truth, TOLERANCES_NM)
        scores.append((100.0 * at[0].jaccard, 100.0 * at[1].jaccard))
    identity = identities(made.truth)
    matched = Molecules.of(found, made.truth, identity)
    pull = "{:.2f} ({:.2f})".format(*matched.pulls())
    tracks = f"{found['track'].nunique()} ({len(np.unique(identity))})"
    bound = over_bound(matched, made, identity)
    rest = f"{tracks:>12s}  {pull}  {bound:5.2f}  {seconds[1] / seconds[0]:5.2f}"
    return Line(on_frames, density, scores[0], scores[1], rest)


def draw(lines: list[Line], path: Path) -> None:
    """Draw the Jaccard index over the density, one panel for each on-time."""
    on_times = sorted({each.on_frames for each in lines})
    figure = Figure(figsize=(4.0 * len(on_times), 3.6), layout="constrained")
    panels = figure.subplots(1, len(on_times), sharey=True, squeeze=False)[0]
    for panel, on_frames in zip(panels, on_times, strict=True):
        shown = [each for each in lines if each.on_frames == on_frames]
        density = [each.density for each in shown]
        for color, at, nm in (("#4c9be8", 0, 50), ("#f0903c", 1, 100)):
            panel.plot(density, [e.off[at] for e in shown], "o--", color=color, ms=4, alpha=0.6,
                       label=f"frame by frame, {nm} nm")  # fmt: skip
            panel.plot(density, [e.on[at] for e in shown], "o-", color=color, ms=4,
                       label=f"followed, {nm} nm")  # fmt: skip
        panel.set_title(f"on for {on_frames:g} frame{'s' if on_frames > 1 else ''}")
        panel.set_xlabel("molecules per µm² and frame")
        panel.set_ylim(0, 100)
    panels[0].set_ylabel("Jaccard index (%)")
    panels[0].legend(fontsize=8, loc="lower left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--on-frames", type=float, nargs="+", default=list(ON_FRAMES))
    parser.add_argument("--densities", type=float, nargs="+", default=list(FRAMES),
                        choices=list(FRAMES))  # fmt: skip
    parser.add_argument("--figure", type=Path, metavar="FILE", help="also draw J over density")
    given = parser.parse_args()
    print(HEADER)
    lines = []
    for on_frames in given.on_frames:
        for density in given.densities:
            lines.append(line(on_frames, density))
            print(lines[-1], flush=True)
    if given.figure:
        draw(lines, given.figure)


if __name__ == "__main__":
    main()
