"""Training images for fluctuation imaging, simulated to resemble a stack."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unfold.fluctuation.statistics import FluctuationImages, TemporalStatistics, time_blocks
from napari_unfold.imaging.camera import CameraModel, noise_variance, to_photons
from napari_unfold.imaging.grid import Grid
from napari_unfold.jobs import Event, Progress, Stage
from napari_unfold.learning.appraisal import TrainingSet
from napari_unfold.settings.fluctuation import FluctuationImageName
from napari_unfold.simulation.photophysics import Blinking, FilamentPatterns, blink, record
from napari_unfold.simulation.switching import frame_variance, rate_of_correlation

N_PATTERNS = 12
PATTERN_SHAPE = (32, 32)
MAX_FRAMES = 300
MAX_EMITTERS = 20_000
SHARE_ON = 0.2
BRIGHTNESS_SPREAD = 0.3
SEED = 30_000


@dataclass(frozen=True)
class Emitters:
    """What a stack tells about its emitters, as far as a simulation needs it.

    Attributes
    ----------
    per_pixel : float
        Number of emitters per camera pixel, on average over the frame.
    blinking : Blinking
    background_photons : float
        Per camera pixel.
    """

    per_pixel: float
    blinking: Blinking
    background_photons: float


def estimate_emitters(
    images: FluctuationImages,
    noise: NDArray[np.float64],
    background: NDArray[np.floating],
    point_energy: float,
) -> Emitters:
    """Estimate number, brightness and blinking of the emitters from mean, variance and lag 1.

    For N emitters per pixel that are on for a share p of the time with B photons, the mean light is
    ``N p B`` and the variance ``N p (1 - p) B^2`` times the energy of a point's image (number and
    brightness analysis), less what a frame averages out of faster switching. p cannot be told from
    these; it is set to `SHARE_ON`, and matters little to what is learned.

    Parameters
    ----------
    images : FluctuationImages
        With the lags 0 and 1.
    noise : array (Y, X)
        Noise variance.
    background : array (Y, X)
    point_energy : float
        Sum of squares of the image of a one-photon molecule.
    """
    light = max(float((images.mean - background).mean()), 1e-6)
    variance = max(float((images.covariance[0] - noise).mean()), 1e-3 * float(noise.mean()))
    spread = 1.0 + BRIGHTNESS_SPREAD**2
    rate = rate_of_correlation(float(images.covariance[1].mean()) / variance)
    kept = (1.0 - SHARE_ON) * frame_variance(rate)
    photons = variance / (light * point_energy * kept * spread)
    blinking = Blinking(
        photons=photons,
        on_frames=1.0 / ((1.0 - SHARE_ON) * rate),
        off_frames=1.0 / (SHARE_ON * rate),
        brightness_spread=BRIGHTNESS_SPREAD,
    )
    return Emitters(light / (SHARE_ON * photons), blinking, float(np.median(background)))


def emitter_image(
    name: FluctuationImageName,
    images: FluctuationImages,
    noise: NDArray[np.float64],
    background: NDArray[np.floating] | float,
) -> NDArray[np.float64]:
    """Return the image that emitters alone would make: without noise variance or background."""
    if name == "variance":
        return np.asarray(images.covariance[0] - noise)
    if name == "lag-1":
        return images.covariance[1]
    return np.asarray(images.mean - background)


def simulate_patterns(
    name: FluctuationImageName,
    emitters: Emitters,
    grid: Grid,
    sigma_nm: float,
    camera: CameraModel,
    n_frames: int,
    block_frames: int,
) -> Generator[Event, None, TrainingSet]:
    """Simulate stacks of filaments and return their images with the true ones of the emitters.

    Their frames are those of equation (21), with the noise of the camera.

    Parameters
    ----------
    name : {"variance", "lag-1", "mean"}
    emitters : Emitters
    grid : Grid
        Its pixel size and upsampling count; the frames have `PATTERN_SHAPE`.
    sigma_nm : float
        PSF sigma.
    camera : CameraModel
    n_frames : int
        Of a stack; at most `MAX_FRAMES` are simulated.
    block_frames : int
        As in `Fluctuation`.
    """
    yield Stage("Simulating patterns")
    rng = np.random.default_rng(SEED)
    small = Grid(PATTERN_SHAPE, grid.pixel_size_nm, grid.upsampling)
    size_nm = np.array(PATTERN_SHAPE) * grid.pixel_size_nm
    patterns = FilamentPatterns(size_nm, rng)
    count = min(max(math.ceil(emitters.per_pixel * math.prod(PATTERN_SHAPE)), 50), MAX_EMITTERS)
    n_frames = min(n_frames, MAX_FRAMES)
    y, truth = [], []
    for i in range(N_PATTERNS):
        positions = patterns(count, rng)
        photons = blink(len(positions), n_frames, emitters.blinking, rng)
        movie = record(
            positions, photons, PATTERN_SHAPE, grid.pixel_size_nm, sigma_nm,
            emitters.background_photons, camera, rng,
        )  # fmt: skip
        seen = _images(to_photons(movie, camera), block_frames, camera)
        noise = noise_variance(seen.mean, camera)
        y.append(emitter_image(name, seen, noise, emitters.background_photons))
        truth.append(_true_image(name, positions, photons, small, block_frames))
        yield Progress(i + 1, N_PATTERNS)
    return TrainingSet(
        torch.tensor(np.array(y), dtype=torch.float32),
        torch.zeros(PATTERN_SHAPE),
        torch.tensor(np.array(truth), dtype=torch.float32),
    )


def _images(
    frames: NDArray[np.floating], block_frames: int, camera: CameraModel | None
) -> FluctuationImages:
    """Temporal statistics of frames in memory, taken as those of a stack."""
    statistics = TemporalStatistics()
    for first, last in time_blocks(len(frames), block_frames, statistics.smallest_block):
        statistics.add(frames[first:last])
        statistics.end_block()
    if camera is None:
        return statistics.images()
    return statistics.images(noise_variance(statistics.images().mean, camera))


def _true_image(
    name: FluctuationImageName,
    positions_nm: NDArray[np.floating],
    photons: NDArray[np.floating],
    grid: Grid,
    block_frames: int,
) -> NDArray[np.float64]:
    """Return the same statistic of the light of the emitters, summed in fine pixels."""
    of_emitters = _images(photons[:, None, :], block_frames, None)
    values = emitter_image(name, of_emitters, np.zeros(1), 0.0)[0]
    rows, columns = np.floor(positions_nm.T / grid.fine_pixel_nm).astype(int)
    image = np.zeros(grid.fine_shape)
    np.add.at(image, (rows, columns), np.maximum(values, 0.0))
    return image
