"""After every run it is said, with figures, whether the model explains the frames."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_unfold.files.presets import DEFAULT_PRESET, load_preset
from napari_unfold.files.stacks import as_stack
from napari_unfold.jobs import Note, run_to_end
from napari_unfold.localization.fit_quality import FitQuality
from napari_unfold.reconstruction.reconstruct import reconstruct
from napari_unfold.reconstruction.result import Reconstruction
from napari_unfold.reconstruction.verdict import verdict
from napari_unfold.settings.microscope import Background, Camera
from napari_unfold.settings.recipe import Recipe
from napari_unfold.simulation.scenes import Simulation, simulate
from napari_unfold.tables.evaluate import evaluate

GOOD = FitQuality(
    lit_misfit=5050.0, lit_pixels=5000.0, dark_misfit=9900.0, dark_pixels=10_000.0,
    width_score=0.0, width_information=4e4, lone=400.0, crowded=10.0, molecules=800.0,
)  # fmt: skip


def changed(**values: float) -> FitQuality:
    return FitQuality(**{**vars(GOOD), **values})


def test_a_model_that_explains_the_frames_is_said_to() -> None:
    judged = verdict(GOOD, 60, 0)
    assert judged.summary.startswith("The model explains the frames")
    assert (judged.doubts, judged.cautions) == ((), ())
    assert json.loads(json.dumps(judged.record()))["lit_noise"] == 1.01


@pytest.mark.parametrize(
    ("quality", "told"),
    [
        (changed(lit_misfit=9000.0), "1.80 times the noise"),
        (changed(dark_misfit=15_000.0), "scatter by 1.50 times"),
        (changed(width_score=4e3), "10 % wider"),
        (changed(width_score=-4e3), "10 % narrower"),
    ],
)
def test_a_misfit_is_a_reason_not_to_trust(quality: FitQuality, told: str) -> None:
    judged = verdict(quality, 60, 0)
    assert judged.summary.startswith("Do not trust")
    assert told in judged.summary


@pytest.mark.parametrize(
    ("quality", "left_out", "told"),
    [
        (changed(crowded=600.0), 0, "75 % of the molecules stand so dense"),
        (changed(molecules=20.0, crowded=0.0), 0, "only 20 molecules"),
        (GOOD, 40, "40 of 100 frames were left out"),
    ],
)
def test_limits_are_named(quality: FitQuality, left_out: int, told: str) -> None:
    judged = verdict(quality, 60, left_out)
    assert judged.summary.startswith("The model explains")
    assert told in judged.summary


def test_nothing_found_is_no_error() -> None:
    judged = verdict(FitQuality(), 1, 0)
    assert judged.summary == "No molecules were found"
    assert json.dumps(judged.record())


@pytest.fixture(scope="module")
def made() -> Simulation:
    return simulate("random", frames=40, shape=(48, 48), density_per_um2=1.0, seed=6)


def run(frames: np.ndarray, made: Simulation, **camera: float) -> tuple[Reconstruction, list[str]]:
    stated = Camera(**{**made.recipe.camera.model_dump(), **camera})
    recipe = Recipe(optics=made.recipe.optics, camera=stated, background=Background())
    notes: list[str] = []
    result = run_to_end(
        reconstruct(as_stack(frames), recipe, load_preset(DEFAULT_PRESET), device="cpu"),
        lambda event: notes.append(event.text) if isinstance(event, Note) else None,
    )
    return result, notes


def jaccard(result: Reconstruction, made: Simulation, frames: list[int]) -> float:
    truth = made.truth[made.truth["frame"].isin(frames)]
    return evaluate(result.localizations, truth, [100.0], frames)[0].jaccard


@pytest.mark.slow
def test_spoilt_frames_leave_the_others_as_they_were(made, tmp_path) -> None:
    good, _ = run(made.stack, made)
    frames = made.stack.copy()
    frames[[7, 20, 21]] = 0
    result, notes = run(frames, made)
    assert any("3 frames left out: 7 (dark), 20-21 (dark)" in note for note in notes)
    assert result.record["frames_left_out"] == {"7": "dark", "20": "dark", "21": "dark"}
    assert not set(result.localizations["frame"]) & {7, 20, 21}
    rest = [t for t in range(40) if t not in (7, 20, 21)]
    assert set(result.localizations["frame"]) == set(rest)
    before = jaccard(good, made, list(range(40)))
    assert jaccard(result, made, rest) > before - 0.01
    assert result.record["verdict"]["summary"].startswith("The model explains")
    assert result.record["verdict"]["summary"] == notes[-1] == result.record["notes"][-1]
    assert result.record["verdict"]["frames_left_out"] == 3
    assert result.image.mean() == pytest.approx(good.image.mean(), rel=0.05)


@pytest.mark.slow
def test_a_lamp_at_half_from_the_middle_costs_little(made) -> None:
    good, _ = run(made.stack, made)
    rng = np.random.default_rng(0)
    frames = made.stack.astype(np.float32)
    light = frames[20:] - 100.0
    # halved grey values have a quarter of the noise's variance; another quarter is added
    frames[20:] = np.rint(100.0 + light / 2 + rng.normal(0, np.sqrt(np.maximum(light, 0) * 4) / 2))
    result, notes = run(frames, made)
    assert any("background changes in time" in note for note in notes)
    every = list(range(40))
    assert jaccard(result, made, every) > jaccard(good, made, every) - 0.03
