"""From what a microscopist has to a preset: make a training set, learn, and write down the scores.

The training set is simulated from the settings, simulated from what a stack tells about itself, or
a stack with known molecules.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.files.presets import Preset, PresetScore
from napari_unfold.files.stacks import Stack, as_stack
from napari_unfold.imaging.camera import to_photons
from napari_unfold.imaging.forward import ForwardOperator
from napari_unfold.imaging.grid import Grid
from napari_unfold.jobs import Checkpoint, Device, Event, Job, Note, Result, choose_device
from napari_unfold.learning.appraisal import TrainingSet
from napari_unfold.learning.losses import make_loss
from napari_unfold.learning.train import Outcome, Trained, train
from napari_unfold.reconstruction.prepare import prepare
from napari_unfold.settings.recipe import Recipe
from napari_unfold.settings.training import Training
from napari_unfold.simulation.scenes import simulate
from napari_unfold.simulation.simulated_microscope import BACKGROUND_PHOTONS, MOLECULE_PHOTONS
from napari_unfold.unfolding.classical import classical_parameters
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
    history : list of dict
        Metrics of every learning step.
    best : int
        Learning step of `preset`.
    outcome : str
        Why the training ended.
    """

    preset: Preset
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    truth: NDArray[np.float32]
    history: list[dict[str, float]]
    best: int
    outcome: Outcome


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
    device: Device = "auto",
) -> Job:
    """Learn a preset.

    Parameters
    ----------
    recipe : Recipe
        Optics, camera, background, and the network (fidelity, penalty, iterations, upsampling).
    training : Training
    name : str
        Of the preset.
    stack : Stack, optional
        With `truth` it is learned from; without, it tells background and brightness for the
        simulation. Without a stack both come from the recipe.
    truth : DataFrame, optional
        Known molecules of the stack: frame, x_nm, y_nm and, if known, photons.
    frames : slice
        Frames of the stack to use, from 0.
    resume : Preset, optional
        Go on from its parameters, which must have been learned for the same kind of network.
    device : {"auto", "cpu", "cuda"}

    Yields
    ------
    Event
        `Metric` at every learning step, `Checkpoint` (a `Learned`) at every improvement; the last
        is a `Result` that holds a `Learned`.

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
    learning, checking = data.frames.split(training.validation_share)
    operator = data.operator
    loss = make_loss(training, data.start.reference.molecule_photons)
    classical = UnfoldedNetwork(operator, data.start, device=chosen)
    before = final_iterate(classical, checking.y[:1], checking.b)[0].cpu().numpy()

    def learned(trained: Trained) -> Learned:
        network = UnfoldedNetwork(operator, trained.parameters, device=chosen)
        return Learned(
            preset=_preset(name, recipe, training, data.source, trained, len(learning)),
            before=before,
            after=final_iterate(network, checking.y[:1], checking.b)[0].cpu().numpy(),
            truth=checking.truth[0].cpu().numpy(),
            history=trained.history,
            best=trained.best,
            outcome=trained.outcome,
        )

    job = train(
        operator,
        _resumed(resume, recipe, data.start) if resume else data.start,
        learning,
        checking,
        loss,
        outer_iterations=training.outer_iterations,
        search_start=resume is None,
    )
    for event in job:
        if isinstance(event, Checkpoint):
            yield Checkpoint(learned(event.value))
        elif isinstance(event, Result):
            yield Result(learned(event.value))
        else:
            yield event


def truth_images(
    truth: pd.DataFrame, frames: range, grid: Grid, default_photons: float
) -> NDArray[np.float32]:
    """Put the true molecules onto the fine grid.

    Parameters
    ----------
    truth : DataFrame
        frame (from 0), x_nm, y_nm and, if known, photons.
    frames : range
    grid : Grid
    default_photons : float
        For molecules whose photons are not known.

    Returns
    -------
    array (T, qY, qX)
        Photons per fine pixel. Molecules outside the frame are left out.
    """
    rows, columns = grid.fine_shape
    image = np.zeros((len(frames), rows, columns), dtype=np.float32)
    t = truth["frame"].to_numpy() - frames.start
    i = np.floor(truth["y_nm"].to_numpy() / grid.fine_pixel_nm).astype(int)
    j = np.floor(truth["x_nm"].to_numpy() / grid.fine_pixel_nm).astype(int)
    photons = np.full(len(truth), default_photons)
    if "photons" in truth:
        photons = truth["photons"].fillna(default_photons).to_numpy()
    inside = (t >= 0) & (t < len(frames)) & (i >= 0) & (i < rows) & (j >= 0) & (j < columns)
    np.add.at(image, (t[inside], i[inside], j[inside]), photons[inside])
    return image


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
    photons, background = recipe.solver.molecule_photons, recipe.background.photons
    if stack is not None:
        setup = yield from prepare(stack, _classical(recipe), None, frames, device)
        photons, background = setup.molecule_photons, float(np.median(setup.background))
        recipe = recipe.model_copy(update={"camera": setup.recipe.camera})
        yield Note(
            f"Simulating {training.density_per_um2:g} molecules per µm² of {photons:.0f} photons "
            f"on a background of {background:.3g}"
        )
    elif recipe.camera.known_excess_noise is None:
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
        recipe=recipe,
        seed=SEED,
    )
    source = (
        f"{training.frames} simulated frames, {training.scene}, "
        f"{training.density_per_um2:g} molecules per µm²"
    )
    known = simulation.recipe.model_copy(
        update={
            "solver": recipe.solver.model_copy(
                update={"molecule_photons": float(simulation.truth["photons"].mean())}
            )
        }
    )
    made = as_stack(simulation.stack, "simulation", recipe.optics.pixel_size_nm)
    return (yield from _from_stack(known, made, simulation.truth, slice(None), device, source))


def _from_stack(
    recipe: Recipe,
    stack: Stack,
    truth: pd.DataFrame,
    frames: slice,
    device: torch.device,
    source: str,
) -> Generator[Event, None, _Data]:
    """Training frames from a stack whose molecules are known."""
    setup = yield from prepare(stack, _classical(recipe), None, frames, device)
    first, last = setup.frames
    photons = to_photons(stack.read(first, last), setup.camera)
    y = torch.as_tensor(photons, device=device) + setup.pedestal_photons
    b = torch.as_tensor(setup.background, device=device) + setup.pedestal_photons
    images = truth_images(truth, range(first, last), setup.grid, setup.molecule_photons)
    if not images.any():
        raise InputError(
            "none of the true molecules lies in the chosen frames",
            "Check that truth and stack belong together, and the pixel size",
            field="stack",
        )
    known = TrainingSet(y, b, torch.as_tensor(images, device=device))
    start = classical_parameters(
        setup.network.operator,
        setup.molecule_photons,
        float(b.min()),
        fidelity=recipe.solver.fidelity,
        penalty=recipe.solver.penalty,
        iterations=recipe.solver.iterations,
    )
    return _Data(setup.network.operator, known, start, source)


def _resumed(preset: Preset, recipe: Recipe, start: NetworkParameters) -> NetworkParameters:
    """Return the parameters of a preset for these data, if they fit the network asked for."""
    network = preset.networks.get(recipe.solver.fidelity)
    penalty = "l1" if network is None or network.sparsity_photons is None else "log-sum"
    if (
        network is None
        or network.iterations != recipe.solver.iterations
        or penalty != recipe.solver.penalty
        or preset.upsampling != recipe.solver.upsampling
    ):
        raise InputError(
            f"the preset '{preset.name}' was learned for another fidelity, penalty, upsampling or "
            "number of iterations",
            "Go on with the settings it was begun with",
            field="solver.iterations",
        )
    return network.for_data(start.reference)


def _classical(recipe: Recipe) -> Recipe:
    """Leave the network small where only the estimates are wanted."""
    return recipe.model_copy(update={"solver": recipe.solver.model_copy(update={"iterations": 1})})


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
        f"{len(trained.parameters.step_sizes)} iterations, learned from {learned_from} frames.",
        scores=[
            PresetScore(data=held_out, metric=metric, value=round(values[key], 5))
            for metric, values, key in (
                (f"{training.loss} loss before learning", start, "validation loss"),
                (f"{training.loss} loss", best, "validation loss"),
                ("mean Jaccard index of pixels before learning", start, "Jaccard index"),
                ("mean Jaccard index of pixels", best, "Jaccard index"),
            )
        ],
        upsampling=recipe.solver.upsampling,
        networks={recipe.solver.fidelity: trained.parameters},
        localization=recipe.localization,
    )
