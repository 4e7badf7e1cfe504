"""Neighbouring frames: what molecules that stay on gain from them."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.settings.terms import FIDELITIES, PENALTIES
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.coupling import (
    light_of_neighbours,
    remitted_curvature,
    remitted_slope,
    support,
)
from napari_unfold.unfolding.inference import coupled_iterates, final_iterate
from napari_unfold.unfolding.network import UnfoldedNetwork
from napari_unfold.unfolding.parameters import NetworkParameters

DOUBLE = torch.float64
PHOTONS, BACKGROUND = 60.0, 3.0
TERMS = pytest.mark.parametrize(("fidelity", "penalty"), list(product(FIDELITIES, PENALTIES)))


def frames_in_sequence(n=7, shape=(7, 6), q=2, seed=0):
    """Frames of three molecules, each on for three frames; operator, frames and background."""
    rng = np.random.default_rng(seed)
    operator = SeparableOperator(shape, q, 0.9, dtype=DOUBLE)
    x = np.zeros((n, shape[0] * q, shape[1] * q))
    for _ in range(3):
        first, row, column = rng.integers(0, x.shape)
        x[first : first + 3, row, column] = PHOTONS
    mean = operator.forward(torch.tensor(x)) + BACKGROUND
    y = torch.tensor(rng.poisson(mean.numpy()), dtype=DOUBLE)
    return operator, y, torch.full(shape, BACKGROUND, dtype=DOUBLE)


def a_network(operator, coupling, fidelity="gaussian", penalty="log-sum", iterations=24):
    parameters = classical_parameters(
        operator, PHOTONS, BACKGROUND, fidelity=fidelity, penalty=penalty, iterations=iterations
    ).model_copy(update={"coupling": coupling})
    return UnfoldedNetwork(operator, parameters, dtype=DOUBLE), parameters


def all_follow(y):
    return torch.ones(len(y), dtype=torch.bool)


def run(network, y, b, follows):
    with torch.no_grad():
        return network(y, b, follows)


def test_a_typical_molecule_in_a_neighbour_divides_the_slope_at_zero_by_one_plus_c():
    x = torch.zeros(3, 15, 15, dtype=DOUBLE)
    x[0, 7, 7] = 50.0
    light = light_of_neighbours(x, all_follow(x))
    slope = 1.0 - support(light / 50.0, 4.0) * remitted_slope(torch.zeros_like(x), 50.0)
    assert slope[1, 7, 7].item() == pytest.approx(1 / 5)
    assert slope[1, 0, 0].item() == 1.0
    assert (slope[[0, 2]] == 1.0).all()
    # within a fine pixel it is seen too, farther away it is not
    assert slope[1, 7, 8].item() < 0.5
    assert slope[1, 7, 11].item() == 1.0


def test_what_is_remitted_is_a_logarithm_of_the_light():
    x = torch.linspace(0.5, 200.0, 50, dtype=DOUBLE, requires_grad=True)
    (slope,) = torch.autograd.grad((50.0 * (x / 50.0).log1p()).sum(), x)
    torch.testing.assert_close(remitted_slope(x, 50.0), slope)
    (curvature,) = torch.autograd.grad(remitted_slope(x, 50.0).sum(), x)
    torch.testing.assert_close(remitted_curvature(x, 50.0), curvature)
    assert remitted_slope(-x, 50.0).eq(1.0).all()  # as at zero


def test_both_neighbours_count():
    x = torch.zeros(3, 9, 9, dtype=DOUBLE)
    x[0, 4, 4], x[2, 4, 4] = 20.0, 30.0
    assert light_of_neighbours(x, all_follow(x))[1, 4, 4].item() == pytest.approx(50.0)


def test_the_light_of_neighbours_is_a_symmetric_map():
    follows = torch.tensor([True, True, False, True, True])
    a, c = torch.rand(2, 5, 8, 9, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        (light_of_neighbours(a, follows) * c).sum(), (a * light_of_neighbours(c, follows)).sum()
    )


@TERMS
def test_without_coupling_frames_are_alone(fidelity, penalty):
    operator, y, b = frames_in_sequence()
    network, _ = a_network(operator, 0.0, fidelity, penalty)
    alone = run(network, y, b, None)
    assert torch.equal(run(network, y, b, all_follow(y)), alone)
    assert torch.equal(final_iterate(network, y, b, follows=all_follow(y)),
                       final_iterate(network, y, b))  # fmt: skip


@TERMS
def test_frames_that_do_not_follow_are_no_neighbours(fidelity, penalty):
    operator, y, b = frames_in_sequence()
    network, _ = a_network(operator, 5.0, fidelity, penalty)
    apart = run(network, y, b, torch.zeros(len(y), dtype=torch.bool))
    torch.testing.assert_close(apart, run(network, y, b, None))
    gap = all_follow(y)
    gap[3] = False
    halves = [run(network, part, b, all_follow(part)) for part in (y[:3], y[3:])]
    torch.testing.assert_close(run(network, y, b, gap), torch.cat(halves))


@TERMS
@settings(max_examples=15, deadline=None)
@given(c=st.floats(1e-3, 1e3), coupling=st.floats(0.0, 50.0))
def test_scale_equivariance_is_exact(fidelity, penalty, c, coupling):
    operator, y, b = frames_in_sequence(4)
    network, parameters = a_network(operator, coupling, fidelity, penalty)
    scaled = UnfoldedNetwork(operator, parameters.rescaled(c), dtype=DOUBLE)
    expected = c * run(network, y, b, all_follow(y))
    torch.testing.assert_close(
        run(scaled, c * y, c * b, all_follow(y)), expected, rtol=1e-6, atol=1e-9 * c
    )


@TERMS
def test_time_may_run_backwards(fidelity, penalty):
    operator, y, b = frames_in_sequence()
    network, _ = a_network(operator, 5.0, fidelity, penalty)
    forwards = run(network, y, b, all_follow(y))
    torch.testing.assert_close(run(network, y.flip(0), b, all_follow(y)).flip(0), forwards)


def test_a_frame_depends_on_one_neighbour_on_each_side():
    operator, y, b = frames_in_sequence()
    network, _ = a_network(operator, 5.0)
    brighter = y.clone()
    brighter[4] += operator.forward(torch.full_like(operator.adjoint(y[4]), PHOTONS / 10))
    changed = run(network, y, b, all_follow(y)) != run(network, brighter, b, all_follow(y))
    assert changed.any(dim=(1, 2)).tolist() == [t in (3, 4, 5) for t in range(7)]


@TERMS
def test_the_fast_form_gives_the_same_iterates(fidelity, penalty):
    operator, y, b = frames_in_sequence()
    network, _ = a_network(operator, 5.0, fidelity, penalty)
    follows = torch.tensor([True, True, True, False, True, True, True])
    with torch.no_grad():
        reference = [x.clone() for x in network.iterates(y, b, follows)]
    fast = [x.clone() for x in coupled_iterates(network, y, b, follows)]
    assert len(fast) == len(reference) == 24
    for a, c in zip(fast, reference, strict=True):
        torch.testing.assert_close(a, c, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("frames_at_once", [1, 2, 3, 7])
def test_it_does_not_matter_where_batches_begin(frames_at_once):
    """With a margin of one frame on each side, which is not followed to its end."""
    operator, y, b = frames_in_sequence()
    network, _ = a_network(operator, 5.0)
    pieces = []
    for start in range(0, len(y), frames_at_once):
        stop = min(start + frames_at_once, len(y))
        first, last = max(start - 1, 0), min(stop + 1, len(y))
        inner = slice(start - first, stop - first)
        *_, x = coupled_iterates(network, y[first:last], b, all_follow(y[first:last]), inner)
        pieces.append(x.clone())
    whole = run(network, y, b, all_follow(y))
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_a_faint_molecule_keeps_its_light_where_its_neighbours_are_bright(fidelity):
    """Alone, it loses a part to the penalty, or all; what is remitted gives too much, but less."""
    operator = SeparableOperator((11, 11), 3, 1.1, dtype=DOUBLE)
    x = torch.zeros(3, 33, 33, dtype=DOUBLE)
    x[:, 16, 16] = torch.tensor([PHOTONS, 0.25 * PHOTONS, PHOTONS])
    y, b = operator.forward(x) + BACKGROUND, torch.full((11, 11), BACKGROUND, dtype=DOUBLE)
    lost = []
    for coupling in (0.0, 1.0):
        network, _ = a_network(operator, coupling, fidelity, iterations=400)
        near = run(network, y, b, all_follow(y))[1, 14:19, 14:19]
        lost.append(abs(1.0 - near.sum().item() / (0.25 * PHOTONS)))
    assert lost[1] < 0.8 * lost[0]


def test_neighbours_make_no_light_of_their_own():
    """A dark frame between bright ones stays dark: the penalty falls, the data decide."""
    operator = SeparableOperator((11, 11), 3, 1.1, dtype=DOUBLE)
    x = torch.zeros(3, 33, 33, dtype=DOUBLE)
    x[[0, 2], 16, 16] = PHOTONS
    y, b = operator.forward(x) + BACKGROUND, torch.full((11, 11), BACKGROUND, dtype=DOUBLE)
    network, _ = a_network(operator, 50.0, iterations=200)
    assert run(network, y, b, all_follow(y))[1].max().item() < 1e-3 * PHOTONS


def test_presets_that_do_not_know_it_do_not_couple():
    operator, _, _ = frames_in_sequence()
    _, coupled = a_network(operator, 3.0)
    raw = coupled.model_dump()
    assert NetworkParameters.model_validate(raw) == coupled
    del raw["coupling"]
    assert NetworkParameters.model_validate(raw) == coupled.without_coupling()
    for nonsense in (-1.0, np.nan, 1e9):
        with pytest.raises(ValidationError):
            NetworkParameters.model_validate(raw | {"coupling": nonsense})
