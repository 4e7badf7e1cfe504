"""Molecules followed over a whole stack: windows slide over it and leave no trace."""

import numpy as np
import pandas as pd
import pytest
import torch

from napari_unfold.imaging.camera import CameraModel
from napari_unfold.jobs import run_to_end
from napari_unfold.localization.brightness import BrightnessPrior
from napari_unfold.localization.follow import Chunk, Follower
from napari_unfold.localization.localizer import Localizer
from napari_unfold.localization.profiles import GaussianSpot
from napari_unfold.settings.recipe import Localization
from napari_unfold.simulation.scenes import render

SIZE, SIGMA, PHOTONS, BACKGROUND, UPSAMPLING, PIXEL_NM = 24, 1.2, 1000.0, 10.0, 4, 100.0
CAMERA = CameraModel(0.0, 1.0, 1.0, 0.0)
LOCALIZER = Localizer(
    spot=GaussianSpot(SIGMA), pixel_size_nm=PIXEL_NM, upsampling=UPSAMPLING,
    molecule_photons=PHOTONS, brightness=BrightnessPrior(PHOTONS, 0.2), threshold_photons=100.0,
    faintest_photons=150.0, crowding=np.full((SIZE, SIZE), 0.1, np.float32), camera=CAMERA,
    settings=Localization(),
)  # fmt: skip


def light(molecules, frame):
    """Mean of a frame, and its molecules on the fine grid, as a perfect network would see them."""
    on = [(y, x) for y, x, first, last in molecules if first <= frame <= last]
    y, x = np.array(on, dtype=float).reshape(-1, 2).T
    mean = render(y, x, np.full(len(on), PHOTONS), (SIZE, SIZE), 1.0, SIGMA) + BACKGROUND
    fine = np.zeros((UPSAMPLING * SIZE, UPSAMPLING * SIZE))
    np.add.at(fine, ((y * UPSAMPLING).astype(int), (x * UPSAMPLING).astype(int)), PHOTONS)
    return mean, fine


def chunks(molecules, n_frames, frames_each, lit=lambda frame: 1.0, seed=0):  # noqa: ARG005
    """Frames as a reconstruction hands them on, some at a time."""
    rng = np.random.default_rng(seed)
    parts = []
    for frame in range(n_frames):
        mean, fine = light(molecules, frame)
        mean = BACKGROUND + lit(frame) * (mean - BACKGROUND)
        parts.append((rng.poisson(mean), lit(frame) * fine))
    for start in range(0, n_frames, frames_each):
        y, x = (
            torch.tensor(np.stack(p), dtype=torch.float32)
            for p in zip(*parts[start : start + frames_each], strict=True)
        )
        b = torch.full_like(y, BACKGROUND)
        found = run_to_end(LOCALIZER(x, y, b, None, lit(start)))
        yield Chunk(LOCALIZER.frames(y, b, None, lit(start)), lit(start), found, b.numpy())


def followed(molecules, n_frames, frames_each=8, **more) -> pd.DataFrame:
    follower = Follower(LOCALIZER, 0.8)
    for chunk in chunks(molecules, n_frames, frames_each, **more):
        list(follower.push(chunk))
    return run_to_end(follower.finish())


def random_molecules(n, n_frames, on_frames, seed):
    rng = np.random.default_rng(seed)
    first = rng.integers(-on_frames, n_frames, n)
    length = rng.geometric(1.0 / on_frames, n)
    place = rng.uniform(3, SIZE - 3, (n, 2))
    return [(y, x, a, a + k - 1) for (y, x), a, k in zip(place, first, length, strict=True)]


def spans(table):
    each = table.groupby("track")["frame"]
    return sorted(zip(each.min(), each.max(), strict=True))


def test_a_molecule_that_stays_on_through_many_windows_is_one():
    table = followed([(8.2, 9.1, 10, 229), (16.0, 15.0, 3, 3)], 240)
    assert spans(table) == [(3, 3), (10, 229)]
    track = table[table["frame"] == 100]["track"].item()
    rows = table[table["track"] == track]
    assert len(rows) == 220
    assert rows["x_nm"].nunique() == rows["y_nm"].nunique() == 1
    # as precise as all its light allows: 120 nm / sqrt(220 x 1000 photons) and some background
    assert abs(rows["x_nm"].iloc[0] - 910) < 1.5
    assert abs(rows["y_nm"].iloc[0] - 820) < 1.5
    assert rows["uncertainty_nm"].iloc[0] < 0.7


def test_results_do_not_depend_on_where_windows_begin():
    at = random_molecules(150, 160, 8, seed=1)
    tables = [followed(at, 160, frames_each) for frames_each in (8, 20, 160)]
    for other in tables[1:]:
        both = tables[0].merge(other, on="frame", suffixes=("", "_other"))
        apart = np.hypot(both["x_nm"] - both["x_nm_other"], both["y_nm"] - both["y_nm_other"])
        same = (apart < 10.0).sum()
        assert same > 0.98 * max(len(tables[0]), len(other))
        assert abs(tables[0]["track"].nunique() - other["track"].nunique()) <= 3


def test_tracks_are_the_molecules():
    at = random_molecules(80, 100, 8, seed=2)
    table = followed(at, 100)
    true = sorted((max(a, 0), min(b, 99)) for _, _, a, b in at if b >= 0 and a < 100)
    right = sum(span in true for span in spans(table))
    assert right > 0.9 * len(true)
    assert table["track"].nunique() < 1.05 * len(true)


def test_a_lamp_at_half_does_not_break_a_track():
    at = [(8.2, 9.1, 10, 79), (15.0, 15.0, 30, 50)]
    table = followed(at, 80, lit=lambda frame: 1.0 if frame < 40 else 0.5)
    assert spans(table) == [(10, 79), (30, 50)]
    one = table[table["track"] == table["track"].iloc[0]]
    before, after = (one[part]["photons"].mean() for part in (one.frame < 40, one.frame >= 40))
    assert after == pytest.approx(0.5 * before, rel=0.1)


def test_no_molecules_are_an_empty_table():
    table = followed([], 30)
    assert len(table) == 0
    assert {"frame", "x_nm", "y_nm", "track"} <= set(table)


def test_every_row_says_what_is_known_of_it():
    table = followed([(8.2, 9.1, 2, 9)], 12)
    assert np.isfinite(table.to_numpy(float)).all()
    assert (table["uncertainty_photons"] > 0).all()
    assert (table["quality"] > 20).all()
    assert table["track"].tolist() == [1] * 8
