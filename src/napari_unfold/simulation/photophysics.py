"""Simulated stacks of emitters that fluctuate in place, as fluctuation imaging (SOFI) needs them.

Every emitter is seen in all frames: it switches on and off, has a brightness of its own, and
bleaches. The patterns are filament structures superposed, rotated and shifted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_unfold.imaging.camera import CameraModel
from napari_unfold.simulation.brightness import Brightness
from napari_unfold.simulation.exposure import expose
from napari_unfold.simulation.spot_shapes import pixel_shares
from napari_unfold.simulation.structures import Filaments
from napari_unfold.simulation.switching import Switching


@dataclass(frozen=True)
class Blinking(Switching):
    """How the light of an emitter changes from frame to frame.

    Parameters
    ----------
    on_frames, off_frames, bleaching_frames : float
        See `Switching`.
    photons : float
        Mean photons of an emitter in a frame in which it is on throughout.
    brightness_spread : float
        Standard deviation of the emitters' brightness over its mean (gamma distributed).
    """

    photons: float = 100.0
    brightness_spread: float = 0.3


def blink(
    n_emitters: int, n_frames: int, blinking: Blinking, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the photons ``(T, N)`` of every emitter in every frame."""
    brightness = Brightness(blinking.photons, blinking.brightness_spread).draw(n_emitters, rng)
    photons = np.zeros((n_frames, n_emitters))
    frame, emitter, share = blinking.on_shares(n_emitters, n_frames, rng)
    photons[frame, emitter] = share * brightness[emitter]
    return photons


class FilamentPatterns:
    """Patterns for training: a few filament structures, superposed, rotated and shifted.

    Parameters
    ----------
    size_nm : array (2,)
        Height and width of the field of view.
    rng : numpy.random.Generator
    structures : int
        Number of structures to choose from.
    superposed : int
        Number of structures in a pattern.
    """

    MARGIN = 1.5
    """Size of a structure in units of the field of view, so that it fills it at any angle."""

    def __init__(
        self,
        size_nm: NDArray[np.floating],
        rng: np.random.Generator,
        structures: int = 4,
        superposed: int = 2,
    ) -> None:
        self.size_nm = np.asarray(size_nm, dtype=np.float64)
        side = np.full(2, self.MARGIN * self.size_nm.max())
        self.structures = [Filaments(side, rng) for _ in range(structures)]
        self.center, self.superposed = side / 2, superposed

    def __call__(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return positions ``(N, 2)`` (y, x in nm) of a new pattern of about `count` emitters."""
        chosen = rng.choice(len(self.structures), self.superposed, replace=False)
        per_area = self.MARGIN**2 * self.size_nm.max() ** 2 / self.size_nm.prod()
        positions = []
        for index in chosen:
            angle = rng.uniform(0.0, 2.0 * np.pi)
            turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            shift = rng.uniform(-0.2, 0.2, 2) * self.size_nm + self.size_nm / 2
            labels = self.structures[index](round(count * per_area / self.superposed), rng)
            positions.append((labels - self.center) @ turn.T + shift)
        found = np.concatenate(positions)
        inside = ((found >= 0) & (found < self.size_nm)).all(axis=1)
        return np.asarray(found[inside])


def record(
    positions_nm: NDArray[np.floating],
    photons: NDArray[np.floating],
    shape: tuple[int, int],
    pixel_size_nm: float,
    sigma_nm: float,
    background_photons: float,
    camera: CameraModel,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """Take a movie of fluctuating emitters through a Gaussian PSF.

    Parameters
    ----------
    positions_nm : array (N, 2)
        y and x of the emitters, corner origin.
    photons : array (T, N)
        Of every emitter in every frame; see `blink`.
    shape : tuple of int
        Camera pixels ``(Y, X)``.
    pixel_size_nm, sigma_nm : float
        Camera pixel and PSF sigma.
    background_photons : float
        Photons per camera pixel.
    camera : CameraModel
    rng : numpy.random.Generator

    Returns
    -------
    array (T, Y, X)
        Grey values.
    """
    rows, columns = (
        pixel_shares(positions_nm[:, axis], shape[axis], pixel_size_nm, sigma_nm) for axis in (0, 1)
    )
    movie = np.empty((len(photons), *shape), dtype=np.uint16)
    for t, of_frame in enumerate(photons):
        light = (rows * of_frame[:, None]).T @ columns
        movie[t] = expose(light + background_photons, camera, rng)
    return movie
