"""How presets are judged on frames whose molecules are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_unfold.files.presets import load_preset
from napari_unfold.jobs import run_to_end
from napari_unfold.learning.judge import BLUR_PX, Found, Gain, HeldOut, find, gains, judge
from napari_unfold.learning.look_alike import look_alikes

from .test_look_alike import observation


@pytest.fixture(scope="module")
def held_out() -> HeldOut:
    """Return two sequences of twelve frames."""
    parts = look_alikes(observation((32, 64)), None, 2)
    return HeldOut(parts, [part.record(12, seed) for seed, part in enumerate(parts)])


def found(held_out: HeldOut, table: pd.DataFrame, images: np.ndarray | None = None) -> Found:
    """Return what a preset found."""
    return Found("mine", 50, table, held_out.true_images if images is None else images, 1.0)


def test_the_truth_itself_is_all_there_is_to_find(held_out) -> None:
    judged = judge(held_out, found(held_out, held_out.truth))
    assert [score.jaccard for score in judged.scores] == [1.0, 1.0, 1.0]
    assert [score.tolerance_nm for score in judged.scores] == [50.0, 100.0, 250.0]
    assert set(held_out.truth["frame"]) == set(range(24))
    assert judged.numbers()["missed at 50 nm"] == judged.numbers()["false at 50 nm"] == 0


def test_an_image_is_compared_with_the_blurred_truth(held_out) -> None:
    from scipy import ndimage

    truth = held_out.true_images
    blurred = np.stack([ndimage.gaussian_filter(image, BLUR_PX) for image in truth])
    alike, sharp, empty = (
        judge(held_out, found(held_out, held_out.truth, images)).correlation
        for images in (blurred, truth, np.zeros_like(truth))
    )
    assert alike == pytest.approx(1.0, abs=1e-5)
    assert 0.2 < sharp < 0.9
    assert empty == 0.0


def test_missed_and_false_molecules_are_counted(held_out) -> None:
    truth = held_out.truth
    table = pd.concat([truth.iloc[5:], truth.iloc[:2].assign(x_nm=-5000.0)], ignore_index=True)
    numbers = judge(held_out, found(held_out, table)).numbers()
    assert numbers["true molecules"] == len(truth)
    assert numbers["found"] == len(truth) - 3
    assert (numbers["missed at 100 nm"], numbers["false at 100 nm"]) == (5, 2)
    assert numbers["Jaccard index at 100 nm"] == pytest.approx((len(truth) - 5) / (len(truth) + 2))


@pytest.mark.slow
def test_a_gain_has_the_error_of_the_scatter_between_frames(held_out) -> None:
    """Leaving out a share p of molecules at random lowers J by p, with a binomial error."""
    rng, truth = np.random.default_rng(0), held_out.truth
    before, after = (found(held_out, truth[rng.random(len(truth)) > p]) for p in (0.3, 0.0))
    molecules, image = gains(held_out, before, after)
    assert molecules.value == pytest.approx(0.3, abs=0.06)
    expected = np.sqrt(0.3 * 0.7 / len(truth))
    assert 0.4 * expected < molecules.error < 2.5 * expected
    assert molecules.is_significant
    assert image == Gain(0.0, 0.0)
    assert not image.is_significant
    assert not image.is_doubtful
    back, _ = gains(held_out, after, before)
    assert back.is_doubtful
    assert back.value == pytest.approx(-molecules.value)


def test_sequences_are_cut_into_blocks_of_neighbouring_frames(held_out) -> None:
    blocks = held_out.blocks
    np.testing.assert_array_equal(np.concatenate(blocks), np.arange(24))
    assert len(blocks) == 12
    assert all((np.diff(block) == 1).all() for block in blocks)


@pytest.mark.slow
def test_the_shipped_preset_finds_the_molecules_of_simulated_frames() -> None:
    parts = look_alikes(observation((32, 32), per_pixel=0.004), 3.0, 1)
    held_out = HeldOut(parts, [part.record(10, 1) for part in parts])
    result = run_to_end(find(held_out, load_preset("dense-smlm")))
    assert judge(held_out, result).scores[1].jaccard > 0.75
    assert result.images.shape == held_out.true_images.shape
