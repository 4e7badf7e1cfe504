"""The shipped preset on realistic acquisitions that others simulated: `make bench-acquisitions`.

Molecules stay on for several frames and begin or end within one, differ in brightness, stand on
lit cells, are seen by an sCMOS camera with hot pixels or through a diffraction pattern. Optics and
camera are stated as they were; background and brightness are left to the program. Beside every
stack stand what 3D-DAOSTORM finds there, what a fit that knows all true molecules of one frame
reaches, and the target that was set.

    J           Jaccard index in percent at a tolerance in nm, pooled over the frames
    E           efficiency of the SMLM challenge
    molecules   found in a frame (true)
    photons     of a typical molecule, as used by the program (true)
    s           seconds

What happens when the settings are wrong, or the recording is: --psf-scale, --offset,
--gain-factor, --spoil. --auto takes PSF, offset and gain from the stack itself.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scenes import TOLERANCES_NM, Scene
from spoil import SPOILT

from napari_unfold.errors import UnfoldError
from napari_unfold.files.localizations import read_localizations
from napari_unfold.files.opening import open_stack
from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
from napari_unfold.files.stacks import as_stack
from napari_unfold.imaging.camera import CameraModel
from napari_unfold.jobs import Event, Note, run_to_end
from napari_unfold.reconstruction.reconstruct import reconstruct
from napari_unfold.reconstruction.result import Reconstruction
from napari_unfold.settings.microscope import FWHM_PER_SIGMA, Camera, Optics
from napari_unfold.settings.recipe import Recipe
from napari_unfold.tables.evaluate import evaluate

DATA = Path(__file__).parents[2] / "shared" / "data"
PIXEL_NM = 100.0
SCMOS = Camera(type="scmos", offset_adu=100, adu_per_photon=2, read_noise_photons=1.2)
SCMOS_HOT = Camera(type="scmos", offset_adu=100, adu_per_photon=2, read_noise_photons=1.5)
EMCCD = Camera(type="emccd", offset_adu=100, adu_per_photon=2, read_noise_photons=0)
SCMOS_MAPS = {
    f"{name}_map": DATA / "acquisitions" / f"scmos_{name}.tif"
    for name in ("offset", "gain", "variance")
}
NAME_WIDTH, CELL_WIDTHS = 34, (6, 6, 6, 6, 15, 13, 6)
HEADINGS = ("J 50", "J 100", "J 250", "E", "molecules", "photons", "s")


def integrated(sampled_sigma_nm: float) -> float:
    """Sigma of the pixel-integrated Gaussian that looks like one sampled at pixel centres."""
    return float(np.sqrt(sampled_sigma_nm**2 - PIXEL_NM**2 / 12.0))


@dataclass(frozen=True)
class Acquisition:
    """A stack whose molecules are known.

    Parameters
    ----------
    name : str
        The stack is ``name.tif`` in its folder, the true molecules are in ``name_truth.csv``.
    folder : str
        Below the data; empty for the simulated stack.
    sigma_nm : float
        Of the pixel-integrated Gaussian PSF.
    photons : str
        Of a true molecule.
    camera : Camera
    frames : slice, optional
        Judged, unless others are asked for.
    stack : str
        If that is not the name.
    limit, target, peer : tuple of float or None
        Jaccard indices in percent at 50, 100, 250 nm and, for a peer without a table, efficiency.
    """

    name: str
    folder: str
    sigma_nm: float
    photons: str
    camera: Camera
    frames: slice | None = None
    stack: str = ""
    limit: tuple[float, ...] | None = None
    target: tuple[float, ...] | None = None
    peer: tuple[float, ...] | None = None

    def load(self) -> tuple[NDArray[np.float32], pd.DataFrame]:
        """Return grey values ``(T, Y, X)`` and true molecules."""
        if not self.folder:
            made = Scene("random", 0.1, frames=120).simulate(seed=3006)
            return made.stack.astype(np.float32), made.truth
        path = DATA / self.folder / f"{self.stack or self.name}.tif"
        with open_stack(path) as stack:
            frames = stack.read(0, len(stack))
        return frames, read_localizations(path.with_name(f"{path.stem}_truth.csv"))

    @property
    def peer_table(self) -> Path:
        """Where the localizations of 3D-DAOSTORM are, if there are any."""
        return DATA / self.folder / "peers" / f"{self.stack or self.name}__3d-daostorm.csv"


BLINKING = partial(Acquisition, folder="acquisitions", camera=SCMOS)
PUBLISHED = partial(Acquisition, folder="deep-storm", camera=EMCCD)
ACQUISITIONS = (
    BLINKING("blink_sparse", sigma_nm=integrated(115), photons="1100",
             limit=(98, 100, 100), target=(94, 97)),
    BLINKING("blink_dense", sigma_nm=integrated(115), photons="1100",
             limit=(69, 92, 98), target=(66, 87)),
    BLINKING("persistent", sigma_nm=integrated(120), photons="900",
             limit=(92, 99, 100), target=(86, 95)),
    BLINKING("persistent_dense", sigma_nm=integrated(120), photons="2000",
             limit=(85, 99, 100), target=(73, 91)),
    BLINKING("uneven_brightness", sigma_nm=integrated(120), photons="1800",
             limit=(82, 94, 98), target=(74, 85)),
    BLINKING("cell_background", sigma_nm=integrated(120), photons="1300", target=(82, 91)),
    BLINKING("scmos", sigma_nm=integrated(120), photons="1000", camera=SCMOS_HOT,
             target=(70, 84)),
    BLINKING("scmos_with_maps", stack="scmos", sigma_nm=integrated(120), photons="1000",
             camera=SCMOS_HOT.model_copy(update=SCMOS_MAPS), target=(78, 90)),
    BLINKING("vectorial_psf", sigma_nm=81.5, photons="1800",
             limit=(89, 95, 97), target=(88, 92)),
    PUBLISHED("microtubules_odd", sigma_nm=258.0 / FWHM_PER_SIGMA, photons="1500",
              target=(72, 91), peer=(38, 60, 73, 29)),  # on the sibling frames
    PUBLISHED("random_density6", sigma_nm=250.0 / FWHM_PER_SIGMA, photons="2250",
              frames=slice(6, 20), target=(92, 97)),  # the peer was tuned on the first six
    Acquisition("sparse", folder="", sigma_nm=110.0, photons="1500", camera=EMCCD,
                target=(np.nan, 99.6)),
)  # fmt: skip


@dataclass(frozen=True)
class Conditions:
    """What the program is told, and what became of the recording."""

    auto: bool = False
    psf_scale: float = 1.0
    offset_adu: float | None = None
    gain_factor: float = 1.0
    spoil: str | None = None
    frames: slice | None = None
    tables: Path | None = None

    def recipe(self, true: Acquisition) -> Recipe:
        """Return the settings; what is automatic is left out."""
        if self.auto:
            return Recipe(camera=Camera(type=true.camera.type))
        camera = true.camera
        changes = {"adu_per_photon": camera.adu_per_photon * self.gain_factor}
        if self.offset_adu is not None:
            changes["offset_adu"] = self.offset_adu
        sigma_nm = true.sigma_nm * self.psf_scale
        return Recipe(
            optics=Optics(psf_sigma_nm=sigma_nm), camera=camera.model_copy(update=changes)
        )


@dataclass(frozen=True)
class Outcome:
    """The lines of the table for one stack, and what the program said."""

    lines: list[str]
    notes: list[str]


def judge(true: Acquisition, conditions: Conditions) -> Outcome:
    """Localize a stack and compare it with the truth."""
    frames, truth = true.load()
    if conditions.spoil:
        camera = CameraModel.of(true.camera)
        SPOILT[conditions.spoil](frames, camera, np.random.default_rng(0))
    stack = as_stack(frames, true.name, PIXEL_NM)
    span = conditions.frames or true.frames or slice(None)
    judged = range(len(frames))[span]
    seen = list(judged)
    if conditions.spoil == "dark-frame":  # holds no molecule, but false ones may be found in it
        seen.remove(len(frames) // 2)
    truth = truth[truth["frame"].isin(seen)].reset_index(drop=True)
    notes: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)

    preset = load_preset(DEFAULT_PRESET)
    started = time.monotonic()
    try:
        recipe = conditions.recipe(true)
        recipe.localization = preset.localization
        result: Reconstruction = run_to_end(reconstruct(stack, recipe, preset, frames=span), listen)
    except UnfoldError as refusal:
        return Outcome([line(true.name, ["refused"]), f"    {refusal}"], notes)
    seconds = time.monotonic() - started
    found = result.localizations
    if conditions.tables:
        write_table(found, conditions.tables / f"{true.name}.csv")
    lines = [
        line(
            true.name,
            [
                *scored(found, truth, judged),
                f"{len(found) / len(judged):.1f} ({len(truth) / len(judged):.1f})",
                f"{result.molecule_photons:.0f} ({true.photons})",
                f"{seconds:.0f}",
            ],
        )
    ]
    if true.peer_table.is_file():
        peer = read_localizations(true.peer_table)
        peer = peer[peer["frame"].isin(judged)]
        rate = f"{len(peer) / len(judged):.1f}"
        lines.append(line("  3D-DAOSTORM", [*scored(peer, truth, judged), rate]))
    elif true.peer:
        lines.append(line("  3D-DAOSTORM (sibling frames)", numbers(true.peer)))
    if true.limit:
        lines.append(line("  limit of one frame", numbers(true.limit)))
    if true.target:
        lines.append(line("  target", numbers(true.target)))
    if conditions != Conditions(tables=conditions.tables, frames=conditions.frames):
        camera, psf = result.record["recipe"]["camera"], result.record["psf"]
        told = (
            f"  used: PSF {psf['sigma_nm']:.1f} nm (true {true.sigma_nm:.1f}), offset "
            f"{camera['offset_adu']:.1f} ADU ({true.camera.offset_adu:g}), gain "
            f"{camera['adu_per_photon']:.3f} ADU/photon ({true.camera.adu_per_photon:g})"
        )
        lines.append(told)
    return Outcome(lines, notes)


def scored(found: pd.DataFrame, truth: pd.DataFrame, frames: range) -> list[str]:
    """Return Jaccard indices in percent at the usual tolerances, and the efficiency."""
    at = evaluate(found, truth, TOLERANCES_NM, frames)
    return numbers((*(100.0 * score.jaccard for score in at), at[-1].efficiency))


def numbers(values: tuple[float, ...]) -> list[str]:
    """Write numbers with one decimal, and a dash for none."""
    return ["-" if np.isnan(value) else f"{value:.1f}" for value in values]


def line(name: str, cells: list[str]) -> str:
    """Return one line of the table."""
    padded = (cell.rjust(width) for cell, width in zip(cells, CELL_WIDTHS, strict=False))
    return f"{name:{NAME_WIDTH}s}" + "  ".join(padded)


def write_table(found: pd.DataFrame, path: Path) -> None:
    """Write localizations as other scorers read them: frames from 1, nm from the corner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = found.assign(frame=found["frame"] + 1)
    table[["frame", "x_nm", "y_nm", "photons"]].to_csv(path, index=False, float_format="%.3f")


def outcomes(
    chosen: list[Acquisition], conditions: Conditions, processes: int
) -> Iterator[Outcome]:
    """Judge the stacks in turn, several at a time if asked for."""
    work = partial(judge, conditions=conditions)
    if processes == 1:
        yield from map(work, chosen)
        return
    threads = max(1, (os.cpu_count() or 1) // processes)
    with ProcessPoolExecutor(
        processes,
        multiprocessing.get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(threads,),
    ) as pool:
        yield from pool.map(work, chosen)


def frames_of(text: str) -> slice:
    """Turn A:B into the frames from A up to, not including, B, counted from 0."""
    first, colon, stop = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError("give A:B, such as 0:10")
    return slice(int(first) if first else None, int(stop) if stop else None)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [acquisition.name for acquisition in ACQUISITIONS]
    parser.add_argument("--stacks", nargs="+", choices=names, default=names, metavar="NAME",
                        help=f"of {', '.join(names)}")  # fmt: skip
    parser.add_argument("--frames", type=frames_of, metavar="A:B", help="from A up to B, from 0")
    parser.add_argument("--auto", action="store_true", help="PSF, offset, gain from the stack")
    parser.add_argument("--psf-scale", type=float, default=1.0, help="state so many times the PSF")
    parser.add_argument("--offset", type=float, metavar="ADU", help="state this camera offset")
    parser.add_argument("--gain-factor", type=float, default=1.0, help="state so many times it")
    parser.add_argument("--spoil", choices=list(SPOILT), help="what went wrong in the recording")
    parser.add_argument("--jobs", type=int, default=1, help="stacks at a time")
    parser.add_argument("--notes", action="store_true", help="print what the program said")
    parser.add_argument("--tables", type=Path, metavar="FOLDER", help="write the localizations")
    given = parser.parse_args()
    conditions = Conditions(
        given.auto, given.psf_scale, given.offset, given.gain_factor, given.spoil, given.frames,
        given.tables,
    )  # fmt: skip
    chosen = [a for a in ACQUISITIONS if a.name in given.stacks]
    absent = [a for a in chosen if a.folder and not (DATA / a.folder).is_dir()]
    if absent:
        print(f"(left out for want of {DATA}: {', '.join(a.name for a in absent)})")
    chosen = [a for a in chosen if a not in absent]
    print(line("", list(HEADINGS)))
    for outcome in outcomes(chosen, conditions, given.jobs):
        notes = [f"    {note}" for note in outcome.notes if given.notes]
        print(*outcome.lines, *notes, sep="\n", flush=True)


if __name__ == "__main__":
    main()
