"""Algorithm 1: derivatives, invariances and minimisers."""

from itertools import product

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import optimize, special

from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.imaging.psf import gaussian_matrix
from napari_unfold.settings.terms import FIDELITIES, PENALTIES
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.fidelity import fidelity_named, zero_image_weight
from napari_unfold.unfolding.inference import iterates_in_place
from napari_unfold.unfolding.metric import RESERVE_PIXELS
from napari_unfold.unfolding.network import UnfoldedNetwork, inertia
from napari_unfold.unfolding.parameters import NetworkParameters, Reference
from napari_unfold.unfolding.penalty import penalty_named

DOUBLE = torch.float64
CASES = list(product(FIDELITIES, PENALTIES))
STEPS = pytest.mark.parametrize("varied", [False, True], ids=["as in the paper", "varied"])


def a_problem(shape=(6, 5), q=2, sigma=0.9, photons=40.0, background=3.0, batch=2, seed=0):
    """Make an operator, and frames of a few molecules with Poisson noise."""
    rng = np.random.default_rng(seed)
    operator = SeparableOperator(shape, q, sigma, dtype=DOUBLE)
    x = np.zeros((batch, shape[0] * q, shape[1] * q))
    for image in x:
        rows, columns = rng.integers(0, x.shape[1], 3), rng.integers(0, x.shape[2], 3)
        image[rows, columns] = photons
    mean = operator.forward(torch.tensor(x)) + background
    y = torch.tensor(rng.poisson(mean.numpy()), dtype=DOUBLE)
    return operator, y, torch.full_like(y, background)


def a_network(operator, fidelity, penalty, iterations, photons=40.0, background=3.0, **changes):
    parameters = classical_parameters(
        operator, photons, background, fidelity=fidelity, penalty=penalty, iterations=iterations
    ).model_copy(update=changes)
    return UnfoldedNetwork(operator, parameters, dtype=DOUBLE), parameters


def varied_parameters(fidelity, penalty, iterations):
    """Return steps that suit every pixel, and a weight, inertia and bend for every iteration."""
    names = ("weight", "inertia", *penalty_named(penalty).learnables())
    return {
        "reserve_pixels": 0.7,
        "whitening": 0.2 if fidelity == "gaussian" else None,
        "faint_share": 0.3,
        "step_sizes": np.linspace(1.2, 0.6, iterations).tolist(),
        "schedules": {
            name: np.geomspace(1.0 + i, 0.5, iterations).tolist() for i, name in enumerate(names)
        },
    }


def test_the_inertia_of_chambolle_and_dossal():
    assert [inertia(k) for k in range(4)] == [0.0, 0.0, 1 / 5, 2 / 6]


@pytest.mark.parametrize(
    ("fidelity", "penalty", "varied"),
    [(*case, varied) for case in CASES for varied in (False, True)],
)
def test_the_output_is_differentiable_in_all_parameters_and_the_data(fidelity, penalty, varied):
    operator, y, b = a_problem(shape=(4, 4), photons=55.0)
    changes = varied_parameters(fidelity, penalty, 4) if varied else {}
    changes.pop("reserve_pixels", None)  # the steps that suit every pixel are held fixed
    if varied:
        changes["step_sizes"] = [0.01, 0.03, 0.02, 0.01]
    network, _ = a_network(
        operator, fidelity, penalty, 4, projection_width_photons=4.0, coupling=2.0, **changes
    )
    follows = torch.tensor([True, True])
    learned = {n: v for n, v in network.named_parameters() if n != "threshold"}
    of_penalty = {f"penalty_parameters.{name}" for name in network.penalty_class.learnables()}
    schedules = {f"schedules.{name}" for name in changes.get("schedules", ())}
    if changes.get("whitening"):
        schedules.add("whitening")
    assert set(learned) == {"step_sizes", "weight", "coupling"} | of_penalty | schedules

    def run(y, *values):
        values = dict(zip(learned, values, strict=True))
        return torch.func.functional_call(network, values, (y, b, follows))

    inputs = (y + 0.3, *learned.values())  # away from the kink of clipped zeros
    inputs = tuple(v.detach().clone().requires_grad_() for v in inputs)
    assert torch.autograd.gradcheck(run, inputs, eps=1e-7, atol=1e-5)


@STEPS
@pytest.mark.parametrize(("fidelity", "penalty"), CASES)
def test_the_fast_form_gives_the_same_iterates(fidelity, penalty, varied):
    operator, y, b = a_problem(shape=(9, 80), q=3)
    changes = varied_parameters(fidelity, penalty, 40) if varied else {}
    network, _ = a_network(operator, fidelity, penalty, 40, **changes)
    with torch.no_grad():
        reference = [x.clone() for x in network.iterates(y, b)]
    fast = [x.clone() for x in iterates_in_place(network, y, b)]
    assert len(fast) == len(reference) == 40
    for a, c in zip(fast, reference, strict=True):
        torch.testing.assert_close(a, c, rtol=1e-9, atol=1e-9)


@STEPS
@pytest.mark.parametrize(("fidelity", "penalty"), CASES)
@pytest.mark.parametrize("c", [0.01, 7.3])
def test_scale_equivariance_is_exact(fidelity, penalty, c, varied):
    """Rescaled parameters turn c times the light into c times the image."""
    operator, y, b = a_problem()
    changes = varied_parameters(fidelity, penalty, 60) if varied else {}
    network, parameters = a_network(operator, fidelity, penalty, 60, **changes)
    scaled = UnfoldedNetwork(operator, parameters.rescaled(c), dtype=DOUBLE)
    with torch.no_grad():
        torch.testing.assert_close(scaled(c * y, c * b), c * network(y, b), rtol=1e-6, atol=1e-9)
    assert scaled.threshold.item() == pytest.approx(c * network.threshold.item())


def test_parameters_carried_to_the_same_data_are_unchanged():
    operator, _, _ = a_problem()
    for fidelity, penalty in CASES:
        _, parameters = a_network(operator, fidelity, penalty, 3)
        assert parameters.for_data(parameters.reference) == parameters


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_classical_parameters_carried_over_are_the_classical_parameters_there(fidelity):
    first = SeparableOperator((20, 20), 4, 1.1)
    second = SeparableOperator((40, 24), 3, 1.8)
    carried = classical_parameters(first, 1500, 20, fidelity=fidelity, iterations=8).for_data(
        Reference(
            molecule_photons=400,
            background_photons=5,
            norm_squared=second.norm_squared,
            point_energy=second.point_energy,
        )
    )
    there = classical_parameters(second, 400, 5, fidelity=fidelity, iterations=8)
    np.testing.assert_allclose(carried.step_sizes, there.step_sizes)
    assert carried.weight == pytest.approx(there.weight)
    assert carried.penalty_parameters == pytest.approx(there.penalty_parameters)
    assert carried.threshold_photons == pytest.approx(there.threshold_photons)


def energy_by_hand(x, y, b, g_y, g_x, weight, fidelity):
    mean = g_y @ x.reshape(g_y.shape[1], g_x.shape[1]) @ g_x.T + b
    if fidelity == "gaussian":
        value, residual = 0.5 * ((mean - y) ** 2).sum(), mean - y
    else:
        value, residual = special.kl_div(y, mean).sum(), 1 - y / mean
    return value + weight * x.sum(), (g_y.T @ residual @ g_x + weight).ravel()


@pytest.mark.slow
@pytest.mark.parametrize("fidelity", ["gaussian", "kl"])
def test_it_converges_to_the_minimiser_an_independent_solver_finds(fidelity):
    """The convex energy (l1), minimised by L-BFGS-B of scipy with its own formulas."""
    shape, q, sigma = (7, 6), 2, 0.8
    operator, y, b = a_problem(shape, q, sigma, batch=1)
    network, parameters = a_network(
        operator, fidelity, "l1", 5000, projection_width_photons=1e-6, weight=0.3
    )
    with torch.no_grad():
        x = network(y, b)[0].numpy()
    g_y, g_x = (gaussian_matrix(n, q, sigma).numpy() for n in shape)
    fixed = (y[0].numpy(), b[0].numpy(), g_y, g_x, parameters.weight, fidelity)
    best = optimize.minimize(
        energy_by_hand, np.ones(x.size), fixed, "L-BFGS-B", jac=True, bounds=[(0, None)] * x.size,
        options={"maxiter": 50_000, "maxfun": 100_000, "ftol": 1e-15, "gtol": 1e-9},
    )  # fmt: skip
    ours, _ = energy_by_hand(x.ravel(), *fixed)
    assert ours == pytest.approx(best.fun, rel=1e-5)
    # the light on the camera is unique even where molecules could be exchanged
    np.testing.assert_allclose(
        g_y @ x @ g_x.T, g_y @ best.x.reshape(x.shape) @ g_x.T, atol=0.01 * y.max().item()
    )


@pytest.mark.slow
@pytest.mark.parametrize(("fidelity", "penalty"), CASES)
def test_no_independent_solver_gets_lower_from_where_it_ends(fidelity, penalty):
    """L-BFGS-B of scipy, started at the result: the penalties need not be convex."""
    operator, y, b = a_problem((7, 6), 2, 0.8, batch=1)
    network, _ = a_network(operator, fidelity, penalty, 1500, projection_width_photons=1e-6)

    def energy(values):
        x = torch.tensor(values.reshape(1, 14, 12), requires_grad=True)
        e = network.energy(x, y, b).sum()
        return e.item(), torch.autograd.grad(e, x)[0].numpy().ravel()

    with torch.no_grad():
        x = network(y, b).numpy().ravel()
    best = optimize.minimize(
        energy, x, method="L-BFGS-B", jac=True, bounds=[(0, None)] * x.size,
        options={"maxiter": 1000, "ftol": 1e-12},
    )  # fmt: skip
    assert energy(x)[0] == pytest.approx(best.fun, rel=1e-4)


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_above_the_zero_image_weight_a_lone_molecule_disappears(fidelity):
    operator, _, b = a_problem(shape=(15, 15), q=3, batch=1)
    x = torch.zeros(1, 45, 45, dtype=DOUBLE)
    x[0, 22, 22] = 40.0
    y = operator.forward(x) + b
    largest = zero_image_weight(fidelity_named(fidelity), operator, y, b)
    if fidelity == "gaussian":
        assert largest == pytest.approx(operator.adjoint(y - b).max().item())
    for share, empty in ((1.01, True), (0.9, False)):
        network, _ = a_network(operator, fidelity, "l1", 300, weight=share * largest)
        with torch.no_grad():
            assert bool((network(y, b) == 0).all()) is empty


BRIGHTNESS = pytest.mark.parametrize(
    ("photons", "background"), [(1500, 20), (1500, 1), (300, 20), (3000, 500), (60, 0.5)]
)


@pytest.mark.slow
@pytest.mark.parametrize(("fidelity", "penalty"), CASES)
@BRIGHTNESS
def test_classical_steps_are_safe_on_any_brightness(fidelity, penalty, photons, background):
    operator, y, b = a_problem((24, 24), 4, 1.1, photons, background)
    network, _ = a_network(operator, fidelity, penalty, 400, photons, background)
    with torch.no_grad():
        energies = torch.stack([network.energy(x, y, b).sum() for x in network.iterates(y, b)])
        zero = network.energy(torch.zeros(2, 96, 96, dtype=DOUBLE), y, b).sum()
    assert energies[-1] < zero
    assert energies[-1] <= energies.min() * 1.05


@pytest.mark.slow
@pytest.mark.parametrize(("fidelity", "penalty"), CASES)
@BRIGHTNESS
def test_steps_that_suit_every_pixel_are_safe_and_sooner_there(
    fidelity, penalty, photons, background
):
    operator, y, b = a_problem((24, 24), 4, 1.1, photons, background)
    classical, _ = a_network(operator, fidelity, penalty, 100, photons, background)
    lit, _ = a_network(
        operator, fidelity, penalty, 100, photons, background,
        reserve_pixels=RESERVE_PIXELS, step_sizes=[1.0] * 100,
    )  # fmt: skip
    with torch.no_grad():
        energies = torch.stack([lit.energy(x, y, b).sum() for x in lit.iterates(y, b)])
        assert energies[-1] <= energies.min() * 1.05
        assert energies[-1] < 1.001 * classical.energy(classical(y, b), y, b).sum()


@pytest.mark.slow
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("fidelity", ["gaussian", "kl"])
@BRIGHTNESS
def test_an_untrained_network_accounts_for_the_light(fidelity, penalty, photons, background):
    operator, y, b = a_problem((24, 24), 4, 1.1, photons, background)
    network, _ = a_network(operator, fidelity, penalty, 400, photons, background)
    with torch.no_grad():
        x = network(y, b)
        zero = network.energy(torch.zeros_like(x), y, b).sum()
        assert network.energy(x, y, b).sum() < 0.75 * zero
    assert x.sum().item() == pytest.approx(2 * 3 * photons, rel=0.6)


def test_the_log_sum_penalty_leaves_fewer_and_brighter_pixels():
    operator, y, b = a_problem((20, 20), 4, 1.1, 2000.0, 20.0, seed=3)
    sparse, _ = a_network(operator, "gaussian", "log-sum", 300, 2000.0, 20.0)
    spread, _ = a_network(operator, "gaussian", "l1", 300, 2000.0, 20.0)
    with torch.no_grad():
        a, c = sparse(y, b), spread(y, b)
    assert (a > 20).sum() < 0.6 * (c > 20).sum()
    assert a.max() > 1.2 * c.max()


@pytest.mark.parametrize(
    "change",
    [
        {"step_sizes": []}, {"step_sizes": [0.1, -1.0]}, {"weight": 0.0}, {"weight": np.nan},
        {"l1_iterations": 9}, {"fidelity": "poisson"}, {"unknown": 1}, {"threshold_photons": -1},
        {"penalty": "ridge"}, {"penalty": "l1"}, {"penalty_parameters": {"bend_photons": 0.0}},
        {"reserve_pixels": 0.0}, {"schedules": {"weight": [1.0, 1.0]}},
        {"schedules": {"threshold_photons": [1.0] * 4}}, {"schedules": {"weight": [0.0] * 4}},
    ],
)  # fmt: skip
def test_parameters_that_make_no_sense_are_refused(change):
    operator, _, _ = a_problem()
    good = classical_parameters(operator, 100, 5, iterations=4).model_dump()
    with pytest.raises(ValidationError):
        NetworkParameters.model_validate(good | change)
