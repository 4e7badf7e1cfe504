"""The image of one molecule, measured on the lone spots of the stack itself.

What the fit with the stated PSF leaves around lone spots tells in what their image differs from it:
rings, halos, another width, an ellipse. The difference is a sum of a few functions, B-splines of
the distance from the molecule times waves around it, whose coefficients are fitted to all lone
spots together. Every molecule in the neighbourhood has the same difference, and moves and shines
anew with it (its own position and photons are eliminated from the equations). Where the frames tell
little, the stated PSF stays: the coefficients are expected to be small.

Coefficients from the even frames are tried on the odd ones, and the other way round. Only what
makes frames more probable that it was not fitted to is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import interpolate, ndimage
from scipy.spatial import cKDTree

from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.profiles import SAMPLES, Splines, Spot, spot_of_table
from napari_unfold.localization.refine import fit
from napari_unfold.localization.spots import Molecules, SpotModel

KNOTS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0)
"""Distances from the molecule, in units of sigma, where pieces of the splines meet."""

WAVES = ((0, KNOTS), (1, KNOTS[:5]), (2, KNOTS[:7]))
"""Waves around the molecule (a ring, coma, an ellipse), each with the knots of its splines."""

EXPECTED = 0.2
"""Standard deviation, before anything is measured, of the difference in the middle of the spot, in
units of its peak. It falls with the square of the distance, as the light of rings and halos."""

FEWEST_SPOTS = 30

BRIGHTEST = 1.25
"""Brighter spots, in units of the median, may be several molecules, and tell nothing of one."""

LONE_SIGMA = 2.5
"""A spot without another within this distance, in units of sigma, stands alone."""

WORTH = 0.25
"""Gain in log-probability per molecule below which the PSF stays as stated.

A difference so small sways no decision on a molecule, whose price is more than four times that
(`localization.model_selection`), but pairs that nobody could resolve make as much.
"""

BATCH_PIXELS = 2**15

CERTAIN = 3.0
"""Standard errors by which unseen frames must have become more probable."""


@dataclass(frozen=True)
class LoneSpots:
    """Fitted frames, and which of their spots stand alone.

    Attributes
    ----------
    frames : Frames
        With the PSF they were fitted with.
    molecules : Molecules
        All of them.
    alone : tensor (N,), bool
    """

    frames: Frames
    molecules: Molecules
    alone: torch.Tensor

    @classmethod
    def of(cls, frames: Frames, molecules: Molecules) -> LoneSpots:
        """Choose the spots within the frame that stand alone and are not too bright for one."""
        near = LONE_SIGMA * frames.sigma_px
        points = molecules.points(near)
        distance = np.full(len(points), np.inf)
        if len(points) > 1:
            distance = cKDTree(points).query(points, 2)[0][:, 1]
        size = molecules.position.new_tensor(frames.y.shape[1:])
        inner = ((molecules.position > 1) & (molecules.position < size - 1)).all(1)
        alone = inner & torch.as_tensor(distance > near)
        if bool(alone.any()):
            alone &= molecules.photons < BRIGHTEST * molecules.photons[alone].median()
        return cls(frames, molecules, alone)


def spot_from_stack(lone: LoneSpots) -> Spot | None:
    """Return what molecules look like, or None if the frames know nothing better than before."""
    if int(lone.alone.sum()) < FEWEST_SPOTS or len(lone.frames.y) < 2:
        return None
    basis = Differences(lone.frames.spot.sigma_px)
    halves = [equations(lone, basis, half) for half in (0, 1)]
    gain = torch.cat(
        [_gain(lone, basis.spot(lone.frames.spot, *halves[1 - half]), half) for half in (0, 1)]
    )
    worth = WORTH * len(lone.molecules) / len(gain)
    if gain.mean() < max(worth, CERTAIN * float(gain.std()) / math.sqrt(len(gain))):
        return None
    (h0, g0), (h1, g1) = halves
    return basis.spot(lone.frames.spot, h0 + h1, g0 + g1)


def tail_light(spot: Spot) -> float:
    """Return the share of a spot's light farther than three sigma from the molecule."""
    image = _table(spot, spot.reach)
    y, x = np.indices(image.shape) - image.shape[0] // 2
    outside = np.hypot(y, x) > 3.0 * spot.sigma_px * SAMPLES
    return float(image[outside].sum() / image.sum())


class Differences:
    """Functions of which differences from a PSF are made, on the grid of `MeasuredSpot`.

    Parameters
    ----------
    sigma_px : float
        Of the PSF, in camera pixels.

    Attributes
    ----------
    densities, tables : array (K, 2 h + 1, 2 h + 1)
        Light per pixel area, and as camera pixels see it. Coefficients are expected to be 0 ± 1.
    """

    def __init__(self, sigma_px: float) -> None:
        self.sigma = sigma_px
        self.reach = math.ceil(KNOTS[-1] * sigma_px)
        half = (self.reach + 2) * SAMPLES
        at = np.arange(-half, half + 1) / SAMPLES
        r, angle = np.hypot(at[:, None], at) / sigma_px, np.arctan2(at[:, None], at)
        shapes, expected = [], []
        for wave, knots in WAVES:
            for radial, distance in _radial(r, knots):
                for turn in (np.cos, np.sin)[: 2 if wave else 1]:
                    # smooth in the middle, where a wave of any strength has no direction
                    shapes.append(radial * turn(wave * angle) * np.minimum(r, 1.0) ** wave)
                    expected.append(EXPECTED / (1.0 + distance**2))
        peak = 1.0 / (2.0 * math.pi * sigma_px**2)
        scale = peak * np.array(expected)[:, None, None]
        self.densities = np.stack(shapes) * scale
        self.tables = np.stack([through_pixels(density) for density in self.densities])

    @staticmethod
    def coefficients(information: torch.Tensor, gradient: torch.Tensor) -> NDArray[np.float64]:
        """Return the most probable coefficients ``(K,)``."""
        unit = torch.eye(len(gradient), dtype=gradient.dtype)
        return np.asarray(torch.linalg.solve(information + unit, gradient).numpy())

    def spot(self, before: Spot, information: torch.Tensor, gradient: torch.Tensor) -> Spot:
        """Return the spot with the most probable difference."""
        difference = np.tensordot(self.coefficients(information, gradient), self.tables, 1)
        inner = slice(SAMPLES, -SAMPLES)
        return spot_of_table(_table(before, self.reach + 1) + difference[inner, inner])


def _radial(
    r: NDArray[np.floating], knots: tuple[float, ...]
) -> list[tuple[NDArray[np.float64], float]]:
    """Cubic B-splines of the distance that end smoothly at the last knot, with their places."""
    padded = np.array([knots[0]] * 3 + list(knots))
    splines = []
    for i in range(len(padded) - 4):
        piece = interpolate.BSpline.basis_element(padded[i : i + 5], extrapolate=False)
        splines.append((np.nan_to_num(piece(r)), float(padded[i + 1 : i + 4].mean())))
    return splines


def through_pixels(density: NDArray[np.floating]) -> NDArray[np.float64]:
    """Integrate over camera pixels."""
    kernel = np.ones(SAMPLES + 1)
    kernel[[0, -1]] = 0.5
    for axis in (0, 1):
        density = ndimage.correlate1d(density, kernel / SAMPLES, axis, mode="constant")
    return np.asarray(density)


def _table(spot: Spot, reach: int) -> NDArray[np.float64]:
    """Return the shares of a pixel at all distances up to `reach` pixels, `SAMPLES` per pixel."""
    at = torch.arange(-reach * SAMPLES, reach * SAMPLES + 1, dtype=torch.float64) / SAMPLES
    # one pixel each, seen from molecules at all these distances
    pixel = torch.zeros(len(at), 1, dtype=torch.long)
    y, x = (spot.profiles(axis, pixel, 0.5 - at)[0][:, 0] for axis in (0, 1))
    return np.asarray((y @ x.mT).numpy())


def equations(lone: LoneSpots, basis: Differences, half: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return information and gradient of the coefficients, from the even or the odd frames."""
    k = len(basis.tables)
    information = torch.zeros(k, k, dtype=torch.float64)
    gradient = torch.zeros(k, dtype=torch.float64)
    y = lone.frames.y
    tables = torch.as_tensor(basis.tables, dtype=torch.float32)
    batch = max(1, BATCH_PIXELS // y[0].numel())
    chosen = torch.arange(half, len(y), 2)
    for part in torch.split(chosen, batch):
        frames, molecules, alone = _part(lone, part)
        if not bool(alone.any()):
            continue
        wide = SpotModel((len(part), y.shape[1], y.shape[2]), _Wide(frames.spot, basis.reach))
        wide.locate(molecules)
        light = frames.spot_model(molecules).light(molecules)
        residual, fisher = frames.likelihood.residual_and_weight(light)
        around = SpotModel(wide.shape, wide.spot)
        at = molecules.select(alone)
        around.locate(at)
        # zero beyond the border
        w, r = around.cut_out(fisher), around.cut_out(residual)
        own = around.jacobian(at)
        differences = torch.stack(
            [around.cut_out(wide.add_up(_drawn(wide, molecules, table))) for table in tables], 1
        )
        weighted = differences * w[:, None]
        cross = torch.einsum("nkpq,nipq->nki", weighted, own)
        inner = torch.einsum("nipq,njpq,npq->nij", own, own, w).double()
        # position and photons follow
        solved = torch.linalg.solve_ex(inner + 1e-9 * torch.eye(3), cross.double().mT)[0].mT
        information += torch.einsum("nkpq,nlpq->kl", weighted, differences).double()
        information -= torch.einsum("nki,nli->kl", solved, cross.double())
        gradient += torch.einsum("nkpq,npq->k", differences, r).double()
        own_slope = torch.einsum("nipq,npq->ni", own, r).double()
        gradient -= torch.einsum("nki,ni->k", solved, own_slope)
    return information, gradient


@dataclass(frozen=True)
class _Wide:
    """A spot with a larger patch."""

    spot: Spot
    reach: int

    @property
    def sigma_px(self) -> float:
        return self.spot.sigma_px

    @property
    def splines(self) -> Splines:
        return self.spot.splines

    def profiles(
        self, axis: int, pixels: torch.Tensor, position: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self.spot.profiles(axis, pixels, position)

    def curvatures(self, axis: int, pixels: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        return self.spot.curvatures(axis, pixels, position)


def _drawn(model: SpotModel, molecules: Molecules, table: torch.Tensor) -> torch.Tensor:
    """Patches ``(N, P, P)`` of molecules that look like a table, to the nearest sample."""
    index = []
    for axis, pixels in enumerate(model.pixels):
        distance = pixels + 0.5 - molecules.position[:, axis : axis + 1]
        place = (distance * SAMPLES).round().long() + table.shape[0] // 2
        index.append(place.clamp(0, table.shape[0] - 1))
    rows, columns = index
    return molecules.photons[:, None, None] * table[rows[:, :, None], columns[:, None]]


def _part(lone: LoneSpots, chosen: torch.Tensor) -> tuple[Frames, Molecules, torch.Tensor]:
    """Return some frames, counted from the first, their molecules, and which stand alone."""
    place = torch.full((len(lone.frames.y),), -1, dtype=torch.long)
    place[chosen] = torch.arange(len(chosen))
    frame = place[lone.molecules.frame]
    mine = frame >= 0
    molecules = lone.molecules.select(mine)
    frames = replace(lone.frames, y=lone.frames.y[chosen], b=lone.frames.b[chosen])
    return frames, replace(molecules, frame=frame[mine]), lone.alone[mine]


def _gain(lone: LoneSpots, spot: Spot, half: int) -> torch.Tensor:
    """Return by how much another spot makes every other frame more probable, all fitted anew."""
    chosen = torch.arange(half, len(lone.frames.y), 2)
    frames, molecules, _ = _part(lone, chosen)
    losses = []
    for candidate in (frames.spot, spot):
        seen = replace(frames, spot=candidate)
        found = fit(molecules, seen)
        light = seen.spot_model(found).light(found)
        penalty = seen.prior.penalty(found.photons)
        losses.append(seen.likelihood.per_frame(light).index_add(0, found.frame, penalty))
    return losses[0] - losses[1]
