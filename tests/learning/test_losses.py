"""Losses of the upper level against their formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_unfold.learning.losses import (
    ImageLoss,
    LocalizationLoss,
    ReconstructionLoss,
    TolerantLoss,
    binarize,
    correlation,
    huber,
)

DOUBLE = torch.float64
TAU = torch.tensor(10.0, dtype=DOUBLE)


def images(*pixels, shape=(2, 12, 12)):
    """Images with some pixels (image, row, column, photons) lit."""
    x = torch.zeros(shape, dtype=DOUBLE)
    for r, i, j, photons in pixels:
        x[r, i, j] = photons
    return x


def test_huber_by_hand():
    t = torch.tensor([-3.0, -0.5, 0.0, 0.2, 2.0], dtype=DOUBLE)
    np.testing.assert_allclose(huber(t, 0.5), [2.75, 0.25, 0.0, 0.04, 1.75])


@given(rho=st.floats(0.05, 0.95), top=st.sampled_from([1.0, 255.0]))
def test_binarization_by_hand(rho, top):
    x = TAU * torch.tensor([0.0, 1 - rho, 1.0, 1 + rho, 9.0], dtype=DOUBLE)
    expected = top * np.array([0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(binarize(x, TAU, rho, top), expected, atol=1e-9 * top)


def test_binarization_is_the_cubic_of_the_paper_between():
    """Value, slope zero at both ends: the only cubic through them is the smoothstep."""
    x = torch.tensor([5.0, 7.0, 13.0, 15.0], dtype=DOUBLE, requires_grad=True)
    b = binarize(x, TAU, 0.5)
    (slope,) = torch.autograd.grad(b.sum(), x)
    s = (x.detach().numpy() - 5) / 10
    np.testing.assert_allclose(b.detach(), 3 * s**2 - 2 * s**3)
    np.testing.assert_allclose(slope, 6 * s * (1 - s) / 10, atol=1e-12)


@pytest.mark.parametrize(
    "loss", [ReconstructionLoss(40.0), LocalizationLoss(), LocalizationLoss(0.3, 0.5, 255.0),
             TolerantLoss(), ImageLoss()]
)  # fmt: skip
def test_losses_are_differentiable_in_the_image_and_the_threshold(loss):
    generator = torch.Generator().manual_seed(3)
    x = 20 * torch.rand(2, 6, 6, generator=generator, dtype=DOUBLE)
    truth = images((0, 2, 2, 30.0), (1, 4, 1, 50.0), shape=(2, 6, 6))
    tau = TAU.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, t: loss(a, truth, t), (x.requires_grad_(), tau))


def test_the_reconstruction_loss_by_hand():
    found, truth = images((0, 1, 1, 30.0)), images((0, 1, 1, 50.0), (1, 3, 3, 10.0))
    loss = ReconstructionLoss(unit_photons=10.0)(found, truth, TAU)
    assert loss == pytest.approx((2.0**2 + 1.0**2) / 2 / 2)


def test_the_localization_loss_counts_a_miss_and_a_false_positive():
    loss = LocalizationLoss(delta=0.2)
    truth = images((0, 1, 1, 50.0), (1, 3, 3, 10.0))
    assert loss(truth * 10, truth, TAU) == 0
    one_missed = loss(images((0, 1, 1, 50.0)), truth, TAU)
    beside = loss(images((0, 1, 1, 50.0), (1, 3, 4, 50.0)), truth, TAU)
    assert one_missed == pytest.approx((1 - 0.1) / 2)
    assert beside == pytest.approx(2 * one_missed.item())


def test_the_tolerant_loss_forgives_one_pixel():
    loss, truth = TolerantLoss(), images((0, 5, 5, 50.0), (1, 6, 6, 50.0))
    exact, beside, missed = (
        loss(images((0, 5, 5, 50.0), *other), truth, TAU).item()
        for other in ([(1, 6, 6, 50.0)], [(1, 6, 7, 50.0)], [])
    )
    assert exact == pytest.approx(0.0, abs=1e-12)
    assert missed == pytest.approx(0.5)
    assert exact < beside < missed


def test_correlation_is_that_of_numpy_and_none_without_contrast():
    generator = torch.Generator().manual_seed(1)
    a, b = torch.rand(2, 3, 8, 9, generator=generator, dtype=DOUBLE)
    expected = [np.corrcoef(i.ravel(), j.ravel())[0, 1] for i, j in zip(a, b, strict=True)]
    np.testing.assert_allclose(correlation(a, b), expected)
    assert (correlation(torch.ones_like(a), b) == 0).all()


def test_the_image_loss_wants_molecules_and_their_light():
    truth = images((0, 4, 4, 50.0), (0, 8, 8, 150.0), (1, 6, 6, 50.0))
    loss, tolerant = ImageLoss(), TolerantLoss()
    # in the right places, but of the wrong brightness
    swapped = images((0, 4, 4, 150.0), (0, 8, 8, 50.0), (1, 6, 6, 50.0))
    assert tolerant(swapped, truth, TAU) == tolerant(truth, truth, TAU)
    assert loss(swapped, truth, TAU) > loss(truth, truth, TAU)
    # twice the light is as like, and an empty image is nothing like the truth
    torch.testing.assert_close(loss(2 * truth, truth, 2 * TAU), loss(truth, truth, TAU))
    assert loss(torch.zeros_like(truth), truth, TAU) == 1.0
