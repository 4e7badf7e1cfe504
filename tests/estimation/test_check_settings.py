"""Settings that contradict the stack are refused, right ones never."""

from __future__ import annotations

import numpy as np
import pytest

from napari_unfold.errors import InputError
from napari_unfold.estimation.check_settings import check_settings
from napari_unfold.files.stacks import as_stack
from napari_unfold.jobs import Note, run_to_end
from napari_unfold.settings.microscope import Camera, Optics
from napari_unfold.settings.recipe import Recipe, Solver
from napari_unfold.simulation.scenes import simulate

SIGMA_NM = 110.0


def recipe(sigma_nm: float | None = SIGMA_NM, trust: bool = False, **camera: float) -> Recipe:
    right = {"offset_adu": 100.0, "adu_per_photon": 2.0, "read_noise_photons": 0.0}
    return Recipe(
        optics=Optics(pixel_size_nm=100.0, psf_sigma_nm=sigma_nm),
        camera=Camera(type="emccd", **(right | camera)),
        solver=Solver(trust_settings=trust),
    )


def frames_of(seed: int, density_per_um2: float = 2.0, frames: int = 60) -> np.ndarray:
    known = recipe()
    made = simulate(
        "random", frames=frames, shape=(64, 64), density_per_um2=density_per_um2, recipe=known,
        seed=seed,
    )  # fmt: skip
    return made.stack


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return frames_of(0)


def checked(frames: np.ndarray, stated: Recipe) -> tuple[Recipe, list[str]]:
    notes: list[str] = []
    done = run_to_end(
        check_settings(as_stack(frames), stated, (0, len(frames))),
        lambda event: notes.append(event.text) if isinstance(event, Note) else None,
    )
    return done, notes


@pytest.mark.parametrize(
    ("wrong", "field", "values"),
    [
        ({"offset_adu": 112.0}, "camera.offset_adu", ("112 ADU", "shows ", "Enter ")),
        ({"adu_per_photon": 4.0}, "camera.adu_per_photon", ("4 ADU", "shows ")),
        ({"adu_per_photon": 1.0}, "camera.adu_per_photon", ("1 ADU", "shows ")),
        ({"excess_noise": 1.0}, "camera.adu_per_photon", ("excess noise of 1", "shows ")),
        ({"sigma_nm": 0.9 * SIGMA_NM}, "optics.psf_sigma_nm", ("99 nm", "shows ")),
        ({"sigma_nm": 1.1 * SIGMA_NM}, "optics.psf_sigma_nm", ("121 nm", "shows ")),
    ],
)
def test_a_wrong_setting_is_refused_with_both_values_and_can_be_trusted(
    frames, wrong, field, values
) -> None:
    with pytest.raises(InputError) as refusal:
        checked(frames, recipe(**wrong))
    assert refusal.value.field == field
    text = str(refusal.value)
    assert all(value in text for value in values)
    assert "--trust-settings" in text
    trusted = recipe(**wrong, trust=True)
    done, notes = checked(frames, trusted)
    assert done == trusted
    assert any(note.startswith("Check the settings: ") for note in notes)


@pytest.mark.slow
@pytest.mark.parametrize("density_per_um2", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("seed", range(6))
def test_right_settings_are_never_refused(density_per_um2: float, seed: int) -> None:
    stated = recipe()
    done, _ = checked(frames_of(seed, density_per_um2), stated)
    assert done == stated


def test_few_frames_refuse_nothing(frames) -> None:
    done, _ = checked(frames[:8], recipe(adu_per_photon=4.0))
    assert done == recipe(adu_per_photon=4.0)


def test_what_the_stack_does_not_tell_is_said() -> None:
    even = np.random.default_rng(0).poisson(60, (30, 32, 32)).astype(np.uint16)
    _, notes = checked(even, recipe())
    assert any("cannot confirm" in note for note in notes)
    _, notes = checked(even[:1], recipe())
    assert any("could not be compared" in note for note in notes)


def test_a_psf_that_is_not_stated_is_estimated(frames) -> None:
    done, notes = checked(frames, recipe(None))
    assert done.optics.psf_sigma_nm == pytest.approx(SIGMA_NM, rel=0.02)
    assert any("PSF estimated from the stack" in note for note in notes)


def test_a_psf_that_the_stack_does_not_tell_is_asked_for() -> None:
    even = np.random.default_rng(0).poisson(60, (30, 32, 32)).astype(np.uint16)
    with pytest.raises(InputError, match="PSF is missing, and this stack cannot") as refusal:
        checked(even, recipe(None))
    assert refusal.value.field == "optics.psf_sigma_nm"
