"""The smallest error that the light of a lone molecule allows, and the errors that are made."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_unfold.imaging.camera import noise_variance
from napari_unfold.simulation.scenes import Simulation, render

ISOLATED_SIGMA = 6.0
"""Molecules with no other this near, in units of sigma, and at half of it from the border."""


def cramer_rao_nm(
    y_nm: float, x_nm: float, photons: float, background: float, made: Simulation
) -> float:
    """Return the bound on the error of a coordinate of a lone molecule, root mean square of both.

    Derivatives are finite differences of the simulated light in pixels; the noise has the variance
    of the camera.
    """
    optics = made.recipe.optics
    pixel, sigma = optics.pixel_size_nm, optics.psf_sigma_nm or 0.0
    side = 2 * math.ceil(4.0 * sigma / pixel) + 1
    middle = side // 2 * pixel
    at = np.array([middle + y_nm % pixel, middle + x_nm % pixel, photons])

    def light(p: NDArray[np.float64]) -> NDArray[np.float64]:
        return render(p[:1], p[1:2], p[2:], (side, side), pixel, sigma)

    steps = np.diag([1e-2, 1e-2, 1e-2])
    slopes = np.stack([(light(at + h) - light(at - h)) / (2.0 * h.max()) for h in steps])
    weight = 1.0 / noise_variance(light(at) + background, made.camera)
    bound = np.linalg.inv(np.einsum("ipq,jpq,pq->ij", slopes, slopes, weight))
    return float(np.sqrt((bound[0, 0] + bound[1, 1]) / 2.0))


def background_at(molecule: Any, made: Simulation) -> float:
    """Return the true background of a row of the truth, in photons per pixel."""
    pixel = made.recipe.optics.pixel_size_nm
    here = made.background[int(molecule.y_nm // pixel), int(molecule.x_nm // pixel)]
    return float(here * made.background_course[molecule.frame])


def pairs(
    found: pd.DataFrame, truth: pd.DataFrame, tolerance_nm: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows of found and true molecules that belong together: one to one, nearest first."""
    # frames lie far apart along a third axis
    points = [
        np.column_stack([t["frame"] * 10.0 * tolerance_nm, t["y_nm"], t["x_nm"]])
        for t in (found, truth)
    ]
    near = cKDTree(points[0]).sparse_distance_matrix(
        cKDTree(points[1]), tolerance_nm, output_type="ndarray"
    )
    near.sort(order="v")
    taken: tuple[set[int], set[int]] = (set(), set())
    chosen = []
    for i, j, _ in near:
        if i not in taken[0] and j not in taken[1]:
            taken[0].add(i)
            taken[1].add(j)
            chosen.append((i, j))
    rows = np.array(chosen, dtype=np.intp).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def rmse_over_bound(found: pd.DataFrame, made: Simulation, tolerance_nm: float = 250.0) -> float:
    """Return the root mean square error of isolated molecules over their bound.

    Not a number without any, or where the bound is not known: of other than Gaussian spots, spots
    out of focus, and cameras whose pixels differ.
    """
    truth, optics = made.truth, made.recipe.optics
    if made.instrument.psf != "gaussian" or made.sample.depth_nm or made.sensor:
        return math.nan
    sigma = optics.psf_sigma_nm or 0.0
    far = ISOLATED_SIGMA * sigma
    points = np.column_stack([truth["frame"] * 10.0 * far, truth["y_nm"], truth["x_nm"]])
    alone = cKDTree(points).query(points, [2])[0][:, 0] > far
    size = np.array(made.stack.shape[1:]) * optics.pixel_size_nm
    inner = points[:, 1:]
    alone &= ((inner > far / 2) & (inner < size - far / 2)).all(axis=1)
    i, j = pairs(found, truth, tolerance_nm)
    i, j = i[alone[j]], j[alone[j]]
    if len(i) == 0:
        return math.nan
    bounds = [
        cramer_rao_nm(m.y_nm, m.x_nm, m.photons, background_at(m, made), made)
        for m in truth.iloc[j].itertuples()
    ]
    errors = found[["y_nm", "x_nm"]].to_numpy()[i] - truth[["y_nm", "x_nm"]].to_numpy()[j]
    return float(np.sqrt(np.mean(errors**2) / np.mean(np.square(bounds))))


def error_over_uncertainty(
    found: pd.DataFrame, truth: pd.DataFrame, tolerance_nm: float = 100.0
) -> float:
    """Return the standard deviation of the errors of x and y over their stated uncertainties."""
    i, j = pairs(found, truth, tolerance_nm)
    errors = found[["x_nm", "y_nm"]].to_numpy()[i] - truth[["x_nm", "y_nm"]].to_numpy()[j]
    stated = found[["uncertainty_x_nm", "uncertainty_y_nm"]].to_numpy()[i]
    return float((errors / stated).std())
