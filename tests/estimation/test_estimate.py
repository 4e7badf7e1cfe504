"""PSF, offset and gain from a stack alone, against simulations whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from napari_unfold.errors import InputError
from napari_unfold.estimation.estimate import NOISY_SAMPLE_PIXELS, Estimate, estimate
from napari_unfold.estimation.measured import Measured
from napari_unfold.files.stacks import Stack, as_stack
from napari_unfold.imaging.camera import CameraModel
from napari_unfold.jobs import Progress, run_to_end
from napari_unfold.settings.microscope import Camera, Optics
from napari_unfold.settings.recipe import Recipe
from napari_unfold.simulation.exposure import expose
from napari_unfold.simulation.scenes import simulate
from napari_unfold.simulation.simulated_microscope import MICROSCOPE

EMCCD = MICROSCOPE.camera
SCMOS = Camera(type="scmos", offset_adu=400, adu_per_photon=0.5, read_noise_photons=1.5)


def stack_of(camera: Camera = EMCCD, sigma_px: float = 1.1, **settings) -> np.ndarray:
    recipe = Recipe(optics=Optics(psf_sigma_nm=100 * sigma_px), camera=camera)
    return simulate(**{"frames": 60, "scene": "random", **settings}, recipe=recipe).stack


def estimate_of(frames: np.ndarray, camera: Camera = EMCCD) -> Estimate:
    found: Estimate = run_to_end(estimate(as_stack(frames), camera))
    return found


def agrees(measured: Measured | None, truth: float) -> bool:
    return measured is not None and not measured.contradicts(truth)


@pytest.mark.slow
@pytest.mark.parametrize("camera", [EMCCD, SCMOS])
@pytest.mark.parametrize("density", [0.2, 2.0, 6.0])
def test_everything_at_any_density(camera, density):
    found = estimate_of(stack_of(camera, density_per_um2=density, seed=3), camera)
    assert found.psf_sigma_px is not None
    assert found.transfer is not None
    assert found.psf_sigma_px.value == pytest.approx(1.1, rel=0.03)
    assert agrees(found.psf_sigma_px, 1.1)
    gain = found.transfer.adu_per_photon(camera)
    offset = found.transfer.offset_adu(camera)
    assert agrees(gain, camera.adu_per_photon)
    assert agrees(offset, camera.offset_adu)
    assert gain.standard_error < 0.1 * gain.value
    assert offset.standard_error < 5 * camera.adu_per_photon


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.7, 2.5])
def test_narrow_and_wide_psfs(sigma):
    found = estimate_of(stack_of(sigma_px=sigma, density_per_um2=2, seed=5))
    assert found.psf_sigma_px.value == pytest.approx(sigma, rel=0.03)


@pytest.mark.slow
def test_dense_filaments():
    found = estimate_of(stack_of(scene="filaments", density_per_um2=5, seed=1))
    assert agrees(found.psf_sigma_px, 1.1)
    assert agrees(found.transfer.slope, 4.0)


@pytest.mark.slow
def test_a_static_structure_that_drifts_and_bleaches_on_a_slope_does_not_disturb():
    frames = stack_of(SCMOS, density_per_um2=2, seed=2).astype(float)
    t, y, x = np.indices(frames.shape)
    # a pattern of light 100 photons strong, moving by 0.02 px a frame
    steady = 50 * (1 + np.sin(0.7 * (x + 0.02 * t)) * np.sin(0.5 * y)) * 0.995**t + x
    light = expose(steady, replace(CameraModel.of(SCMOS), offset_adu=0.0), np.random.default_rng(0))
    found = estimate_of(frames + light, SCMOS)
    assert found.psf_sigma_px.value == pytest.approx(1.1, rel=0.03)
    assert agrees(found.transfer.slope, 0.5)


@pytest.mark.slow
def test_hot_pixels_and_cosmic_rays_do_not_disturb():
    frames = stack_of(SCMOS, density_per_um2=2, seed=2)
    frames[:, 10, 10] = 60_000
    frames[np.random.default_rng(1).random(frames.shape) < 1e-5] = 5_000
    found = estimate_of(frames, SCMOS)
    assert agrees(found.psf_sigma_px, 1.1)
    assert agrees(found.transfer.slope, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("value", [0, 100, 900])
def test_dead_rows_do_not_disturb(value):
    frames = stack_of(SCMOS, density_per_um2=2, seed=2)
    frames[:, 20:22] = value
    found = estimate_of(frames, SCMOS)
    assert found.psf_sigma_px.value == pytest.approx(1.1, rel=0.02)
    assert found.transfer.slope.value == pytest.approx(0.5, rel=0.05)
    offset = found.transfer.offset_adu(SCMOS)
    assert abs(offset.value - SCMOS.offset_adu) < 3 * offset.standard_error


@pytest.mark.slow
def test_standard_errors_contain_the_truth():
    """Truth within 3 standard errors, and their typical size right, over many small stacks."""
    deviations = []
    for seed in range(20):
        camera = (EMCCD, SCMOS)[seed % 2]
        density = (0.5, 2.0, 6.0)[seed % 3]
        frames = stack_of(camera, frames=30, shape=(48, 48), density_per_um2=density, seed=seed)
        found = estimate_of(frames, camera)
        offset = found.transfer.offset_adu(camera)
        truths = [
            (found.psf_sigma_px, 1.1),
            (found.transfer.slope, camera.adu_per_photon * camera.known_excess_noise),
            (offset, camera.offset_adu),
        ]
        deviations.append([(m.value - truth) / m.standard_error for m, truth in truths])
    assert np.mean(np.abs(deviations) > 3, axis=0).max() <= 0.05
    spread = np.sqrt(np.mean(np.square(deviations), axis=0))
    assert spread.min() > 0.4
    assert spread.max() < 1.6


def test_what_does_not_blink_tells_no_psf():
    light = np.linspace(20, 200, 64) * np.ones((40, 64, 64))
    found = estimate_of(expose(light, CameraModel.of(SCMOS), np.random.default_rng(0)), SCMOS)
    assert found.psf_sigma_px is None
    assert "measure a bead" in found.notes[0]
    assert agrees(found.transfer.slope, 0.5)


@pytest.mark.slow
def test_evenly_lit_frames_tell_no_gain():
    flat = expose(np.full((40, 32, 32), 100.0), CameraModel.of(SCMOS), np.random.default_rng(0))
    found = estimate_of(flat, SCMOS)
    assert found.transfer is None
    assert any("dark frame" in note for note in found.notes)


@pytest.mark.slow
def test_smoothed_images_tell_no_gain():
    frames = stack_of(density_per_um2=2).astype(float)
    frames[:, 1:] = (frames[:, 1:] + frames[:, :-1]) / 2
    found = estimate_of(frames)
    assert found.transfer is None
    assert any("raw frames" in note for note in found.notes)


@pytest.mark.slow
@pytest.mark.parametrize("value", [0, 100])
def test_equal_frames_tell_nothing(value):
    found = estimate_of(np.full((20, 32, 32), value, np.uint16))
    assert (found.psf_sigma_px, found.transfer) == (None, None)
    assert len(found.notes) == 2


@pytest.mark.parametrize(("shape", "field"), [((1, 32, 32), "frames"), ((9, 15, 32), "stack")])
def test_too_little_is_refused(shape, field):
    with pytest.raises(InputError) as error:
        estimate_of(np.zeros(shape))
    assert error.value.field == field


@pytest.mark.slow
def test_a_long_stack_is_sampled_frame_by_frame():
    frames = stack_of(frames=8, density_per_um2=2)
    asked = []

    def reader(start: int, stop: int) -> np.ndarray:
        asked.append((start, stop))
        return frames[[t % 8 for t in range(start, stop)]]

    stack = Stack("long", (100_000, 64, 64), np.uint16, reader)
    events = list(estimate(stack))
    assert len(asked) <= 201
    assert max(stop - start for start, stop in asked) * 64 * 64 <= NOISY_SAMPLE_PIXELS
    assert asked[-1][0] > 99_000
    assert sum(isinstance(event, Progress) for event in events) >= len(asked) - 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sigma_px", "transfer", "offset"),
    [
        ("microtubules_odd", (1.0955, 0.02), 4.0, 100.0),
        ("random_density6", (1.066, 0.04), 4.0, 100),
    ],
)
def test_published_stacks(shared_data, name, sigma_px, transfer, offset):
    """Deep-STORM: var = 4 (mean - 100); sigma 1.0955 px, and 1.06 to 1.15 px centre-sampled."""
    found = estimate_of(tifffile.imread(shared_data / "deep-storm" / f"{name}.tif"))
    assert found.psf_sigma_px.value == pytest.approx(sigma_px[0], rel=sigma_px[1])
    assert agrees(found.transfer.slope, transfer)
    assert agrees(found.transfer.dark, offset)


@pytest.mark.slow
def test_published_sofi_and_picasso_widths(shared_data):
    tubulin = tifffile.imread(shared_data / "sofi-tubulin" / "tubulin.tif")
    fwhm = estimate_of(tubulin).psf_sigma_px * 2.3548
    assert 2.23 - 3 * fwhm.standard_error < fwhm.value < 2.29 + 3 * fwhm.standard_error
    raw = np.fromfile(shared_data / "picasso" / "testdata.raw", "<u2").reshape(100, 32, 32)
    assert agrees(estimate_of(raw).psf_sigma_px, 0.82)
