"""A preset for one's own stack: what is learned, compared, said and written down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_unfold.errors import InputError
from napari_unfold.files.presets import load_preset, save_preset
from napari_unfold.files.stacks import as_stack
from napari_unfold.jobs import Metric, Note, Progress, Stage, run_to_end
from napari_unfold.learning import adapt as module
from napari_unfold.learning.adapt import Adapted, adapt, training_set
from napari_unfold.learning.judge import Gain, Judgement
from napari_unfold.learning.look_alike import look_alikes
from napari_unfold.settings.recipe import Recipe, Solver
from napari_unfold.settings.training import Training
from napari_unfold.simulation.scenes import simulate
from napari_unfold.simulation.simulated_microscope import MICROSCOPE
from napari_unfold.tables.evaluate import Score

from .test_look_alike import observation


def score(tolerance_nm: float) -> Score:
    return Score(tolerance_nm, 10, 9, 8, 8 / 11, 8 / 9, 0.8, 20.0, 60.0, 0.7)


def adapted(molecules: Gain, image: Gain) -> Adapted:
    judged = Judgement("dense-smlm", 300, [score(t) for t in (50.0, 100.0, 250.0)], 0.7, 1.0)
    return Adapted(None, judged, replace(judged, preset="mine"), molecules, image, "stack")


@pytest.mark.parametrize(
    ("molecules", "image", "better"),
    [
        (Gain(0.03, 0.01), Gain(0.0, 0.01), True),
        (Gain(0.0, 0.01), Gain(0.03, 0.01), True),
        (Gain(0.015, 0.01), Gain(0.0, 0.01), False),  # within its error
        (Gain(0.03, 0.01), Gain(-0.02, 0.01), False),  # paid for with the image
        (Gain(-0.02, 0.01), Gain(0.03, 0.01), False),
        (Gain(0.0, 0.0), Gain(0.0, 0.0), False),
    ],
)
def test_a_preset_is_better_only_beyond_the_error(molecules, image, better) -> None:
    result = adapted(molecules, image)
    assert result.is_better is better
    start = "Better than" if better else "No better than"
    assert result.verdict.startswith(f"{start} the shipped preset dense-smlm")


def test_the_numbers_of_both_stand_side_by_side() -> None:
    rows = adapted(Gain(0.0, 0.1), Gain(0.0, 0.1)).rows()
    assert ("found / true molecules", "9 / 10", "9 / 10") in rows
    assert ("missed / false / J at 100 nm", "2 / 1 / 0.727", "2 / 1 / 0.727") in rows
    assert ("correlation of the image", "0.700", "0.700") in rows
    assert ("iterations", "300", "300") in rows


def test_training_frames_are_of_all_parts_each_with_its_background() -> None:
    import torch

    parts = look_alikes(observation((32, 64)), 3.0, 2)
    frames = training_set(parts, 4, pedestal=5.0, device=torch.device("cpu"))
    assert frames.y.shape == frames.b.shape == (4, 32, 32)
    assert frames.truth.shape == (4, 128, 128)
    for i in range(4):
        expected = parts[i % 2].seen.background + 5.0
        np.testing.assert_allclose(frames.b[i].numpy(), expected, rtol=1e-6)
    # a part of the frames has its part of the backgrounds
    np.testing.assert_array_equal(frames[1:3].b, frames.b[1:3])
    # what is not background is the light of the molecules, 0.02 of 1000 photons in a pixel
    assert float((frames.y - frames.b).mean()) == pytest.approx(20.0, rel=0.3)


@pytest.mark.slow
def test_a_stack_is_adapted_to_and_the_record_says_how_it_went(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "HELD_OUT_FRAMES", 6)
    made = simulate("random", frames=30, shape=(32, 32), density_per_um2=1.0, seed=2)
    recipe = MICROSCOPE.model_copy(update={"solver": Solver(iterations=12, upsampling=2)})
    training = Training(loss="image", frames=6, outer_iterations=2)
    events = []
    job = adapt(as_stack(made.stack, "cells", 100.0), recipe, training, name="mine")
    result = run_to_end(job, events.append)
    preset = result.learned.preset
    assert preset.networks["gaussian"].iterations == result.adapted.iterations == 12
    assert result.shipped.preset == "dense-smlm"
    # both were judged on the same molecules
    assert result.shipped.scores[0].n_truth == result.adapted.scores[0].n_truth > 20
    assert result.shipped.scores[2].jaccard > 0.5
    # the record tells of the stack, what was seen, and both judgements
    assert "cells" in preset.trained_on
    assert "molecules per µm²" in preset.trained_on
    assert result.verdict in preset.description
    for judged in (result.shipped, result.adapted):
        written = {s.metric: s.value for s in preset.scores if s.data.endswith(judged.preset)}
        assert written["Jaccard index at 100 nm"] == pytest.approx(
            judged.scores[1].jaccard, abs=1e-5
        )
        assert written["found"] == judged.scores[0].n_found
    told = [e.text for e in events if isinstance(e, Note)]
    assert f"Simulating frames like {result.seen}" in told
    assert [e.iteration for e in events if isinstance(e, Metric)] == [0, 1, 2]
    shares = [e.done / e.total for e in events[_stage(events, "Judging") :]
              if isinstance(e, Progress)]  # fmt: skip
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    save_preset(preset, tmp_path / "mine.json")
    assert load_preset(tmp_path / "mine.json") == preset


def _stage(events: list[object], start: str) -> int:
    return next(
        i for i, e in enumerate(events) if isinstance(e, Stage) and e.text.startswith(start)
    )


def test_a_preset_without_the_fidelity_is_refused_before_the_stack_is_read() -> None:
    gaussian = load_preset("dense-smlm")
    only_kl = gaussian.model_copy(update={"networks": {"kl": gaussian.networks["kl"]}})
    job = adapt(as_stack(np.zeros((3, 16, 16))), Recipe(), name="mine", shipped=only_kl)
    with pytest.raises(InputError, match="no parameters for the fidelity"):
        run_to_end(job)


@pytest.mark.slow
def test_a_stack_without_molecules_is_refused() -> None:
    made = simulate("random", frames=12, shape=(24, 24), density_per_um2=1e-9, seed=1)
    training = Training(frames=4, outer_iterations=1)
    recipe = MICROSCOPE.model_copy(update={"solver": Solver(iterations=5, upsampling=2)})
    with pytest.raises(InputError, match="no molecules stand out"):
        run_to_end(adapt(as_stack(made.stack, "dark", 100.0), recipe, training, name="mine"))
