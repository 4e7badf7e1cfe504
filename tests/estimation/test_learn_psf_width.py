"""The width of the PSF, learned from how well molecules foretell hidden pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_unfold.errors import InputError
from napari_unfold.estimation.hidden_pixels import hidden_pixels
from napari_unfold.estimation.learn_psf_width import interpolated, learn_psf_width
from napari_unfold.files.stacks import as_stack
from napari_unfold.jobs import Progress, run_to_end
from napari_unfold.settings.microscope import Background, Camera, Optics
from napari_unfold.settings.recipe import Recipe
from napari_unfold.simulation.scenes import simulate

CAMERA = Camera(type="ccd", offset_adu=100, adu_per_photon=2, read_noise_photons=1)
KNOWN = Recipe(optics=Optics(pixel_size_nm=100), camera=CAMERA, background=Background())


def stack_of(sigma_nm: float, density: float = 1.0, frames: int = 16, seed: int = 5):
    recipe = Recipe(optics=Optics(psf_sigma_nm=sigma_nm), camera=CAMERA)
    return as_stack(
        simulate(
            "random", frames=frames, shape=(40, 36), density_per_um2=density, recipe=recipe,
            molecule_photons=1500, background_photons=20, seed=seed,
        ).stack
    )  # fmt: skip


def test_every_pixel_is_hidden_once_in_nine_frames_and_never_beside_another():
    hidden = hidden_pixels((9, 7, 11)).numpy()
    assert (hidden.sum(axis=0) == 1).all()
    for frame in hidden:
        rows, columns = np.nonzero(frame)
        apart = np.abs(rows[:, None] - rows) + np.abs(columns[:, None] - columns)
        assert apart[apart > 0].min() == 3


def test_the_lowest_point_of_parabolas_and_the_error_of_their_mean():
    """For equal parabolas around ``c_t`` it is the mean of c, with its standard error."""
    centers = np.random.default_rng(0).normal(0.3, 0.2, 8)
    curves = (np.arange(-2, 3)[:, None] - centers) ** 2
    place, error = interpolated(curves)
    assert place == pytest.approx(centers.mean())
    assert error == pytest.approx(centers.std(ddof=1) / math.sqrt(8), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("start", [0.75, 1.3])
def test_the_true_width_is_learned_wherever_it_starts(start):
    events = []
    stack = stack_of(120.0)
    found = run_to_end(learn_psf_width(stack, KNOWN, start_px=start * 1.2), events.append)
    assert found.doubt is None
    assert found.sigma_px is not None
    assert abs(found.sigma_px.value - 1.2) < 3 * found.sigma_px.standard_error
    assert found.sigma_px.standard_error < 0.025
    assert found.frames == 16
    assert "agrees with that of the fluctuations" in found.comparison(100.0)
    shares = [event.done / event.total for event in events if isinstance(event, Progress)]
    assert max(shares) <= 1


@pytest.mark.slow
def test_what_is_stated_is_where_to_start_and_else_the_estimate():
    stack = stack_of(120.0, frames=8)
    stated = KNOWN.model_copy(update={"optics": Optics(pixel_size_nm=100, psf_sigma_nm=130)})
    assert run_to_end(learn_psf_width(stack, stated)).started_px == pytest.approx(1.3)
    found = run_to_end(learn_psf_width(stack, KNOWN))
    assert found.from_data_px is not None
    assert found.started_px == found.from_data_px.value


@pytest.mark.slow
def test_it_cannot_be_learned_from_a_few_molecules():
    found = run_to_end(learn_psf_width(stack_of(120.0, 0.1, frames=8), KNOWN, start_px=1.2))
    assert found.sigma_px is None
    assert "cannot be learned" in str(found.doubt)
    assert "bead" in found.doubt.remedy


@pytest.mark.slow
def test_nor_where_molecules_lie_too_densely():
    found = run_to_end(learn_psf_width(stack_of(120.0, 25.0, frames=8), KNOWN, start_px=1.2))
    assert found.sigma_px is None
    assert "too densely" in str(found.doubt)


def test_nor_from_mere_noise():
    noise = 100 + 2 * np.random.default_rng(1).poisson(20, (12, 40, 36))
    found = run_to_end(learn_psf_width(as_stack(noise.astype(np.uint16)), KNOWN, start_px=1.2))
    assert found.sigma_px is None
    assert found.doubt is not None
    assert "does not tell" in found.comparison(100.0)


def test_without_any_width_to_start_from_one_is_asked_for():
    noise = 100 + 2 * np.random.default_rng(1).poisson(20, (12, 40, 36))
    with pytest.raises(InputError, match="Enter a rough one") as refusal:
        run_to_end(learn_psf_width(as_stack(noise.astype(np.uint16)), KNOWN))
    assert refusal.value.field == "optics.psf_sigma_nm"


@pytest.mark.slow
def test_two_estimates_that_contradict_each_other_are_said():
    """Haze that flickers makes the fluctuations tell a wider PSF than the molecules have."""
    stack = stack_of(105.0, frames=16)
    frames = stack.read(0, len(stack))
    y, x = np.indices(frames.shape[1:])
    rng = np.random.default_rng(2)
    for frame in frames:
        for row, column in rng.uniform(0, 36, (12, 2)):
            haze = np.exp(-0.5 * ((y - row) ** 2 + (x - column) ** 2) / 2.6**2)
            frame += 2 * rng.poisson(60 * haze)
    found = run_to_end(learn_psf_width(as_stack(frames), KNOWN, start_px=1.05))
    assert found.doubt is not None
    assert "the fluctuations of the stack" in str(found.doubt)


def test_frames_that_are_too_small_are_refused():
    frames = 100 + np.random.default_rng(0).poisson(20, (12, 8, 40)).astype(np.uint16)
    with pytest.raises(InputError, match="smaller than the PSF allows"):
        run_to_end(learn_psf_width(as_stack(frames), KNOWN, start_px=2.0))
