"""Learning the PSF, and the whole job on stacks whose truth is known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_unfold.errors import InputError
from napari_unfold.files.opening import open_stack
from napari_unfold.files.stacks import as_stack
from napari_unfold.fluctuation.learn_psf import image_parameters, learn_psf
from napari_unfold.fluctuation.semiblind import SemiBlindOperator
from napari_unfold.fluctuation.sharpen import unfold_fluctuations
from napari_unfold.imaging.forward import SeparableOperator
from napari_unfold.imaging.psf import GaussianPSF, MeasuredPSF, psf_image
from napari_unfold.jobs import Metric, Progress, run_to_end
from napari_unfold.learning.appraisal import TrainingSet
from napari_unfold.learning.losses import ReconstructionLoss
from napari_unfold.settings.fluctuation import Fluctuation
from napari_unfold.settings.microscope import Optics
from napari_unfold.settings.recipe import Recipe, Solver
from napari_unfold.simulation.photophysics import Blinking, FilamentPatterns, blink, record
from napari_unfold.simulation.simulated_microscope import EMCCD, MICROSCOPE

SIGMA_NM = 110.0
UNTRAINED = Fluctuation(learning_steps=0)


def recipe(upsampling=2, sigma_nm=None, **camera):
    return Recipe(
        optics=Optics(pixel_size_nm=100, psf_sigma_nm=sigma_nm),
        camera=MICROSCOPE.camera.model_copy(update=camera),
        solver=Solver(upsampling=upsampling, iterations=60),
    )


@pytest.fixture(scope="module")
def movie():
    """Filaments of blinking emitters on 40 x 48 pixels, and the emitters per fine pixel."""
    rng = np.random.default_rng(2)
    positions = FilamentPatterns(np.array([4000.0, 4800.0]), rng)(900, rng)
    light = blink(len(positions), 300, Blinking(photons=250, bleaching_frames=2000), rng)
    frames = record(positions, light, (40, 48), 100, SIGMA_NM, 5, EMCCD, rng)
    truth, *_ = np.histogram2d(*positions.T, bins=(80, 96), range=[[0, 4000], [0, 4800]])
    return as_stack(frames, "filaments", 100), truth


def correlation(image, truth):
    images = [ndimage.gaussian_filter(i, 1.0).ravel() for i in (image, truth)]
    return np.corrcoef(*images)[0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("off", [0.7, 1.3])
def test_sigma_is_learned_from_a_wrong_start(off):
    rng = np.random.default_rng(0)
    operator = SeparableOperator((20, 20), 1, 1.1, squared=True)
    truth = torch.tensor((rng.random((6, 20, 20)) < 0.12) * rng.gamma(9, 1 / 9, (6, 20, 20)))
    truth = truth.float()
    clean = operator.forward(truth)
    y = clean + 0.02 * clean.max() * torch.tensor(rng.normal(size=clean.shape)).float()
    images = TrainingSet(y, torch.zeros(20, 20), truth)
    learning, checking = images.split(1 / 3)
    start = SemiBlindOperator((20, 20), 1, off * 1.1)
    parameters = image_parameters(start.frozen(), learning.y, 0.01, 60)
    learned = run_to_end(
        learn_psf(
            start, parameters, learning, checking, ReconstructionLoss(1.0), outer_iterations=12
        )
    )
    assert learned.history[0].psf_sigma_px == pytest.approx(off * 1.1)
    assert learned.sigma_px == pytest.approx(1.1, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("image", ["variance", "lag-1", "mean"])
def test_a_stack_is_sharpened_with_a_psf_known_only_from_itself(movie, image):
    stack, truth = movie
    settings = UNTRAINED.model_copy(update={"image": image})
    result = run_to_end(unfold_fluctuations(stack, recipe(), settings))
    assert result.sigma_nm == pytest.approx(SIGMA_NM, rel=0.04)
    assert result.sigma_nm == result.data_sigma_nm
    assert result.reconstruction.shape == truth.shape
    assert result.mean.shape == result.variance.shape == (40, 48)
    assert (result.reconstruction >= 0).all()
    plain = result.mean.repeat(2, 0).repeat(2, 1)
    assert correlation(result.reconstruction, truth) > correlation(plain, truth) + 0.05


@pytest.mark.slow
def test_photons_are_kept(movie):
    """The mean image holds the light above the background, whatever the sharpening."""
    stack, _ = movie
    settings = UNTRAINED.model_copy(update={"image": "mean"})
    given = Recipe.model_validate(recipe().model_dump() | {"background": {"photons": 5.0}})
    result = run_to_end(unfold_fluctuations(stack, given, settings))
    inner = np.s_[5:-5, 5:-5], np.s_[10:-10, 10:-10]
    light = (result.mean - 5)[inner[0]].sum()
    assert result.reconstruction[inner[1]].sum() == pytest.approx(light, rel=0.03)


@pytest.mark.slow
def test_the_learned_psf_stands_beside_that_of_the_data(movie):
    stack, _ = movie
    settings = Fluctuation(psf_from="learned", learning_steps=8)
    metrics = []

    def note(event):
        if isinstance(event, Metric):
            metrics.append(event.values.psf_sigma_px)

    result = run_to_end(unfold_fluctuations(stack, recipe(1), settings), note)
    assert metrics[0] * 100 == pytest.approx(1.3 * result.data_sigma_nm, rel=1e-5)
    assert result.sigma_nm == result.learned_sigma_nm
    assert result.learned_sigma_nm == pytest.approx(SIGMA_NM, rel=0.06)
    assert result.record["psf"]["learned_sigma_nm"] == result.learned_sigma_nm
    assert len(result.history) == len(metrics)


@pytest.mark.slow
def test_the_psf_as_entered_is_used_and_compared(movie):
    stack, _ = movie
    settings = UNTRAINED.model_copy(update={"psf_from": "settings"})
    result = run_to_end(unfold_fluctuations(stack, recipe(1, 160.0), settings))
    assert result.sigma_nm == 160.0
    assert any("PSF entered has a FWHM of 377 nm" in note for note in result.record["notes"])


def test_the_psf_image_is_as_wide_as_it_says():
    image = psf_image(GaussianPSF(1.2), 4)
    assert image.sum() == pytest.approx(1, rel=1e-6)
    offsets = np.arange(len(image)) - len(image) // 2
    # a pixel adds a twelfth of its square
    expected = (1.2 * 4) ** 2 + 1 / 12
    assert (image.sum(axis=0) * offsets**2).sum() == pytest.approx(expected, rel=0.01)
    bead = MeasuredPSF(np.outer(*[np.hanning(13)] * 2), 1.0)
    assert psf_image(bead, 2).sum() == pytest.approx(1, rel=1e-6)


def constant_light(frames=40, photons=50.0):
    """Light that does not fluctuate, seen by a camera with photon noise alone."""
    rng = np.random.default_rng(0)
    return as_stack(rng.poisson(photons, (frames, 24, 24)).astype(np.uint16), "lamp", 100)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stack", "given", "settings", "field", "problem"),
    [
        (constant_light(9), recipe(sigma_nm=100.0), UNTRAINED, "frames", "9 frames are too few"),
        (constant_light(), recipe(offset_adu=0), UNTRAINED, "optics.psf_sigma_nm", "too little"),
        (
            constant_light(),
            recipe(offset_adu=0),
            UNTRAINED.model_copy(update={"psf_from": "settings"}),
            "optics.psf_sigma_nm",
            "PSF is missing",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(stack, given, settings, field, problem):
    with pytest.raises(InputError, match=problem) as caught:
        run_to_end(unfold_fluctuations(stack, given, settings))
    assert caught.value.field == field


@pytest.mark.slow
def test_a_stack_darker_than_its_noise_is_remarked():
    given = recipe(sigma_nm=100.0, offset_adu=0, adu_per_photon=1, excess_noise=3)
    settings = UNTRAINED.model_copy(update={"image": "mean"})
    given = Recipe.model_validate(given.model_dump() | {"background": {"photons": 1.0}})
    result = run_to_end(unfold_fluctuations(constant_light(), given, settings))
    notes = " ".join(result.record["notes"])
    assert "fluctuate less than the camera settings say" in notes
    assert "too weak to tell the PSF" in notes


@pytest.mark.slow
def test_it_can_be_stopped_at_any_time(movie):
    stack, _ = movie
    job = unfold_fluctuations(stack, recipe(), Fluctuation(learning_steps=50))
    for event in job:
        if isinstance(event, Metric):
            break
    job.close()
    assert list(job) == []


@pytest.mark.slow
def test_progress_reaches_the_end(movie):
    stack, _ = movie
    seen = []
    run_to_end(unfold_fluctuations(stack, recipe(1), UNTRAINED), seen.append)
    done = [e.done for e in seen if isinstance(e, Progress) and e.total == 300]
    assert done == sorted(done)
    assert done[-1] == 300


@pytest.mark.slow
@pytest.mark.parametrize("image", ["mean", "variance", "lag-1"])
def test_the_tubulin_stack_is_sharpened(shared_data: Path, image):
    """At least 0.95 with the true emitters, from each of the three images."""
    folder = shared_data / "sofi-tubulin"
    given = recipe(4, offset_adu=0, adu_per_photon=4.2)
    given = Recipe.model_validate(given.model_dump() | {"solver": {"iterations": 100}})
    settings = UNTRAINED.model_copy(update={"image": image})
    with open_stack(folder / "tubulin.tif") as stack:
        result = run_to_end(unfold_fluctuations(stack, given, settings))
    emitters = np.loadtxt(folder / "emitters_yx_px.csv", delimiter=",")
    truth, *_ = np.histogram2d(*emitters.T, bins=256, range=[[0, 64], [0, 64]])
    assert correlation(result.reconstruction, truth) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mitochondria_rods.tif", "h9c2_dsred_mito.tif"])
def test_real_stacks_run(shared_data: Path, name):
    given = recipe(2, 106.0, offset_adu=68, adu_per_photon=2.2, excess_noise=1)
    with open_stack(shared_data / "musij" / name) as stack:
        result = run_to_end(unfold_fluctuations(stack, given, UNTRAINED))
    assert np.isfinite(result.reconstruction).all()
    assert result.reconstruction.max() > 0
