"""A region of a frame is unfolded as it would be in a run over the stack."""

from __future__ import annotations

import numpy as np
import pytest

from napari_unfold.errors import InputError
from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
from napari_unfold.files.stacks import as_stack
from napari_unfold.imaging.camera import CameraModel, noise_variance
from napari_unfold.jobs import run_to_end
from napari_unfold.reconstruction.look import Look, look
from napari_unfold.reconstruction.reconstruct import reconstruct
from napari_unfold.reconstruction.try_here import try_here
from napari_unfold.settings.microscope import Background
from napari_unfold.simulation.scenes import Simulation, simulate
from napari_unfold.tables.evaluate import evaluate

REGION = (slice(5, 25), slice(12, 40))
FRAME = 7


@pytest.fixture(scope="module")
def made() -> Simulation:
    return simulate("random", frames=30, shape=(40, 44), density_per_um2=0.6, seed=5)


@pytest.fixture(scope="module")
def known(made: Simulation) -> Look:
    recipe = made.recipe.model_copy(update={"background": Background()})
    return run_to_end(look(as_stack(made.stack), recipe, slice(None)))


def test_the_molecules_of_the_region_are_those_of_a_run(made, known) -> None:
    preset = load_preset(DEFAULT_PRESET)
    tried = run_to_end(try_here(known, preset, FRAME, REGION, "cpu"))
    found = tried.localizations
    assert (found["frame"] == FRAME).all()
    assert found["y_nm"].between(500, 2500).all()
    assert found["x_nm"].between(1200, 4000).all()
    whole = run_to_end(reconstruct(as_stack(made.stack), known.recipe, preset, device="cpu"))
    table = whole.localizations
    inside = (
        (table["frame"] == FRAME)
        & table["y_nm"].between(500, 2500)
        & table["x_nm"].between(1200, 4000)
    )
    assert 2 <= inside.sum() <= 12
    (score,) = evaluate(found, table[inside], (5.0,))
    assert score.jaccard == 1.0


def test_raw_is_model_and_residual(made, known) -> None:
    tried = run_to_end(try_here(known, None, FRAME, REGION, "cpu"))
    camera = CameraModel.of(made.recipe.camera)
    seen = (made.stack[FRAME][REGION] - camera.offset_adu) / camera.adu_per_photon
    np.testing.assert_allclose(tried.raw, seen, rtol=1e-4, atol=1e-3)
    noise = np.sqrt(noise_variance(tried.model, camera))
    np.testing.assert_allclose(tried.model + noise * tried.residual, tried.raw, rtol=1e-3, atol=0.1)
    # what is left is noise: nothing else is of this size
    assert 0.7 < tried.residual.std() < 1.4
    assert tried.run_seconds > 0
    assert "too few to know" not in tried.verdict.summary


def test_a_frame_that_is_not_used_is_named(known) -> None:
    with pytest.raises(InputError, match="frame 99 is left out"):
        run_to_end(try_here(known, None, 99, REGION, "cpu"))
