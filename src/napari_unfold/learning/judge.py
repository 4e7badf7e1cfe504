"""Presets judged in molecules, on simulated frames that none of them was learned from."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from napari_unfold.estimation.bad_frames import FrameCheck
from napari_unfold.files.presets import Preset
from napari_unfold.files.stacks import as_stack
from napari_unfold.imaging.grid import Grid
from napari_unfold.jobs import Device, Event, Job, Progress, Pulse, choose_device, translated
from napari_unfold.learning.appraisal import truth_images
from napari_unfold.learning.look_alike import LookAlike
from napari_unfold.reconstruction.look import Look
from napari_unfold.reconstruction.prepare import prepare
from napari_unfold.reconstruction.reconstruct import unfold_batch
from napari_unfold.reconstruction.so_far import SoFar
from napari_unfold.simulation.scenes import Simulation
from napari_unfold.tables.evaluate import Score, evaluate

T = TypeVar("T")

TOLERANCES_NM = (50.0, 100.0, 250.0)

BLUR_PX = 1.0
"""Of the truth that the super-resolved image is compared with, in fine pixels."""

BATCH = 8

BLOCKS = 12
"""Neighbouring frames show the same molecules; errors are found from blocks of them."""

SIGNIFICANT = 2.0
"""Standard errors by which a gain must exceed zero."""


@dataclass(frozen=True)
class HeldOut:
    """Simulated sequences of some parts of the field, all of the same length.

    Attributes
    ----------
    parts : sequence of LookAlike
    made : sequence of Simulation
        One of each part.
    """

    parts: Sequence[LookAlike]
    made: Sequence[Simulation]

    @property
    def frames(self) -> int:
        """Frames of a sequence."""
        return len(self.made[0].stack)

    @cached_property
    def truth(self) -> pd.DataFrame:
        """The true molecules; the frames of the sequences are counted one after the other."""
        return self.in_turn([made.truth for made in self.made])

    @cached_property
    def true_images(self) -> NDArray[np.float32]:
        """Photons of the true molecules ``(T, qY, qX)``, the sequences one after the other."""
        images = []
        for part, made in zip(self.parts, self.made, strict=True):
            recipe = part.seen.recipe
            grid = Grid(part.seen.shape, recipe.optics.pixel_size_nm, recipe.solver.upsampling)
            images.append(truth_images(made.truth, range(self.frames), grid, 1.0))
        return np.concatenate(images)

    def in_turn(self, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """Return the tables of the sequences as one."""
        moved = [t.assign(frame=t["frame"] + i * self.frames) for i, t in enumerate(tables)]
        return pd.concat(moved, ignore_index=True)

    @property
    def blocks(self) -> list[NDArray[np.intp]]:
        """Frames that count as one observation."""
        per_part = max(1, min(self.frames, round(BLOCKS / len(self.made))))
        parts = np.split(np.arange(self.frames * len(self.made)), len(self.made))
        return [block for part in parts for block in np.array_split(part, per_part)]


@dataclass(frozen=True)
class Found:
    """What a preset makes of the sequences.

    Attributes
    ----------
    preset : str
        Its name.
    iterations : int
        Of the network.
    table : DataFrame
        Localizations after the joint fit, frames as in `HeldOut.truth`.
    images : array (T, qY, qX)
        Reconstructed frames.
    seconds : float
        That it took.
    """

    preset: str
    iterations: int
    table: pd.DataFrame
    images: NDArray[np.float32]
    seconds: float


@dataclass(frozen=True)
class Judgement:
    """How well a preset does.

    Attributes
    ----------
    preset : str
        Its name.
    iterations : int
        Of the network.
    scores : list of Score
        At 50, 100 and 250 nm.
    correlation : float
        Of the super-resolved mean image with the truth blurred by one fine pixel, -1 to 1.
    seconds : float
        That it took to find the molecules.
    """

    preset: str
    iterations: int
    scores: list[Score]
    correlation: float
    seconds: float

    def numbers(self) -> dict[str, float]:
        """Return what there is to compare, by what it is called."""
        first = self.scores[0]
        values: dict[str, float] = {"true molecules": first.n_truth, "found": first.n_found}
        for score in self.scores:
            at = f"at {score.tolerance_nm:g} nm"
            values[f"missed {at}"] = score.n_truth - score.true_positives
            values[f"false {at}"] = score.n_found - score.true_positives
            values[f"Jaccard index {at}"] = score.jaccard
        values["correlation of the image with the truth"] = self.correlation
        values["iterations"] = self.iterations
        return values

    def texts(self) -> dict[str, str]:
        """Return the same in few lines, to be read."""
        first = self.scores[0]
        lines = {"found / true molecules": f"{first.n_found} / {first.n_truth}"}
        for s in self.scores:
            wrong = f"{s.n_truth - s.true_positives} / {s.n_found - s.true_positives}"
            lines[f"missed / false / J at {s.tolerance_nm:g} nm"] = f"{wrong} / {s.jaccard:.3f}"
        lines["correlation of the image"] = f"{self.correlation:.3f}"
        lines["iterations"] = f"{self.iterations}"
        return lines


@dataclass(frozen=True)
class Gain:
    """Difference of what two presets reach on the same frames, and its standard error."""

    value: float
    error: float

    @property
    def is_significant(self) -> bool:
        """Whether it is a gain beyond its error."""
        return self.value > SIGNIFICANT * self.error

    @property
    def is_doubtful(self) -> bool:
        """Whether it may well be a loss."""
        return self.value < -self.error

    def __str__(self) -> str:
        """Return it with its error."""
        return f"{self.value:+.3f} ± {self.error:.3f}"


def find(held_out: HeldOut, preset: Preset, device: Device = "auto") -> Job[Found]:
    """Unfold and localize the sequences as a run does that knows what was seen of the stack."""
    started = time.monotonic()
    tables, images = [], []
    iterations = 0
    for done, (part, made) in enumerate(zip(held_out.parts, held_out.made, strict=True)):
        recipe = part.seen.recipe
        stack = as_stack(made.stack, "simulation", recipe.optics.pixel_size_nm)
        known = Look(FrameCheck((0, len(stack))), stack, recipe, part.seen)
        setup = prepare(
            part.seen,
            preset,
            choose_device(device),
            coupled=recipe.localization.follow != "off",
        )
        iterations = setup.parameters.iterations
        so_far = SoFar(stack, recipe, preset, setup, known.check, [], started)
        while so_far.done < len(stack):
            stop = min(so_far.done + BATCH, len(stack))
            x, chunk = yield from _silently(unfold_batch(known, setup, so_far.done, stop))
            yield from _silently(so_far.add(x, chunk))
            images.append(x)
            yield Progress(done + so_far.done / len(stack), len(held_out.made))
        result = yield from _silently(so_far.finish())
        tables.append(result.localizations)
    seconds = time.monotonic() - started
    table = held_out.in_turn(tables)
    return Found(preset.name, iterations, table, np.concatenate(images), seconds)


def judge(held_out: HeldOut, found: Found) -> Judgement:
    """Compare with the truth."""
    everything = np.arange(len(held_out.true_images))
    return Judgement(
        preset=found.preset,
        iterations=found.iterations,
        scores=evaluate(found.table, held_out.truth, TOLERANCES_NM, everything.tolist()),
        correlation=_correlation(held_out, found, everything),
        seconds=found.seconds,
    )


def gains(held_out: HeldOut, before: Found, after: Found) -> tuple[Gain, Gain]:
    """Return the gain in molecules and that of the image, with errors from a jackknife.

    That of molecules is in the Jaccard index, the mean over the tolerances.
    """
    everything = np.arange(len(held_out.true_images))
    gain = _difference(held_out, before, after, everything)
    blocks = held_out.blocks
    left = [_difference(held_out, before, after, np.setdiff1d(everything, b)) for b in blocks]
    scatter = np.square(np.array(left) - np.mean(left, axis=0)).sum(axis=0)
    error = np.sqrt((len(blocks) - 1) / len(blocks) * scatter)
    molecules, image = (Gain(float(g), float(e)) for g, e in zip(gain, error, strict=True))
    return molecules, image


def _difference(
    held_out: HeldOut, before: Found, after: Found, frames: NDArray[np.intp]
) -> NDArray[np.float64]:
    def values(found: Found) -> NDArray[np.float64]:
        scores = evaluate(found.table, held_out.truth, TOLERANCES_NM, frames.tolist())
        jaccard = np.mean([score.jaccard for score in scores])
        return np.array([jaccard, _correlation(held_out, found, frames)])

    # nothing is there to be compared where there is no molecule
    return np.nan_to_num(values(after) - values(before))


def _correlation(held_out: HeldOut, found: Found, frames: NDArray[np.intp]) -> float:
    """Mean over the parts of the field of the correlation of their mean images."""
    values = []
    for first in range(0, len(held_out.true_images), held_out.frames):
        here = frames[(frames >= first) & (frames < first + held_out.frames)]
        if not len(here):
            continue
        truth = ndimage.gaussian_filter(held_out.true_images[here].mean(axis=0), BLUR_PX)
        image = found.images[here].mean(axis=0)
        if truth.std() > 0:
            # an empty image has nothing in common with the truth
            flat = image.std() == 0
            values.append(0.0 if flat else np.corrcoef(image.ravel(), truth.ravel())[0, 1])
    return float(np.mean(values)) if values else math.nan


def _silently(job: Generator[Event, None, T]) -> Generator[Event, None, T]:
    """Run a job whose progress is that of a small part."""
    return (yield from translated(job, lambda _: Pulse()))
