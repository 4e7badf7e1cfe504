"""From what a microscopist has to a preset: make a training set, learn, and write down the scores.

The training set is simulated from the settings, simulated from what a stack tells about itself, or
a stack with known molecules.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.estimation.observe import observe_molecules
from napari_unfold.files.presets import Preset, PresetScore
from napari_unfold.files.stacks import Stack, as_stack
from napari_unfold.imaging.camera import to_photons
from napari_unfold.imaging.forward import ForwardOperator, forward_operator
from napari_unfold.imaging.grid import Grid
from napari_unfold.jobs import (
    Checkpoint,
    Device,
    Event,
    Job,
    Metrics,
    Note,
    choose_device,
    translated,
)
from napari_unfold.learning.appraisal import TrainingSet, truth_images
from napari_unfold.learning.look_alike import look_alikes
from napari_unfold.learning.losses import make_loss
from napari_unfold.learning.state import TrainingState
from napari_unfold.learning.train import Outcome, Trained, train
from napari_unfold.reconstruction.prepare import pedestal_photons, untrained
from napari_unfold.settings.recipe import Recipe
from napari_unfold.settings.training import Training
from napari_unfold.simulation.scenes import simulate
from napari_unfold.simulation.simulated_microscope import BACKGROUND_PHOTONS, MOLECULE_PHOTONS
from napari_unfold.simulation.structures import structure
from napari_unfold.unfolding.inference import final_iterate
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.parameters import NetworkParameters

SIMULATED_SHAPE = (32, 32)
"""Camera pixels of simulated training frames."""

SEED = 20_000


@dataclass(frozen=True)
class Learned:
    """A trained preset with what shows its worth.

    Attributes
    ----------
    preset : Preset
    before, after, truth : array (qY, qX)
        One validation frame as the classical and as the learned network see it, and its
        molecules, in photons per fine pixel.
    history : list of Metrics
        Those of every learning step.
    best : int
        Learning step of `preset`.
    outcome : str
        Why the training ended.
    state : TrainingState
        With which the training can be gone on with.
    """

    preset: Preset
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    truth: NDArray[np.float32]
    history: list[Metrics]
    best: int
    outcome: Outcome
    state: TrainingState


@dataclass(frozen=True)
class _Data:
    """Frames to learn from, and in words where they come from."""

    operator: ForwardOperator
    frames: TrainingSet
    start: NetworkParameters
    source: str


def learn(
    recipe: Recipe,
    training: Training,
    *,
    name: str,
    stack: Stack | None = None,
    truth: pd.DataFrame | None = None,
    frames: slice = slice(None),
    resume: Preset | None = None,
    state: TrainingState | None = None,
    device: Device = "auto",
) -> Job[Learned]:
    """Learn a preset.

    Parameters
    ----------
    recipe : Recipe
        Optics, camera, background, and the network (fidelity, penalty, iterations, upsampling).
    training : Training
    name : str
        Of the preset.
    stack : Stack, optional
        With `truth` it is learned from; without, the simulated frames have its background, camera
        and PSF, and molecules as bright. Without a stack all comes from the recipe.
    truth : DataFrame, optional
        Known molecules of the stack: frame, x_nm, y_nm and, if known, photons.
    frames : slice
        Frames of the stack to use, from 0.
    resume : Preset, optional
        Go on from its parameters, which must have been learned for the same kind of network.
    state : TrainingState, optional
        How the training of `resume` stood: on the same frames it then ends as if it had not been
        interrupted, and "before" is what was before all learning. On others it is left aside.
    device : {"auto", "cpu", "cuda"}

    Yields
    ------
    Event
        `Metric` at every learning step, `Checkpoint` (a `Learned`) at every improvement.

    Returns
    -------
    Learned

    Raises
    ------
    InputError
    """
    chosen = choose_device(device)
    data = yield from _training_data(recipe, training, stack, truth, frames, chosen)
    if len(data.frames) < 2:
        raise InputError(
            "there are fewer than two frames with known molecules",
            "Use more frames: some to learn from, one at least to check with",
            field="training.frames",
        )
    if not data.frames.truth.any():
        raise InputError(
            "none of the true molecules lies in the chosen frames",
            "Check that truth and stack belong together, and the pixel size; where frames are "
            "simulated, choose a higher density",
            field="stack",
        )
    learning, checking = data.frames.split(training.validation_share)
    operator = data.operator
    loss = make_loss(training, data.start.reference.molecule_photons)
    classical = UnfoldedNetwork(operator, data.start, device=chosen)
    pair = checking[:2]  # the second is the neighbour of the one that is shown
    before = final_iterate(classical, pair.y, pair.b)[0].cpu().numpy()

    def learned(trained: Trained) -> Learned:
        network = UnfoldedNetwork(operator, trained.parameters, device=chosen)
        return Learned(
            preset=_preset(name, recipe, training, data.source, trained, len(learning)),
            before=before,
            after=final_iterate(network, pair.y, pair.b, follows=pair.follows)[0].cpu().numpy(),
            truth=checking.truth[0].cpu().numpy(),
            history=trained.history,
            best=trained.best,
            outcome=trained.outcome,
            state=trained.state,
        )

    start = _resumed(resume, recipe, training, data.start) if resume else data.start
    if state and (state.start.reference != data.start.reference or state.best not in _of(resume)):
        state = None
        yield Note(
            "These are not the frames of the training so far: its parameters are a new start"
        )
    job = train(
        operator,
        start,
        learning,
        checking,
        loss,
        method=training.method,
        outer_iterations=training.outer_iterations,
        search_start=resume is None,
        resume=state,
    )

    def usable(event: Event) -> Event:
        return Checkpoint(learned(event.value)) if isinstance(event, Checkpoint) else event

    return learned((yield from translated(job, usable)))


def _training_data(
    recipe: Recipe,
    training: Training,
    stack: Stack | None,
    truth: pd.DataFrame | None,
    frames: slice,
    device: torch.device,
) -> Generator[Event, None, _Data]:
    if stack is not None and truth is not None:
        first = frames.indices(stack.shape[0])[0]
        last = min(first + training.frames, frames.indices(stack.shape[0])[1])
        source = f"{last - first} frames of {stack.name} with known molecules"
        return (yield from _from_stack(recipe, stack, truth, slice(first, last), device, source))
    if stack is not None:
        return (yield from _like_a_stack(recipe, training, stack, frames, device))
    photons, background = recipe.solver.molecule_photons, recipe.background.photons
    if recipe.camera.known_excess_noise is None:
        yield Note("The camera is not stated: simulating an EMCCD")
    if recipe.optics.psf_sigma_nm is None:
        raise InputError(
            "training stacks can be simulated for a Gaussian PSF only",
            "Enter its FWHM or sigma in nm",
            field="optics.psf_sigma_nm",
        )
    simulation = simulate(
        training.scene,
        frames=training.frames,
        shape=SIMULATED_SHAPE,
        density_per_um2=training.density_per_um2,
        molecule_photons=photons if isinstance(photons, float) else MOLECULE_PHOTONS,
        background_photons=(background if isinstance(background, float) else BACKGROUND_PHOTONS),
        on_frames=training.on_frames,
        recipe=recipe,
        seed=SEED,
    )
    known = simulation.recipe.model_copy(
        update={
            "solver": recipe.solver.model_copy(
                update={"molecule_photons": float(simulation.truth["photons"].mean())}
            )
        }
    )
    made = as_stack(simulation.stack, "simulation", recipe.optics.pixel_size_nm)
    data = yield from _from_stack(
        known, made, simulation.truth, slice(None), device, _source(training)
    )
    return replace(data, frames=replace(data.frames, in_sequence=training.on_frames is not None))


def _source(training: Training) -> str:
    return (
        f"{training.frames} simulated frames, {training.scene}, "
        f"{training.density_per_um2:g} molecules per µm²"
        + (f", on for {training.on_frames:g} frames" if training.on_frames else "")
    )


def _like_a_stack(
    recipe: Recipe, training: Training, stack: Stack, frames: slice, device: torch.device
) -> Generator[Event, None, _Data]:
    """Training frames like those of a stack, but for structure, density and on-time."""
    seen = yield from observe_molecules(stack, recipe, frames)
    (part,) = look_alikes(seen, training.on_frames, 1)
    pixel_nm = recipe.optics.pixel_size_nm
    size_nm = np.array(part.seen.shape) * pixel_nm
    part = replace(
        part,
        place=structure(training.scene, size_nm, np.random.default_rng(SEED)),
        at_a_time=training.density_per_um2 * float(size_nm.prod()) / 1e6,
    )
    yield Note(
        f"Simulating {training.density_per_um2:g} molecules per µm² of "
        f"{part.brightness.photons:.0f} photons on the background of the stack"
    )
    known = part.known(part.record(training.frames, SEED), pedestal_photons(seen), device)
    known = replace(known, in_sequence=training.on_frames is not None)
    upsampling = recipe.solver.upsampling
    operator = forward_operator(part.seen.shape, upsampling, seen.psf, device=device)
    source = f"{_source(training)}, otherwise like {stack.name}"
    return _Data(operator, known, untrained(operator, seen), source)


def _from_stack(
    recipe: Recipe,
    stack: Stack,
    truth: pd.DataFrame,
    frames: slice,
    device: torch.device,
    source: str,
) -> Generator[Event, None, _Data]:
    """Training frames from a stack whose molecules are known."""
    seen = yield from observe_molecules(stack, recipe, frames)
    pedestal = pedestal_photons(seen)
    first, last = seen.frames
    photons = to_photons(stack.read(first, last), seen.camera)
    y = torch.as_tensor(photons, device=device) + pedestal
    b = torch.as_tensor(seen.background, device=device) + pedestal
    grid = Grid(seen.shape, recipe.optics.pixel_size_nm, recipe.solver.upsampling)
    images = truth_images(truth, range(first, last), grid, seen.molecule_photons)
    known = TrainingSet(y, b, torch.as_tensor(images, device=device), in_sequence=True)
    operator = forward_operator(seen.shape, grid.upsampling, seen.psf, device=device)
    return _Data(operator, known, untrained(operator, seen), source)


def _of(preset: Preset | None) -> list[NetworkParameters]:
    return [] if preset is None else list(preset.networks.values())


def _resumed(
    preset: Preset, recipe: Recipe, training: Training, start: NetworkParameters
) -> NetworkParameters:
    """Return the parameters of a preset for these data, if they fit the network asked for."""
    network = preset.networks.get(recipe.solver.fidelity)
    if (
        network is None
        or network.iterations != recipe.solver.iterations
        or network.penalty != recipe.solver.penalty
        or preset.upsampling != recipe.solver.upsampling
        or (network.reserve_pixels is None) is not (training.method == "paper")
    ):
        raise InputError(
            f"the preset '{preset.name}' was learned for another fidelity, penalty, upsampling, "
            "number of iterations or method",
            "Go on with the settings it was begun with",
            field="solver.iterations",
        )
    return network.for_data(start.reference)


def _preset(
    name: str,
    recipe: Recipe,
    training: Training,
    source: str,
    trained: Trained,
    learned_from: int,
) -> Preset:
    start, best = trained.history[0], trained.history[trained.best]
    held_out = "frames not learned from"
    return Preset(
        name=name,
        title=name.replace("-", " ").capitalize(),
        description=f"Learned for a PSF sigma of {recipe.optics.psf_sigma_nm:g} nm and pixels of "
        f"{recipe.optics.pixel_size_nm:g} nm."
        if recipe.optics.psf_sigma_nm
        else "Learned for a measured PSF.",
        trained_on=f"{source}; {training.loss} loss, {recipe.solver.penalty} penalty, "
        f"{len(trained.parameters.step_sizes)} iterations, learned from {learned_from} frames"
        + (
            "."
            if trained.best
            else "; learning found nothing better than the classical parameters it began with."
        ),
        scores=[
            PresetScore(data=held_out, metric=metric, value=round(value, 5))
            for metric, value in (
                (f"{training.loss} loss before learning", start.validation_loss),
                (f"{training.loss} loss", best.validation_loss),
                ("mean Jaccard index of pixels before learning", start.jaccard),
                ("mean Jaccard index of pixels", best.jaccard),
            )
        ],
        upsampling=recipe.solver.upsampling,
        networks={recipe.solver.fidelity: trained.parameters},
        localization=recipe.localization,
    )
