"""Brightness and background, learned from fits to some of the frames (empirical Bayes).

Nothing is assumed of the brightness at first, except that a spot is one molecule unless the frame
shows that it is two. Lone, well fitted spots then tell the distribution of the photons, whatever
makes it: switching on and off within a frame, dyes that differ, bleaching. It is approached from
above; an estimate from below would split every molecule and confirm itself. The background is
corrected where the molecules that were found leave it dark.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_unfold.estimation.background import (
    detection_limit,
    estimate_crowding,
    refined_background,
)
from napari_unfold.estimation.psf_from_stack import LONE_SIGMA, LoneSpots, spot_from_stack
from napari_unfold.estimation.single_molecules import photon_deviation, share_of_singles
from napari_unfold.imaging.camera import CameraModel
from napari_unfold.jobs import Job, Progress
from napari_unfold.localization.brightness import LearnedBrightness, ScaledBrightness
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.model_selection import ModelSelection
from napari_unfold.localization.profiles import Spot
from napari_unfold.localization.refine import fit
from napari_unfold.localization.spots import Molecules

FRAMES = 40
PIXELS = 2**20
"""At most so many frames and pixels are fitted: the distribution is then known within percents."""

BATCH_PIXELS = 2**16

PASSES, MOST_PASSES, SETTLED = 2, 5, 0.01
"""More passes are made while a measured PSF still changes its width by more than this share."""

ROUNDS = 3
"""Of adding and splitting in each pass."""

CAUTION = 4.0
"""Evidence beyond the usual price without which a spot stays one molecule while nothing is known:
what is not split is still recognised as several by its photons, what is wrongly split is not."""

LARGEST_CHI = 2.0
"""Standard deviations by which the misfit of a lone spot may exceed that of noise."""

LEAST_CHANGE = 0.3
"""Of the lamp, below which it is not asked whether molecules follow it."""

FEWEST_SPOTS = 30
"""With fewer lone spots all are taken."""

MERGED_AREA = 0.25
"""Area within which two molecules look like one, in units of that of a PSF, ``4 pi sigma^2``."""

UNKNOWN_RANGE = 60.0
"""The first distribution is flat from the detection limit to so many times as much."""


@dataclass(frozen=True)
class LearnedMolecules:
    """What the fits told.

    Attributes
    ----------
    brightness : LearnedBrightness
    photons, error_photons : float
        Mean of a molecule in one frame, and its standard error.
    spots : int
        Lone spots it rests on.
    singles : float
        Share of them that are single molecules.
    background : array (Y, X)
        Photons per camera pixel.
    spot : Spot
        What a molecule looks like: as stated, or as measured if that explains the frames better.
    follow_lamp : bool
        Whether molecules brighten and fade with the background; `photons` are then those of a
        frame whose factor is 1.
    """

    brightness: LearnedBrightness
    photons: float
    error_photons: float
    spots: int
    singles: float
    background: NDArray[np.float32]
    spot: Spot
    follow_lamp: bool = False


def learn_molecules(
    sample: NDArray[np.float32],
    background: NDArray[np.float32],
    camera: CameraModel,
    spot: Spot,
    point_energy: float,
    keep_background: bool = False,
    keep_spot: bool = True,
    factors: NDArray[np.float32] | None = None,
) -> Job[LearnedMolecules | None]:
    """Learn the brightness of molecules, and correct the background, from a sample of a stack.

    Parameters
    ----------
    sample : array (T, Y, X)
        Frames in photons.
    background : array (Y, X)
        First estimate, photons per camera pixel.
    camera : CameraModel
    spot : Spot
        What a molecule looks like.
    point_energy : float
        Sum of squares of the image of a one-photon molecule.
    keep_background : bool
        It was stated, and is not corrected.
    keep_spot : bool
        The PSF is taken as stated, whatever lone spots tell.
    factors : array (T,), optional
        By which the background of each frame is multiplied, see `lamp`.

    Returns
    -------
    LearnedMolecules or None
        None if there are no molecules.
    """
    chosen = _chosen(sample.shape)
    few = sample[chosen]
    lamp = np.ones(len(few), dtype=np.float32) if factors is None else factors[chosen]
    limit = detection_limit(background, camera, point_energy)
    grid = np.geomspace(limit, UNKNOWN_RANGE * limit, 200)
    deviation = partial(
        photon_deviation,
        background=float(np.median(background)),
        camera=camera.typical,
        sigma_px=spot.sigma_px,
    )
    brightness = LearnedBrightness(grid, np.ones(len(grid)), deviation)
    mean = brightness.mean
    learned, follow = None, False
    for i in range(MOST_PASSES):
        lit = lamp if follow else np.ones_like(lamp)
        fits = yield from _fits(few, background, lamp, lit, camera, spot, brightness, mean, i)
        if not keep_background:
            background = refined_background(few, background, camera, fits.light, lamp)
        skipped = keep_spot and i + 1 < PASSES
        measured = (None if skipped else spot_from_stack(fits.spots())) or spot
        settled = keep_spot or abs(measured.sigma_px / spot.sigma_px - 1.0) < SETTLED
        spot = spot if keep_spot else measured
        if i == 0 and (follow := _follow_lamp(fits)):
            order = np.argsort(lamp, kind="stable")
            few, lamp = few[order], lamp[order]
            fits = replace(fits, photons=fits.photons / fits.factors)
        photons, crowding = fits.lone()
        if len(photons) < 2:
            return learned
        weights = np.ones(len(photons))
        # crowding was counted in molecules of the former brightness
        light = float(crowding.mean()) * mean
        for _ in range(3):
            mean = float(np.average(photons, weights=weights))
            weights = share_of_singles(photons, 2.0 * MERGED_AREA * light / mean)
        brightness = LearnedBrightness(photons, weights, deviation)
        mean = brightness.mean
        scatter = math.sqrt(float(np.average((photons - mean) ** 2, weights=weights)))
        error = scatter / math.sqrt(weights.sum())
        singles = float(weights.mean())
        learned = LearnedMolecules(
            brightness, mean, error, len(photons), singles, background, measured, follow
        )
        if settled and i + 1 >= PASSES:
            break
    return learned


def _chosen(shape: tuple[int, ...]) -> NDArray[np.intp]:
    """Return which frames of the sample are fitted, evenly spread."""
    wanted = max(2, min(FRAMES, PIXELS // (shape[1] * shape[2])))
    if shape[0] <= wanted:
        return np.arange(shape[0])
    return np.linspace(0, shape[0] - 1, wanted).astype(np.intp)


@dataclass(frozen=True)
class _Fits:
    """Spots of the sample: photons in usual light, crowding there, which are lone and well fitted.

    Also the light that all add up to, and the factor of the lamp for each spot.
    """

    photons: NDArray[np.float64]
    crowding: NDArray[np.float64]
    good: NDArray[np.bool_]
    light: NDArray[np.float32]
    factors: NDArray[np.float64]
    batches: list[tuple[Frames, Molecules]]

    def spots(self) -> LoneSpots:
        """Return all frames with their molecules, for measuring the PSF."""
        first, _ = self.batches[0]
        y, b = (torch.cat([getattr(f, name) for f, _ in self.batches]) for name in "yb")
        found, start = Molecules.none(), 0
        for frames, molecules in self.batches:
            found = found.joined(replace(molecules, frame=molecules.frame + start))
            start += len(frames.y)
        return LoneSpots.of(replace(first, y=y, b=b), found)

    def lone(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return photons and crowding of the lone spots, or of all where hardly any is."""
        chosen = self.good if self.good.sum() >= FEWEST_SPOTS else np.ones_like(self.good)
        return self.photons[chosen], self.crowding[chosen]


def _fits(
    sample: NDArray[np.float32],
    background: NDArray[np.float32],
    lamp: NDArray[np.float32],
    lit: NDArray[np.float32],
    camera: CameraModel,
    spot: Spot,
    brightness: LearnedBrightness,
    mean: float,
    done: int,
) -> Job[_Fits]:
    """Find and fit the molecules of the sample, from nothing."""
    crowding = torch.as_tensor(estimate_crowding(sample, background, mean, spot.sigma_px, lamp))
    batch = max(1, BATCH_PIXELS // background.size)
    known = camera.read_variance
    variance = known if isinstance(known, float) else torch.as_tensor(known)
    parts, batches = [], []
    for start in range(0, len(sample), batch):
        y = torch.as_tensor(sample[start : start + batch])
        factor = torch.as_tensor(lamp[start : start + batch])
        b = torch.as_tensor(background) * factor[:, None, None]
        scale = float(lit[start : start + batch].mean())
        prior = brightness if scale == 1.0 else ScaledBrightness(brightness, scale)
        frames = Frames(y, b, spot, camera.excess_noise, variance, prior)
        selection = ModelSelection(frames, crowding, 0.0 if done == 0 else scale * mean, CAUTION)
        found = Molecules.none()
        for _ in range(ROUNDS):
            found = fit(selection.add(selection.split(found)), frames)
            yield Progress(min(done, PASSES - 1) + start / len(sample), PASSES)
        found = fit(selection.remove(found), frames)
        parts.append(
            (
                found.photons.double().numpy() / lit[start + found.frame.numpy()],
                selection.crowding_at(found).double().numpy(),
                _good(found, frames),
                frames.light(found).numpy(),
                lamp[start + found.frame.numpy()].astype(np.float64),
            )
        )
        batches.append((frames, found))
    photons, crowded, good, light, factors = map(np.concatenate, zip(*parts, strict=True))
    return _Fits(photons, crowded, good, light, factors, batches)


def _follow_lamp(fits: _Fits) -> bool:
    """Whether molecules are brighter where the background is, and not the same everywhere."""
    photons, factors = fits.photons[fits.good], fits.factors[fits.good]
    if len(photons) < 2 * FEWEST_SPOTS or np.ptp(factors) < LEAST_CHANGE:
        return False
    bright = factors > 0.5 * (factors.min() + factors.max())
    if min(bright.sum(), (~bright).sum()) < FEWEST_SPOTS:
        return False
    seen = math.log(float(np.median(photons[bright]) / np.median(photons[~bright])))
    lamp = math.log(float(factors[bright].mean() / factors[~bright].mean()))
    return seen > 0.5 * lamp


def _good(found: Molecules, frames: Frames) -> NDArray[np.bool_]:
    """Mask of the spots that stand alone, inside, and leave no more than noise."""
    if len(found) < 2:
        return np.zeros(len(found), dtype=bool)
    near = LONE_SIGMA * frames.sigma_px
    distance, _ = cKDTree(found.points(near)).query(found.points(near), 2)
    model = frames.spot_model(found)
    spots = model.light(found)
    residual, weight = frames.likelihood.residual_and_weight(spots)
    # squared residuals in units of the noise, weighted like the spot itself
    misfit = model.cut_out(residual.square() / weight)
    inside = model.cut_out(torch.ones_like(spots))
    shape = model.jacobian(found)[:, 2].clamp(min=0.0).sqrt() * inside
    total = shape.sum((1, 2))
    chi = (misfit * shape).sum((1, 2)) / total
    error = math.sqrt(2.0) * shape.square().sum((1, 2)).sqrt() / total
    size = found.position.new_tensor(spots.shape[1:])
    inner = ((found.position > 1) & (found.position < size - 1)).all(1)
    good = inner & (chi < 1.0 + LARGEST_CHI * error)
    return np.asarray((distance[:, 1] > near) & good.numpy())
