"""How long molecules stay on, against simulations whose switching is known."""

import numpy as np
import pytest

from napari_unfold.estimation.on_time import LONGEST_FRAMES, SHORTEST_FRAMES, mean_on_frames
from napari_unfold.imaging.camera import CameraModel, to_photons
from napari_unfold.simulation.scenes import simulate

CAMERA = CameraModel(100.0, 2.0, 2.0, 0.0)


def frames(on_frames: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Return photons of a simulated stack, and its background."""
    made = simulate(
        "random", frames=200, shape=(48, 48), density_per_um2=2.0, on_frames=on_frames, seed=4
    )
    return to_photons(made.stack.astype(np.float32), made.camera), made.background


@pytest.mark.slow
@pytest.mark.parametrize("on_frames", [1.0, 3.0, 8.0])
def test_the_on_time_is_found(on_frames: float) -> None:
    assert mean_on_frames(*frames(on_frames), CAMERA) == pytest.approx(on_frames, rel=0.25)


def test_other_molecules_in_every_frame_have_no_on_time() -> None:
    assert mean_on_frames(*frames(None), CAMERA) is None


def test_molecules_that_never_go_are_on_for_long() -> None:
    rng = np.random.default_rng(0)
    slow = 20.0 + np.cumsum(rng.normal(0.0, 3.0, (60, 16, 16)), axis=0)
    found = mean_on_frames(slow.astype(np.float32), np.full((16, 16), 20.0), CAMERA)
    assert found is not None
    assert 5.0 < found <= LONGEST_FRAMES


def test_an_on_time_below_a_frame_stays_above_zero() -> None:
    photons, background = frames(0.2)
    found = mean_on_frames(photons, background, CAMERA)
    assert found is None or SHORTEST_FRAMES <= found < 1.0
