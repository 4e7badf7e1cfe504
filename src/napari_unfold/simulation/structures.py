"""Where molecules are: anywhere, on filaments, in clusters.

Every structure, called with a number of molecules and a random generator, returns their positions
``(N, 2)``, y and x in nm, corner origin.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_unfold.settings.training import SceneName

FILAMENT_RADIUS_NM = 12.5
"""Labels sit this far from the axis of a filament, as on an immunostained microtubule."""


class Structure(Protocol):
    """Draws positions of molecules."""

    def __call__(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return positions ``(count, 2)``."""
        ...


def structure(
    name: SceneName, size_nm: NDArray[np.floating], rng: np.random.Generator
) -> Structure:
    """Return a structure that fills a field of view.

    Parameters
    ----------
    name : {"filaments", "random", "clusters"}
    size_nm : array (2,)
        Height and width of the field of view.
    rng : numpy.random.Generator
        Draws the structure.
    """
    if name == "filaments":
        return Filaments(size_nm, rng)
    if name == "clusters":
        return Clusters(size_nm, rng)
    return Anywhere(size_nm)


class Anywhere:
    """Molecules at random, evenly over the field of view.

    Parameters
    ----------
    size_nm : array (2,)
        Height and width of the field of view.
    """

    def __init__(self, size_nm: NDArray[np.floating]) -> None:
        self.size_nm = size_nm

    def __call__(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return positions ``(count, 2)``."""
        return rng.uniform(0.0, self.size_nm, (count, 2))


class Clusters:
    """Round clusters, as of receptors in a membrane, among molecules that belong to none.

    Parameters
    ----------
    size_nm : array (2,)
        Height and width of the field of view.
    rng : numpy.random.Generator
        Draws the middles of the clusters.
    """

    PER_UM2 = 0.5
    SIGMA_NM = 60.0
    SHARE_IN_CLUSTERS = 0.8

    def __init__(self, size_nm: NDArray[np.floating], rng: np.random.Generator) -> None:
        self.size_nm = size_nm
        n_clusters = max(1, round(self.PER_UM2 * float(size_nm.prod()) / 1e6))
        self.middles = rng.uniform(0.0, size_nm, (n_clusters, 2))

    def __call__(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return positions ``(count, 2)``."""
        chosen = rng.integers(0, len(self.middles), count)
        clustered = self.middles[chosen] + rng.normal(0.0, self.SIGMA_NM, (count, 2))
        lonely = rng.uniform(0.0, self.size_nm, (count, 2))
        inside = (rng.random(count) < self.SHARE_IN_CLUSTERS)[:, None]
        position = np.where(inside, clustered, lonely)
        return np.asarray(np.clip(position, 0.0, self.size_nm - 1e-6))


class Filaments:
    """Smooth random curves through the field of view, labelled evenly along their length.

    Called with a number of molecules, it returns their positions ``(N, 2)``, y and x in nm.

    Parameters
    ----------
    size_nm : array (2,)
        Height and width of the field of view.
    rng : numpy.random.Generator
        Draws the curves.
    """

    SPACING_NM = 5.0
    MEAN_DISTANCE_NM = 1100.0
    TURN_PER_STEP = 0.004

    def __init__(self, size_nm: NDArray[np.floating], rng: np.random.Generator) -> None:
        self.size_nm = size_nm
        n_filaments = max(3, round(float(size_nm.mean()) / self.MEAN_DISTANCE_NM) + 2)
        curves = [self._curve(rng) for _ in range(n_filaments)]
        self.axis = np.concatenate([c for c, _ in curves])
        self.normal = np.concatenate([n for _, n in curves])

    def _curve(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Points on a curve that crosses the field of view, and the normals there."""
        steps = int(2.0 * np.hypot(*self.size_nm) / self.SPACING_NM)
        bend = np.convolve(rng.normal(0, self.TURN_PER_STEP, steps), np.ones(40) / 6, "same")
        angle = rng.uniform(0, 2 * np.pi) + np.cumsum(bend)
        tangent = np.stack([np.sin(angle), np.cos(angle)], axis=1)
        points = np.cumsum(tangent, axis=0) * self.SPACING_NM
        points += rng.uniform(0.15, 0.85, 2) * self.size_nm - points[steps // 2]
        inside = ((points > 0) & (points < self.size_nm)).all(axis=1)
        normal = tangent[:, ::-1] * (1.0, -1.0)
        return points[inside], normal[inside]

    def __call__(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return positions ``(count, 2)`` on the curves."""
        chosen = rng.integers(0, len(self.axis), count)
        # labels sit all around the tube; seen from above, the sine of a random angle
        offset = FILAMENT_RADIUS_NM * np.sin(rng.uniform(0, 2 * np.pi, (count, 1)))
        along = rng.uniform(-0.5, 0.5, (count, 1)) * self.SPACING_NM
        normal = self.normal[chosen]
        tangent = normal[:, ::-1] * (-1.0, 1.0)
        position = self.axis[chosen] + offset * normal + along * tangent
        return np.asarray(np.clip(position, 0.0, self.size_nm - 1e-6))
