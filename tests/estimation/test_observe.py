"""One look at a stack tells what the settings leave open."""

from __future__ import annotations

import numpy as np
import pytest

from napari_unfold.errors import InputError
from napari_unfold.estimation.observe import observe, observe_molecules
from napari_unfold.files.stacks import as_stack
from napari_unfold.jobs import Note, run_to_end
from napari_unfold.settings.microscope import Background, Optics
from napari_unfold.simulation.scenes import simulate
from napari_unfold.simulation.simulated_microscope import MICROSCOPE

AUTO = MICROSCOPE.model_copy(update={"background": Background()})
NO_PSF = AUTO.model_copy(update={"optics": Optics(pixel_size_nm=100)})


@pytest.fixture(scope="module")
def made():
    return simulate(
        "random", frames=30, shape=(40, 36), molecule_photons=2000, background_photons=30,
        density_per_um2=1, seed=11,
    )  # fmt: skip


def test_camera_and_background_need_no_psf(made) -> None:
    notes: list[object] = []
    seen = run_to_end(observe(as_stack(made.stack), NO_PSF, slice(5, 25)), notes.append)
    assert seen.frames == (5, 25)
    assert seen.shape == seen.background.shape == (40, 36)
    assert np.median(seen.background) == pytest.approx(30, rel=0.2)
    assert seen.camera.adu_per_photon == made.recipe.camera.adu_per_photon
    assert [event.text for event in notes if isinstance(event, Note)] == seen.notes


def test_brightness_and_crowding_of_molecules(made) -> None:
    seen = run_to_end(observe_molecules(as_stack(made.stack), AUTO, slice(None)))
    assert seen.molecule_photons == pytest.approx(2000, rel=0.25)
    assert 0 < seen.detection_limit_photons < seen.molecule_photons
    assert seen.crowding.shape == (40, 36)
    assert seen.psf.sigma_px == pytest.approx(made.recipe.optics.psf_sigma_nm / 100)


def test_what_is_stated_is_not_estimated(made) -> None:
    stated = AUTO.model_copy(
        update={
            "background": Background(photons=25.0),
            "solver": AUTO.solver.model_copy(update={"molecule_photons": 1234.0}),
        }
    )
    seen = run_to_end(observe_molecules(as_stack(made.stack), stated, slice(None)))
    assert (seen.background == 25).all()
    assert seen.molecule_photons == 1234
    assert seen.notes == []


class Unread:
    """A stack that must not be read."""

    shape = (10, 40, 40)

    def read(self, *_: int) -> np.ndarray:
        raise AssertionError("it was read")


def test_a_missing_psf_is_asked_for_before_the_stack_is_read() -> None:
    with pytest.raises(InputError, match="PSF is missing"):
        run_to_end(observe_molecules(Unread(), NO_PSF, slice(None)))


@pytest.mark.slow
def test_a_psf_stated_wrongly_is_measured_and_said_unless_it_must_stay(made) -> None:
    optics = AUTO.optics.model_copy(update={"psf_sigma_nm": 0.9 * AUTO.optics.psf_sigma_nm})
    stated = AUTO.model_copy(update={"optics": optics})
    seen = run_to_end(observe_molecules(as_stack(made.stack), stated, slice(None)))
    assert seen.psf.sigma_px == pytest.approx(made.recipe.optics.psf_sigma_nm / 100, rel=0.03)
    assert seen.spot.sigma_px == seen.psf.sigma_px
    assert any("PSF measured on lone spots" in note for note in seen.notes)
    kept = stated.model_copy(update={"optics": optics.model_copy(update={"refine_psf": False})})
    seen = run_to_end(observe_molecules(as_stack(made.stack), kept, slice(None)))
    assert seen.psf.sigma_px == optics.psf_sigma_nm / 100
    assert any("kept as stated" in note for note in seen.notes)
