"""A preset for one's own stack, judged against the shipped one on the same frames.

Frames with known molecules are simulated to look like those of the stack, a network learns from
some of them, and both presets are judged on others. The truth of the stack is not needed, and not
used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from napari_unfold.errors import InputError
from napari_unfold.estimation.on_time import mean_on_frames
from napari_unfold.estimation.sample import read_sample
from napari_unfold.files.presets import DEFAULT_PRESET, Preset, PresetScore, load_preset
from napari_unfold.files.stacks import Stack
from napari_unfold.imaging.camera import to_photons
from napari_unfold.imaging.forward import forward_operator
from napari_unfold.jobs import (
    Checkpoint,
    Device,
    Event,
    Job,
    Note,
    Progress,
    Stage,
    choose_device,
    in_background,
    translated,
)
from napari_unfold.learning.appraisal import TrainingSet
from napari_unfold.learning.judge import Gain, HeldOut, Judgement, find, gains, judge
from napari_unfold.learning.learn import Learned
from napari_unfold.learning.look_alike import LookAlike, look_alikes
from napari_unfold.learning.losses import make_loss
from napari_unfold.learning.train import Trained, train
from napari_unfold.reconstruction.look import Look, look
from napari_unfold.reconstruction.prepare import check_preset, pedestal_photons, untrained
from napari_unfold.settings.microscope import FWHM_PER_SIGMA
from napari_unfold.settings.recipe import Recipe
from napari_unfold.settings.training import Training
from napari_unfold.unfolding.parameters import NetworkParameters

USUAL = Training(loss="image", frames=32, outer_iterations=80)
"""How parameters are learned unless it is said otherwise: within minutes."""

PARTS = 3
"""Parts of the field that are simulated."""

HELD_OUT_FRAMES = 16
"""Of every part, on which presets are judged."""

SEED, HELD_OUT_SEED = 30_000, 40_000


@dataclass(frozen=True)
class Adapted:
    """A preset that was learned for a stack, and whether it is worth anything.

    Attributes
    ----------
    learned : Learned
        The preset, with its record, and a validation frame before and after learning.
    shipped, adapted : Judgement
        Of the shipped and of the adapted preset, on the same frames.
    molecules, image : Gain
        What the adapted preset gains in the Jaccard index (mean over 50, 100 and 250 nm), and in
        the correlation of the super-resolved image with the truth.
    seen : str
        What the frames were made like.
    """

    learned: Learned
    shipped: Judgement
    adapted: Judgement
    molecules: Gain
    image: Gain
    seen: str

    @property
    def is_better(self) -> bool:
        """Whether molecules or image gain beyond the error, and neither may well be worse."""
        gained = self.molecules.is_significant or self.image.is_significant
        return gained and not self.molecules.is_doubtful and not self.image.is_doubtful

    @property
    def verdict(self) -> str:
        """One sentence."""
        than = f"than the shipped preset {self.shipped.preset}"
        start = f"Better {than}" if self.is_better else f"No better {than}, which stays selected"
        return (
            f"{start}: Jaccard index {self.molecules}, correlation of the image with the truth "
            f"{self.image}, on simulated frames like the stack"
        )

    def rows(self) -> list[tuple[str, str, str]]:
        """Return what was compared, of the shipped and of the adapted preset, as texts."""
        shipped, adapted = self.shipped.texts(), self.adapted.texts()
        return [(name, shipped[name], adapted[name]) for name in shipped]


def adapt(
    stack: Stack,
    recipe: Recipe,
    training: Training = USUAL,
    *,
    name: str,
    frames: slice = slice(None),
    shipped: Preset | None = None,
    device: Device = "auto",
) -> Job[Adapted]:
    """Learn a preset for a stack, and find out whether it is better than the shipped one.

    Parameters
    ----------
    stack : Stack
    recipe : Recipe
        Optics, camera, background, and the network (fidelity, penalty, iterations, upsampling).
    training : Training
        Loss, method, learning steps and frames; what it says of simulated scenes does not matter.
    name : str
        Of the preset.
    frames : slice
        Frames of the stack to look at, from 0.
    shipped : Preset, optional
        To compare with, the usual one if not given.
    device : {"auto", "cpu", "cuda"}

    Yields
    ------
    Event
        `Metric` at every learning step.

    Returns
    -------
    Adapted

    Raises
    ------
    InputError
        If the stack or a setting cannot be used.
    """
    chosen = choose_device(device)
    shipped = shipped or load_preset(DEFAULT_PRESET)
    recipe = recipe.model_copy(update={"localization": shipped.localization})
    check_preset(shipped, recipe)
    known = yield from look(stack, recipe, frames)
    _check_molecules(known)
    yield Stage("Simulating frames like those of the stack")
    parts = yield from in_background(lambda _: _parts(known))
    seen = _in_words(stack.name, known, parts)
    yield Note(f"Simulating frames like {seen}")
    trained = yield from _learn(known, parts, training, shipped, chosen)
    held_out = yield from in_background(lambda _: _held_out(parts))
    preset = _preset(name, stack.name, known, training, trained)
    found = []
    yield Stage("Judging both presets on other simulated frames")
    for i, each in enumerate((shipped, preset)):
        job = find(held_out, each, device)
        found.append((yield from translated(job, partial(_half, which=i))))
    before, after = (judge(held_out, each) for each in found)
    molecules, image = yield from in_background(lambda _: gains(held_out, *found))
    result = Adapted(
        learned=Learned(
            preset=preset,
            before=found[0].images[0],
            after=found[1].images[0],
            truth=held_out.true_images[0],
            history=trained.history,
            best=trained.best,
            outcome=trained.outcome,
            state=trained.state,
        ),
        shipped=before,
        adapted=after,
        molecules=molecules,
        image=image,
        seen=seen,
    )
    return _recorded(result, training)


def _check_molecules(known: Look) -> None:
    if known.seen.molecule_photons <= known.seen.detection_limit_photons:
        raise InputError(
            "no molecules stand out from the noise of the stack, so there is nothing to adapt to",
            "Choose frames with molecules, or enter the photons of one",
            field="stack",
        )


def _parts(known: Look) -> list[LookAlike]:
    """Return parts of the field that can be simulated, after a look at how long molecules stay."""
    seen = known.seen
    sample = to_photons(read_sample(known.usable, (0, len(known.usable))), seen.camera)
    factors = seen.lamp.factors(sample, seen.background, seen.camera)
    behind = seen.background * factors[:, None, None]
    return look_alikes(seen, mean_on_frames(sample, behind, seen.camera), PARTS)


def _in_words(name: str, known: Look, parts: Sequence[LookAlike]) -> str:
    """Return what the simulated frames are like."""
    seen, part = known.seen, parts[0]
    optics = seen.recipe.optics
    area = 4.0 * np.pi * (seen.psf.sigma_px * optics.pixel_size_nm / 1e3) ** 2
    light = float(seen.crowding.mean()) * seen.molecule_photons
    low, high = float(seen.background.min()), float(seen.background.max())
    fwhm_nm = FWHM_PER_SIGMA * seen.psf.sigma_px * optics.pixel_size_nm
    on = f" that stay on for {part.on_frames:.1f} frames" if part.on_frames else ""
    return (
        f"{name}: {light / part.brightness.photons / area:.2g} molecules per µm² and frame{on}, "
        f"of {part.brightness.photons:.0f} photons in a full frame; background {low:.3g} to "
        f"{high:.3g}, PSF FWHM {fwhm_nm:.0f} nm, pixels of {optics.pixel_size_nm:g} nm"
    )


def _held_out(parts: Sequence[LookAlike]) -> HeldOut:
    made = [part.record(HELD_OUT_FRAMES, HELD_OUT_SEED + i) for i, part in enumerate(parts)]
    return HeldOut(parts, made)


def _learn(
    known: Look,
    parts: Sequence[LookAlike],
    training: Training,
    shipped: Preset,
    device: torch.device,
) -> Job[Trained]:
    seen = known.seen
    pedestal = pedestal_photons(seen)
    frames = yield from in_background(
        lambda _: training_set(parts, training.frames, pedestal, device)
    )
    learning, checking = frames.split(training.validation_share)
    upsampling = seen.recipe.solver.upsampling
    operator = forward_operator(parts[0].seen.shape, upsampling, seen.psf, device=device)
    start = untrained(operator, seen)
    learned_so_far = _like(shipped, start) if training.method == "schedules" else None
    job = train(
        operator,
        learned_so_far or start,
        learning,
        checking,
        make_loss(training, seen.molecule_photons),
        method=training.method,
        outer_iterations=training.outer_iterations,
        search_start=learned_so_far is None,
    )
    return (yield from translated(job, lambda e: None if isinstance(e, Checkpoint) else e))


def training_set(
    parts: Sequence[LookAlike], count: int, pedestal: float, device: torch.device
) -> TrainingSet:
    """Return frames that follow no other, of all parts by turns.

    Parameters
    ----------
    parts : sequence of LookAlike
    count : int
        Frames.
    pedestal : float
        Photons to be added to data and background alike.
    device : torch.device
    """
    known = []
    for i in range(count):
        part = parts[i % len(parts)]
        known.append(part.known(part.record(1, SEED + i), pedestal, device))
    y, b, truth = (torch.cat([getattr(k, name) for k in known]) for name in ("y", "b", "truth"))
    return TrainingSet(y, b, truth)


def _like(shipped: Preset, start: NetworkParameters) -> NetworkParameters | None:
    """Return the parameters of a preset for these data, if they are those of such a network."""
    network = shipped.networks[start.fidelity]
    same = (
        network.reserve_pixels is not None
        and network.iterations == start.iterations
        and network.penalty == start.penalty
    )
    return network.for_data(start.reference) if same else None


def _half(event: Event, which: int) -> Event:
    """Return the progress of one of two jobs as that of both."""
    if isinstance(event, Progress):
        return Progress(event.done / event.total + which, 2)
    return event


def _preset(
    name: str, stack_name: str, known: Look, training: Training, trained: Trained
) -> Preset:
    """Return what was learned, before it is judged."""
    seen = known.seen
    return Preset(
        name=name,
        title=f"Adapted to {stack_name}",
        description=f"Learned for {stack_name}.",
        trained_on=f"{training.frames} simulated frames",
        upsampling=seen.recipe.solver.upsampling,
        networks={seen.recipe.solver.fidelity: trained.parameters},
        localization=seen.recipe.localization,
    )


def _recorded(result: Adapted, training: Training) -> Adapted:
    """Write what was seen and how both presets were judged into the preset."""
    learned = result.learned
    network = next(iter(learned.preset.networks.values()))
    nothing = "" if learned.best else "; learning found nothing better than what it began with"
    preset = learned.preset.model_copy(
        update={
            "description": f"{learned.preset.title}. {result.verdict}.",
            "trained_on": f"{training.frames} simulated frames like {result.seen}; "
            f"{training.loss} loss, {network.penalty} penalty, {network.iterations} "
            f"iterations{nothing}.",
            "scores": [
                PresetScore(
                    data=f"other simulated frames like the stack, {each.preset}",
                    metric=metric,
                    value=round(value, 5),
                )
                for each in (result.shipped, result.adapted)
                for metric, value in each.numbers().items()
            ],
        }
    )
    return replace(result, learned=replace(learned, preset=preset))
