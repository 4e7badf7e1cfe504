"""The picture of a result: all of it, with a scale bar of a round length."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from napari_unfold.files.figures import save_picture, scale_bar_nm


@pytest.mark.parametrize(
    ("width_nm", "bar_nm"), [(6400, 1000), (4000, 1000), (3999, 500), (25_600, 5000), (800, 200)]
)
def test_a_scale_bar_is_round_and_at_most_a_quarter(width_nm: float, bar_nm: float) -> None:
    assert scale_bar_nm(width_nm) == pytest.approx(bar_nm)


def test_the_bar_in_the_picture_is_as_long_as_it_says(tmp_path: Path) -> None:
    save_picture(np.zeros((160, 200)), tmp_path / "dark.png", 20.0)
    picture = matplotlib.image.imread(tmp_path / "dark.png")[..., :3]
    height, width = picture.shape[:2]
    assert height / width == pytest.approx(160 / 200, rel=0.01)
    white = (picture > 0.95).all(axis=2)
    bar = white.sum(axis=1).max()  # the longest white line; 1 µm of 4 µm
    assert bar / width == pytest.approx(0.25, abs=0.01)
