"""Learning: what it must improve, what it must not touch, and how it ends when it fails."""

import json
import math
import threading
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
import pandas as pd
import pytest
import torch

from napari_unfold.errors import InputError
from napari_unfold.files.stacks import as_stack
from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.imaging.grid import Grid
from napari_unfold.jobs import Checkpoint, Metric, Metrics, Note, Pulse, run_to_end
from napari_unfold.learning.appraisal import TrainingSet, truth_images, worth
from napari_unfold.learning.learn import Learned, learn
from napari_unfold.learning.losses import LocalizationLoss, ReconstructionLoss, TolerantLoss
from napari_unfold.learning.schedules import KNOTS, LARGEST_STEP, scheduled
from napari_unfold.learning.state import TrainingState
from napari_unfold.learning.train import train
from napari_unfold.settings.microscope import Background, Camera
from napari_unfold.settings.recipe import Recipe, Solver
from napari_unfold.settings.terms import FIDELITIES, PENALTIES
from napari_unfold.settings.training import Training
from napari_unfold.simulation.scenes import simulate
from napari_unfold.simulation.simulated_microscope import MICROSCOPE
from napari_unfold.unfolding.backward import unrolled
from napari_unfold.unfolding.checkpointed import checkpointed
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.network import UnfoldedNetwork

PHOTONS = 300.0


def some_frames(n=6, side=12, molecules=6, seed=0):
    """Frames of molecules on the grid with Gaussian noise, and their operator."""
    rng = np.random.default_rng(seed)
    operator = SeparableOperator((side, side), 3, 1.0)
    truth = np.zeros((n, side * 3, side * 3), np.float32)
    for image in truth:
        rows, columns = rng.integers(0, side * 3, (2, molecules))
        image[rows, columns] = rng.uniform(0.7, 1.3, molecules) * PHOTONS
    clean = operator.forward(torch.tensor(truth)) + 5.0
    y = clean + torch.tensor(rng.normal(0, 1.0, clean.shape), dtype=torch.float32)
    return operator, TrainingSet(y, torch.full((side, side), 5.0), torch.tensor(truth))


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("run", [checkpointed, unrolled])
@pytest.mark.parametrize("coupling", [None, 0.0, 3.0])
@pytest.mark.parametrize("varied", [False, True])
def test_saving_memory_and_time_changes_neither_output_nor_gradient(
    run, coupling, fidelity, penalty, varied
):
    _, frames = some_frames(4)
    follows = None if coupling is None else torch.tensor([True, True, False, True])
    operator = SeparableOperator((12, 12), 3, 1.0, dtype=torch.float64)
    parameters = classical_parameters(
        operator, PHOTONS, 5.0, fidelity=fidelity, penalty=penalty, iterations=23
    ).model_copy(update={"coupling": coupling or 0.0})
    if varied:
        whitening = 0.2 if fidelity == "gaussian" else None
        parameters = scheduled(parameters).model_copy(update={"whitening": whitening})
        parameters.schedules["inertia"][5:] = np.linspace(0.9, 1.5, 18).tolist()
    gradients = []
    for any_run in (UnfoldedNetwork.forward, run):
        network = UnfoldedNetwork(operator, parameters, dtype=torch.float64)
        x = any_run(network, frames.y.double(), frames.b.double(), follows=follows)
        (0.5 * x.square() + x).sum().backward()
        learned = {n: p.grad for n, p in network.named_parameters() if n != "threshold"}
        if coupling is None:
            assert not learned.pop("coupling")
        gradients.append([x.detach(), *learned.values()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_background_of_each_frame_is_used_as_one_of_all_is(fidelity):
    operator, frames = some_frames(10)
    start = classical_parameters(operator, PHOTONS, 5.0, fidelity=fidelity, iterations=6)
    each = replace(frames, b=frames.b.repeat(10, 1, 1))
    results = [
        run_to_end(
            train(operator, start, f[:8], f[8:], TolerantLoss(), method="schedules",
                  outer_iterations=2, search_start=False)
        )
        for f in (frames, each)
    ]  # fmt: skip
    one, other = (np.array([m.training_loss for m in r.history]) for r in results)
    np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize(
    "loss", [ReconstructionLoss(PHOTONS), LocalizationLoss(), TolerantLoss(0.5)]
)
def test_learning_lowers_the_loss_on_frames_it_does_not_learn_from(fidelity, loss):
    operator, frames = some_frames(16)
    learning, checking = frames.split()
    start = classical_parameters(operator, PHOTONS, 5.0, fidelity=fidelity, iterations=30)
    events = []
    trained = run_to_end(
        train(operator, start, learning, checking, loss, outer_iterations=8), events.append
    )
    first = trained.history[0]
    assert min(m.training_loss for m in trained.history) < 0.99 * first.training_loss
    assert min(m.validation_loss for m in trained.history) < first.validation_loss
    # what is kept is what was best on the held-out frames
    best = trained.history[trained.best]
    assert worth(best, loss) == max(worth(metrics, loss) for metrics in trained.history)
    network = UnfoldedNetwork(operator, trained.parameters)
    with torch.no_grad():
        value = loss(network(checking.y, checking.b), checking.truth, network.threshold)
    assert value.item() == pytest.approx(best.validation_loss, rel=1e-3)
    assert [e.iteration for e in events if isinstance(e, Metric)] == list(
        range(len(trained.history))
    )


@pytest.mark.parametrize(
    ("loss", "better", "worse"),
    [
        (ReconstructionLoss(), Metrics(1.0, jaccard=0.0), Metrics(2.0, jaccard=0.1)),
        (LocalizationLoss(), Metrics(9.0, jaccard=0.3), Metrics(5.0, jaccard=0.1)),
        (TolerantLoss(), Metrics(0.6, jaccard=0.1), Metrics(0.8, jaccard=0.1)),
        (TolerantLoss(), Metrics(0.7, jaccard=0.3), Metrics(0.6, jaccard=0.1)),
    ],
)
def test_an_empty_image_is_never_worth_more_than_found_molecules(loss, better, worse):
    assert worth(better, loss) > worth(worse, loss)
    assert worth(Metrics(math.nan, jaccard=0.5), TolerantLoss()) == -math.inf


def frames_in_sequence(n, on):
    """Frames in which molecules stay on for `on` frames; the more the longer."""
    operator, single = some_frames(n // on, molecules=3)
    truth = single.truth.repeat_interleave(on, dim=0)
    noise = torch.randn(len(truth), *operator.shape, generator=torch.Generator().manual_seed(1))
    y = operator.forward(truth) + 5.0 + 4.0 * noise
    return operator, TrainingSet(y, single.b, truth, in_sequence=True)


@pytest.mark.slow
def test_the_coupling_is_learned_where_molecules_stay_on():
    operator, frames = frames_in_sequence(24, on=6)
    start = classical_parameters(operator, PHOTONS, 5.0, iterations=30)
    learn_from = partial(train, operator, start, outer_iterations=6, search_start=False)
    loss = ReconstructionLoss(PHOTONS)
    trained = run_to_end(learn_from(*frames.split(), loss))
    assert trained.parameters.coupling > 0.5
    # and it is worth something on the frames that were not learned from
    _, checking = frames.split()
    losses = []
    for parameters in (trained.parameters, trained.parameters.without_coupling()):
        network = UnfoldedNetwork(operator, parameters)
        with torch.no_grad():
            x = network(checking.y, checking.b, checking.follows)
        losses.append(loss(x, checking.truth, network.threshold).item())
    assert losses[0] < losses[1]


def test_frames_that_are_not_in_sequence_teach_nothing_of_their_neighbours():
    operator, frames = frames_in_sequence(8, on=4)
    alone = replace(frames, in_sequence=False)
    for coupling in (0.0, 2.0):
        start = classical_parameters(operator, PHOTONS, 5.0, iterations=10)
        start = start.model_copy(update={"coupling": coupling})
        trained = run_to_end(
            train(operator, start, *alone.split(), TolerantLoss(), outer_iterations=2,
                  search_start=False)
        )  # fmt: skip
        assert trained.parameters.coupling == coupling


@pytest.mark.slow
def test_parameters_stay_within_their_bounds():
    operator, frames = some_frames()
    learning, checking = frames.split()
    start = classical_parameters(operator, PHOTONS, 5.0, iterations=20)
    trained = run_to_end(
        train(operator, start, learning, checking, LocalizationLoss(), outer_iterations=10)
    )
    steps = np.array(trained.parameters.step_sizes) * operator.norm_squared
    assert (steps > 0).all()
    assert (steps <= 2.0 * (1 + 1e-5)).all()
    assert 0 < trained.parameters.threshold_photons <= 0.5 * frames.truth.max().item()
    largest = operator.adjoint(learning.y - learning.b).max().item()
    assert 0 < trained.parameters.weight <= largest


def test_a_training_that_ends_empty_says_so():
    operator, frames = some_frames()
    learning, checking = frames.split()
    start = classical_parameters(operator, PHOTONS, 5.0, iterations=10)
    empty = start.model_copy(update={"threshold_photons": 1e5})
    events = []
    job = train(
        operator, empty, learning, checking, LocalizationLoss(), outer_iterations=2,
        search_start=False,
    )  # fmt: skip
    assert run_to_end(job, events.append).outcome == "zero"
    assert any(isinstance(e, Note) and "empty images" in e.text for e in events)


def test_a_training_without_progress_stops_and_says_so():
    operator, frames = some_frames()
    learning, checking = frames.split()
    start = classical_parameters(operator, PHOTONS, 5.0, iterations=3)
    flat = TrainingSet(learning.y * 0 + 5.0, learning.b, learning.truth * 0)
    trained = run_to_end(
        train(operator, start, flat, checking, TolerantLoss(), outer_iterations=50,
              search_start=False)
    )  # fmt: skip
    assert trained.outcome in {"stalled", "zero"}
    assert len(trained.history) < 20


def test_stopping_early_leaves_the_best_so_far():
    operator, frames = some_frames(16)
    learning, checking = frames.split()
    start = classical_parameters(operator, PHOTONS, 5.0, iterations=10)
    loss = ReconstructionLoss(PHOTONS)
    job = train(operator, start, learning, checking, loss, outer_iterations=50)
    values, best = [], None
    for event in job:
        if isinstance(event, Metric) and event.iteration == 5:
            break
        if isinstance(event, Metric):
            values.append(event.values.validation_loss)
        elif isinstance(event, Checkpoint):
            best = event.value
    job.close()
    assert best.best == np.argmin(values) > 0
    network = UnfoldedNetwork(operator, best.parameters)
    with torch.no_grad():
        x = network(checking.y, checking.b)
    value = loss(x, checking.truth, network.threshold).item()
    assert value == pytest.approx(min(values), rel=1e-3)


def test_a_learning_step_can_be_stopped_within_it():
    operator, frames = some_frames()
    start = classical_parameters(operator, PHOTONS, 5.0, iterations=5000)
    job = train(
        operator, start, frames, frames, TolerantLoss(), outer_iterations=5, search_start=False
    )
    assert any(isinstance(event, Pulse) for event in islice(job, 3))
    threads = threading.active_count()
    job.close()
    assert threading.active_count() < threads


def test_true_molecules_lie_in_their_fine_pixels():
    truth = pd.DataFrame(
        {
            "frame": [3, 3, 4, 9, 3],
            "x_nm": [0.0, 199.9, 101.0, 50.0, 950.0],
            "y_nm": [0.0, 300.0, 25.1, 50.0, 50.0],
            "photons": [10.0, np.nan, 30.0, 1.0, 1.0],
        }
    )
    images = truth_images(truth, range(3, 5), Grid((4, 4), 100.0, 2), default_photons=7.0)
    assert images.shape == (2, 8, 8)
    assert images[0, 0, 0] == 10
    assert images[0, 6, 3] == 7
    assert images[1, 0, 2] == 30
    assert images.sum() == 47


def a_recipe(**solver):
    return MICROSCOPE.model_copy(update={"solver": Solver(**({"iterations": 20} | solver))})


@pytest.mark.slow
def test_a_preset_learned_from_simulated_frames_can_be_used(tmp_path):
    from napari_unfold.files.presets import load_preset, save_preset
    from napari_unfold.reconstruction.reconstruct import reconstruct

    training = Training(frames=4, outer_iterations=2, density_per_um2=2)
    learned: Learned = run_to_end(learn(a_recipe(), training, name="mine"))
    assert learned.before.shape == learned.after.shape == learned.truth.shape == (128, 128)
    save_preset(learned.preset, tmp_path / "mine.json")
    preset = load_preset(tmp_path / "mine.json")
    assert preset.networks["gaussian"].iterations == 20
    assert "simulated" in preset.trained_on
    assert {s.metric for s in preset.scores} >= {"tolerant loss", "tolerant loss before learning"}
    made = simulate("random", frames=3, shape=(20, 20), density_per_um2=1, seed=1)
    result = run_to_end(reconstruct(as_stack(made.stack), a_recipe(), preset))
    assert len(result.localizations) > 0.5 * len(made.truth)


@pytest.mark.slow
def test_learning_from_a_stack_with_known_molecules():
    made = simulate("random", frames=6, shape=(20, 20), density_per_um2=2, seed=5)
    learned = run_to_end(
        learn(
            a_recipe(), Training(outer_iterations=2, frames=4), name="mine",
            stack=as_stack(made.stack, "cells"), truth=made.truth, frames=slice(1, None),
        )
    )  # fmt: skip
    assert "4 frames of cells" in learned.preset.trained_on
    assert learned.truth.sum() == pytest.approx(
        made.truth.query("frame == 4")["photons"].sum(), rel=1e-4
    )


@pytest.mark.slow
def test_brightness_and_background_come_from_the_stack():
    made = simulate(
        "random", frames=30, shape=(40, 40), molecule_photons=4000, background_photons=60, seed=5
    )
    learned = run_to_end(
        learn(a_recipe(), Training(outer_iterations=1, frames=3), name="mine",
              stack=as_stack(made.stack))
    )  # fmt: skip
    reference = learned.preset.networks["gaussian"].reference
    assert reference.molecule_photons == pytest.approx(4000, rel=0.3)
    assert reference.background_photons == pytest.approx(60, rel=0.3)


@pytest.mark.parametrize("method", ["schedules", "paper"])
@pytest.mark.parametrize("in_sequence", [False, True])
def test_an_interrupted_training_ends_as_if_it_had_not_been(method, in_sequence):
    operator, frames = some_frames(14)
    learning, checking = replace(frames, in_sequence=in_sequence).split()
    start = classical_parameters(operator, PHOTONS, 5.0, iterations=8)
    learn_from = partial(
        train, operator, start, learning, checking, TolerantLoss(0.3), method=method,
        outer_iterations=5,
    )  # fmt: skip
    through = run_to_end(learn_from())
    for event in (job := learn_from()):
        if isinstance(event, Checkpoint):
            state = event.value.state
        if isinstance(event, Metric) and event.iteration == 3:
            break
    job.close()
    kept = TrainingState.model_validate(json.loads(json.dumps(state.model_dump())))
    resumed = run_to_end(learn_from(resume=kept))
    assert resumed.parameters == through.parameters
    assert [m.jaccard for m in resumed.history] == [m.jaccard for m in through.history]
    assert [m.training_loss for m in resumed.history] == [m.training_loss for m in through.history]
    # at its end it gets as many steps again, and "before" stays what it was
    longer = run_to_end(learn_from(resume=through.state))
    assert longer.history[0] == through.history[0]
    if through.outcome == "learned":
        assert len(longer.history) > len(through.history)


@pytest.mark.slow
def test_resuming_goes_on_where_it_ended():
    training = Training(frames=4, outer_iterations=3, density_per_um2=2)
    first = run_to_end(learn(a_recipe(), training, name="mine"))
    second = run_to_end(
        learn(a_recipe(), training, name="mine", resume=first.preset, state=first.state)
    )
    assert second.history[: len(first.history)] == first.history
    # a preset whose training is not told of is where learning begins
    third = run_to_end(learn(a_recipe(), training, name="mine", resume=first.preset))
    best = first.history[first.best].validation_loss
    assert third.history[0].validation_loss == pytest.approx(best, rel=1e-3)
    for recipe, changed in (
        (a_recipe(iterations=7), training),
        (a_recipe(), training.model_copy(update={"method": "paper"})),
    ):
        with pytest.raises(InputError, match="another fidelity"):
            run_to_end(learn(recipe, changed, name="mine", resume=first.preset))


@pytest.mark.slow
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_schedules_find_more_molecules_than_they_began_with(fidelity):
    operator, frames = some_frames(24)
    learning, checking = frames[:14], frames[14:]
    start = classical_parameters(operator, PHOTONS, 5.0, fidelity=fidelity, iterations=15)
    trained = run_to_end(
        train(operator, start, learning, checking, TolerantLoss(0.1), method="schedules",
              outer_iterations=25)
    )  # fmt: skip
    assert trained.history[trained.best].jaccard > trained.history[0].jaccard + 0.005
    assert trained.parameters.reserve_pixels is not None
    steps = np.array(trained.parameters.step_sizes)
    assert (steps > 0).all()
    assert (steps <= LARGEST_STEP * (1 + 1e-5)).all()
    # what is on a few knots has no corners elsewhere
    bend = np.log(trained.parameters.schedules["bend_photons"])
    assert np.count_nonzero(np.abs(np.diff(bend, 2)) > 1e-4) <= 2 * (KNOTS - 2)


def test_a_simulation_says_which_camera_it_made_up():
    recipe = a_recipe().model_copy(update={"camera": Camera()})
    events = learn(recipe, Training(frames=2), name="mine")
    assert any(isinstance(e, Note) and "simulating an EMCCD" in e.text for e in islice(events, 5))


@pytest.mark.parametrize(
    ("recipe", "training", "message"),
    [
        (Recipe(), Training(), "Gaussian PSF only"),
        (a_recipe(), Training(frames=2, validation_share=0.9), "fewer than two frames|nothing"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(recipe, training, message):
    if training.frames == 2:
        made = simulate("random", frames=1, shape=(16, 16), seed=1)
        job = learn(recipe, training, name="x", stack=as_stack(made.stack), truth=made.truth)
    else:
        job = learn(recipe, training, name="x")
    with pytest.raises(InputError, match=message):
        run_to_end(job)


def test_truth_of_another_stack_is_noticed():
    made = simulate("random", frames=4, shape=(16, 16), seed=1)
    elsewhere = made.truth.assign(x_nm=made.truth["x_nm"] + 1e6)
    with pytest.raises(InputError, match="none of the true molecules"):
        run_to_end(
            learn(
                a_recipe().model_copy(update={"background": Background(photons=20.0)}),
                Training(), name="x", stack=as_stack(made.stack), truth=elsewhere,
            )
        )  # fmt: skip
