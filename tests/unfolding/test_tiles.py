"""The compiled network on tiles is the network."""

from itertools import product

import numpy as np
import pytest
import torch

from napari_unfold.imaging.forward import SeparableOperator, forward_operator
from napari_unfold.imaging.psf import MeasuredPSF
from napari_unfold.settings.terms import FIDELITIES, PENALTIES
from napari_unfold.unfolding import tiles
from napari_unfold.unfolding.classical import classical_parameters
from napari_unfold.unfolding.inference import final_iterate, unfold
from napari_unfold.unfolding.network import UnfoldedNetwork

CASES = list(product(FIDELITIES, PENALTIES))
PHOTONS, BACKGROUND = 1500.0, 20.0


def frames_of(operator, molecules, n_frames=3, seed=0, edge=False):
    """Make frames of Poisson noise with molecules of 500 to 2500 photons, some at the very edge."""
    rng = np.random.default_rng(seed)
    q, (rows, columns) = operator.upsampling, operator.shape
    x = torch.zeros(n_frames, rows * q, columns * q)
    for image in x:
        for _ in range(molecules):
            image[rng.integers(rows * q), rng.integers(columns * q)] += rng.uniform(500, 2500)
        if edge:
            image[0, 0] = image[-1, columns * q // 2] = PHOTONS
    y = torch.tensor(rng.poisson((operator.forward(x) + BACKGROUND).numpy()), dtype=torch.float32)
    return y, torch.full_like(y, BACKGROUND)


def a_network(
    operator, fidelity="gaussian", penalty="log-sum", iterations=100, share=0.1, varied=False
):
    parameters = classical_parameters(
        operator, PHOTONS, BACKGROUND,
        fidelity=fidelity, penalty=penalty, iterations=iterations, weight=share,
    )  # fmt: skip
    if varied:  # weight, inertia and bend that change, steps that suit every pixel
        changing = np.geomspace(2.0, 0.7, iterations).tolist()
        names = ("weight", "inertia", *parameters.penalty_parameters)
        parameters = parameters.model_copy(
            update={
                "schedules": dict.fromkeys(names, changing),
                "reserve_pixels": 0.3,
                "faint_share": 0.2,
                "step_sizes": np.geomspace(0.9, 1.2, iterations).tolist(),
            }
        )
    return UnfoldedNetwork(operator, parameters)


def assert_same_images(ours, reference):
    """No fine pixel differs by more than half a percent of a molecule, and the light agrees."""
    assert float((ours - reference).abs().max()) < 0.005 * PHOTONS
    assert float((ours - reference).abs().sum()) < 1e-3 * float(reference.sum())


@pytest.mark.slow
@pytest.mark.parametrize("molecules", [6, 120], ids=["sparse", "dense"])
@pytest.mark.parametrize("varied", [False, True], ids=["as in the paper", "varied"])
@pytest.mark.parametrize(("fidelity", "penalty"), CASES)
def test_tiles_give_what_the_readable_form_gives(fidelity, penalty, varied, molecules):
    operator = SeparableOperator((48, 37), 4, 1.1)
    network = a_network(operator, fidelity, penalty, varied=varied)
    y, b = frames_of(operator, molecules, edge=True)
    assert not tiles.missing(network)
    ours = final_iterate(network, y, b)
    with torch.no_grad():
        reference = network(y, b)
    assert float(ours.sum()) > 0
    assert_same_images(ours, reference)


@pytest.mark.slow
@pytest.mark.parametrize(("upsampling", "sigma"), [(1, 1.0), (3, 0.8), (5, 1.4), (8, 2.6)])
def test_any_upsampling_and_width_of_the_psf(upsampling, sigma):
    operator = SeparableOperator((30, 41), upsampling, sigma)
    network = a_network(operator, iterations=40)
    y, b = frames_of(operator, 5, edge=True)
    with torch.no_grad():
        assert_same_images(final_iterate(network, y, b), network(y, b))


@pytest.mark.slow
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_what_the_first_iteration_leaves_dark_stays_dark(fidelity):
    """The rule that cuts the tiles, for every iterate of the readable form and in noise."""
    operator = SeparableOperator((40, 40), 4, 1.1)
    network = a_network(operator, fidelity, iterations=60, share=0.05)
    y, b = frames_of(operator, 25, n_frames=2)
    with torch.no_grad():
        iterates = network.iterates(y, b)
        lit = next(iterates) > 0
        assert 0 < float(lit.float().mean()) < 0.9
        for x in iterates:
            assert not (x > 0).logical_and(~lit).any()


def test_a_tile_gives_the_same_in_whatever_company():
    """Frames one at a time, together, and in another order."""
    operator = SeparableOperator((32, 32), 4, 1.1)
    network = a_network(operator, iterations=30)
    y, b = frames_of(operator, 4, n_frames=6)
    together = final_iterate(network, y, b)
    alone = torch.cat([final_iterate(network, y[t : t + 1], b[t : t + 1]) for t in range(6)])
    assert_same_images(together, alone)
    assert_same_images(together, final_iterate(network, y.flip(0), b).flip(0))
    assert torch.equal(together, final_iterate(network, y, b))


def test_no_seams_a_large_frame_is_its_parts():
    """Molecules far apart in a large frame look as each does in a frame of its own."""
    small, large = (SeparableOperator((side, side), 4, 1.1) for side in (32, 96))
    y, b = frames_of(small, 3, n_frames=9)
    y[:, :8], y[:, -8:], y[..., :8], y[..., -8:] = (BACKGROUND,) * 4
    mosaic = y.reshape(3, 3, 32, 32).transpose(1, 2).reshape(1, 96, 96)
    inner = slice(40, 88)  # away from the borders, at which the small frames end
    apart = final_iterate(a_network(small), y, b)
    parameters = classical_parameters(small, PHOTONS, BACKGROUND, iterations=100, weight=0.1)
    whole = final_iterate(UnfoldedNetwork(large, parameters), mosaic, torch.full_like(mosaic, 20))
    parts = whole.reshape(3, 128, 3, 128).transpose(1, 2).reshape(9, 128, 128)
    assert_same_images(parts[:, inner, inner], apart[:, inner, inner])


def test_dark_frames_give_dark_images():
    operator = SeparableOperator((20, 20), 4, 1.1)
    y = torch.full((2, 20, 20), BACKGROUND)
    assert not final_iterate(a_network(operator, iterations=5), y, y).any()


def test_the_background_may_be_one_image_for_all_frames():
    operator = SeparableOperator((24, 24), 4, 1.1)
    network = a_network(operator, iterations=20)
    y, b = frames_of(operator, 3)
    assert torch.equal(final_iterate(network, y, b[0]), final_iterate(network, y, b))


def test_the_share_done_grows_to_one_and_closing_ends_the_work():
    operator = SeparableOperator((64, 64), 4, 1.1)
    network = a_network(operator, iterations=2000)
    y, b = frames_of(operator, 200, n_frames=8)
    work = unfold(network, y, b)
    assert 0.0 <= next(work) <= 1.0
    work.close()  # would take long if it had to end by itself
    shares = list(unfold(a_network(operator, iterations=3), y, b))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_tick_that_raises_stops_the_work():
    class StopNowError(Exception):
        pass

    def tick():
        raise StopNowError

    operator = SeparableOperator((24, 24), 4, 1.1)
    y, b = frames_of(operator, 3)
    with pytest.raises(StopNowError):
        final_iterate(a_network(operator), y, b, tick)


def test_what_the_kernel_does_not_know_runs_in_torch():
    image = np.outer(*(np.exp(-np.square(np.arange(-4, 5) / 2.4)),) * 2)
    measured = forward_operator((16, 16), 2, MeasuredPSF(image, 1.0))
    network = a_network(measured, iterations=8)
    assert "PSF" in tiles.missing(network)
    y, b = frames_of(measured, 2)
    with torch.no_grad():
        torch.testing.assert_close(
            final_iterate(network, y, b), network(y, b), atol=1e-2, rtol=1e-4
        )
    double = a_network(SeparableOperator((16, 16), 2, 1.1), iterations=8).double()
    assert "precision" in tiles.missing(double)


def test_without_numba_torch_does_the_work(monkeypatch):
    operator = SeparableOperator((24, 24), 4, 1.1)
    network = a_network(operator, iterations=20)
    y, b = frames_of(operator, 3)
    compiled = final_iterate(network, y, b)
    monkeypatch.setattr(tiles, "find_spec", lambda _name: None)
    assert "numba" in tiles.missing(network)
    assert_same_images(compiled, final_iterate(network, y, b).clone())
