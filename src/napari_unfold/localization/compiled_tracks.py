"""Conjugate gradients for the steps of tracks, compiled: the arithmetic of `refine_tracks`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from napari_unfold.localization.compiled_spots import Doubles, Floats, Integers, jit


class Equations(NamedTuple):
    """What `refine_tracks._System` knows, as arrays.

    Attributes
    ----------
    track : array (N,)
        Track of every row.
    extra_position, inverse : array (M, 2, 2)
        What is added to the information of the pixels, and what solves for a track by itself.
    extra_photons, photons : array (N,)
        What is added, and the whole diagonal.
    mixed : array (N, 2)
        Information on position and photons together.
    """

    track: Integers
    extra_position: Floats
    inverse: Floats
    extra_photons: Floats
    photons: Floats
    mixed: Floats


class State(NamedTuple):
    """Where the iterations are: step, residual and direction, of positions and of photons.

    Attributes
    ----------
    step, residual, along : array (M, 2)
    photons, residual_photons, along_photons : array (N,)
    rows : array (N, 3)
        The direction, row by row.
    """

    step: Doubles
    residual: Doubles
    along: Doubles
    photons: Doubles
    residual_photons: Doubles
    along_photons: Doubles
    rows: Floats


@jit
def turn(equations: Equations, state: State, before: float) -> float:
    """Choose the next direction; returns the product of the residual with itself, preconditioned.

    Parameters
    ----------
    equations : Equations
    state : State
    before : float
        That product before the last step; infinite for the first direction.
    """
    z = state.residual.copy()
    for n in range(equations.track.shape[0]):
        share = state.residual_photons[n] / equations.photons[n]
        for i in range(2):
            z[equations.track[n], i] -= equations.mixed[n, i] * share
    product = 0.0
    for m in range(z.shape[0]):
        h, y, x = equations.inverse[m], z[m, 0], z[m, 1]
        z[m, 0], z[m, 1] = h[0, 0] * y + h[0, 1] * x, h[1, 0] * y + h[1, 1] * x
        product += z[m, 0] * state.residual[m, 0] + z[m, 1] * state.residual[m, 1]
    photons = np.empty_like(state.photons)
    for n in range(photons.shape[0]):
        at, mixed, right = z[equations.track[n]], equations.mixed[n], state.residual_photons[n]
        photons[n] = (right - mixed[0] * at[0] - mixed[1] * at[1]) / equations.photons[n]
        product += photons[n] * right
    back = product / max(before, 1e-30)
    for m in range(z.shape[0]):
        for i in range(2):
            state.along[m, i] = z[m, i] + back * state.along[m, i]
    for n in range(photons.shape[0]):
        state.along_photons[n] = photons[n] + back * state.along_photons[n]
        for i in range(2):
            state.rows[n, i] = state.along[equations.track[n], i]
        state.rows[n, 2] = state.along_photons[n]
    return product


@jit
def advance(equations: Equations, state: State, of_pixels: Floats, product: float) -> None:
    """Take the best step along the direction.

    Parameters
    ----------
    equations : Equations
    state : State
    of_pixels : array (N, 3)
        The information of the pixels, applied to the direction.
    product : float
        What `turn` returned.
    """
    seen, photons = np.zeros_like(state.step), np.empty_like(state.photons)
    curvature = 0.0
    for n in range(photons.shape[0]):
        for i in range(2):
            seen[equations.track[n], i] += of_pixels[n, i]
        photons[n] = of_pixels[n, 2] + equations.extra_photons[n] * state.along_photons[n]
        curvature += photons[n] * state.along_photons[n]
    for m in range(seen.shape[0]):
        for i in range(2):
            for j in range(2):
                seen[m, i] += equations.extra_position[m, i, j] * state.along[m, j]
            curvature += seen[m, i] * state.along[m, i]
    length = product / max(curvature, 1e-30)
    for m in range(seen.shape[0]):
        for i in range(2):
            state.step[m, i] += length * state.along[m, i]
            state.residual[m, i] -= length * seen[m, i]
    for n in range(photons.shape[0]):
        state.photons[n] += length * state.along_photons[n]
        state.residual_photons[n] -= length * photons[n]
