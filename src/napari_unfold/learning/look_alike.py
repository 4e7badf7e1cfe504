"""Frames with known molecules that look like those of a stack, as far as the stack tells.

Optics, camera and background are those that were seen, pixel by pixel. Molecules are as many, as
bright and on for as long, and lie where the light of the stack comes from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unfold.estimation.observe import MoleculeObservation
from napari_unfold.imaging.camera import to_photons
from napari_unfold.imaging.forward import ForwardOperator, forward_operator
from napari_unfold.imaging.grid import Grid
from napari_unfold.learning.appraisal import TrainingSet, truth_images
from napari_unfold.localization.brightness import LearnedBrightness
from napari_unfold.localization.profiles import Spot
from napari_unfold.localization.spots import Molecules, SpotModel
from napari_unfold.reconstruction.batch import Region
from napari_unfold.reconstruction.try_here import cropped
from napari_unfold.settings.explain import checked
from napari_unfold.settings.simulation import Sample
from napari_unfold.simulation.brightness import Brightness, SampledBrightness
from napari_unfold.simulation.scenes import SEEN_SHARE, Simulation, acquire
from napari_unfold.simulation.sensor import Sensor
from napari_unfold.simulation.structures import Structure
from napari_unfold.simulation.switching import Switching

TILE_PX = 32
"""Side of the parts of the field that are simulated, in camera pixels."""

SHARPENINGS = 20
"""Steps of Richardson and Lucy on the mean light; more would make filaments of chance molecules."""

OFF_TIMES = 50.0
"""Mean off-time in units of the on-time: molecules are dark most of the time."""

BIN, BINS, UNMIXINGS = 0.05, 160, 30
"""Of the logarithm of photons, in which whole frames are told from parts of frames."""


@dataclass(frozen=True)
class LookAlike:
    """A part of the field of a stack, which can be simulated again and again.

    Attributes
    ----------
    region : tuple of slice
        Rows and columns in the stack.
    seen : MoleculeObservation
        What is known of this part.
    place : Structure
        Where molecules are, such as `Places`.
    at_a_time : float
        Molecules that are on at a time, those around the part that shine in included.
    brightness : SampledBrightness or Brightness
        Light of a molecule that is on throughout a frame.
    on_frames : float or None
        Mean on-time; None if every frame shows other molecules.
    """

    region: Region
    seen: MoleculeObservation
    place: Structure
    at_a_time: float
    brightness: SampledBrightness | Brightness
    on_frames: float | None

    def record(self, frames: int, seed: int) -> Simulation:
        """Simulate a sequence of frames; the same seed gives the same."""
        seen, shape = self.seen, self.seen.shape
        pixel_nm = seen.recipe.optics.pixel_size_nm
        area_um2 = math.prod(shape) * pixel_nm**2 / 1e6
        lamp = seen.lamp
        flickers = lamp.weight > 0 and lamp.lights_molecules
        sample = {
            "frames": frames,
            "height_px": shape[0],
            "width_px": shape[1],
            "density_per_um2": self.at_a_time / area_um2,
            "on_frames": self.on_frames,
            "off_frames": OFF_TIMES * (self.on_frames or 1.0),
            "lamp_flicker": min(math.sqrt(lamp.weight) * lamp.scatter, 1.0) if flickers else 0.0,
            "seed": seed,
        }
        return acquire(
            checked(Sample, sample),
            recipe=seen.recipe,
            spot=SeenSpot(seen.spot, pixel_nm),
            sensor_maps=_sensor(seen),
            place=self.place,
            brightness=self.brightness,
            background=seen.background,
        )

    def known(self, made: Simulation, pedestal: float, device: torch.device) -> TrainingSet:
        """Return simulated frames as a network sees them.

        Parameters
        ----------
        made : Simulation
            What was recorded.
        pedestal : float
            Photons to be added to data and background alike.
        device : torch.device
        """
        seen, recipe = self.seen, self.seen.recipe
        grid = Grid(seen.shape, recipe.optics.pixel_size_nm, recipe.solver.upsampling)
        photons = to_photons(made.stack.astype(np.float32), seen.camera)
        background = made.background_course[:, None, None] * made.background
        truth = truth_images(made.truth, range(len(photons)), grid, seen.molecule_photons)
        y, b, images = (
            torch.as_tensor(np.asarray(each, dtype=np.float32), device=device)
            for each in (photons, background, truth)
        )
        return TrainingSet(y + pedestal, b + pedestal, images)


@dataclass(frozen=True)
class Places:
    """Draws positions by a map of the density of molecules.

    Parameters
    ----------
    share : array (rows, columns)
        Probability of a fine pixel.
    fine_nm : float
        Side of a fine pixel.
    origin_nm : array (2,)
        y and x of the corner of the map.
    """

    share: NDArray[np.float64]
    fine_nm: float
    origin_nm: NDArray[np.float64]

    def __call__(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return positions ``(count, 2)``, y and x in nm."""
        chosen = rng.choice(self.share.size, count, p=self.share.ravel())
        corner = np.stack(np.unravel_index(chosen, self.share.shape), axis=1)
        return np.asarray((corner + rng.random((count, 2))) * self.fine_nm + self.origin_nm)


@dataclass(frozen=True)
class SeenSpot:
    """The image of a molecule as it was measured on the stack, or stated.

    Parameters
    ----------
    spot : Spot
    pixel_size_nm : float
    """

    spot: Spot
    pixel_size_nm: float

    @property
    def sigma_nm(self) -> float:
        """Sigma of the Gaussian that looks most alike."""
        return self.spot.sigma_px * self.pixel_size_nm

    def light(
        self,
        y_nm: NDArray[np.floating],
        x_nm: NDArray[np.floating],
        depth_nm: NDArray[np.floating],
        photons: NDArray[np.floating],
        shape: tuple[int, int],
        pixel_size_nm: float,
    ) -> NDArray[np.float64]:
        """See `simulation.spot_shapes.SpotShape`; all molecules are in focus."""
        del depth_nm
        position = torch.as_tensor(np.stack([y_nm, x_nm], axis=1) / pixel_size_nm)
        molecules = Molecules(
            torch.zeros(len(position), dtype=torch.long), position, torch.as_tensor(photons)
        )
        model = SpotModel((1, *shape), self.spot)
        model.locate(molecules)
        return np.asarray(model.light(molecules)[0].numpy(), dtype=np.float64)


def look_alikes(seen: MoleculeObservation, on_frames: float | None, count: int) -> list[LookAlike]:
    """Return parts of the field, chosen so that they stand for all molecules of the stack.

    Parameters
    ----------
    seen : MoleculeObservation
    on_frames : float or None
        Mean on-time, see `mean_on_frames`.
    count : int
        Parts to return, if the field has as many.
    """
    brightness = full_frame_brightness(seen, on_frames)
    return [_look_alike(seen, t, brightness, on_frames) for t in chosen_tiles(seen.crowding, count)]


def chosen_tiles(crowding: NDArray[np.floating], count: int) -> list[Region]:
    """Return tiles at even quantiles of the molecules, ordered by how crowded the tiles are."""
    rows, columns = (_starts(size) for size in crowding.shape)
    tiles = sorted(
        ((r, c) for r in rows for c in columns), key=lambda tile: float(crowding[tile].sum())
    )
    molecules = np.cumsum([float(crowding[tile].sum()) for tile in tiles])
    wanted = (np.arange(count) + 0.5) / count * molecules[-1]
    chosen = np.minimum(np.searchsorted(molecules, wanted), len(tiles) - 1)
    return [tiles[i] for i in dict.fromkeys(chosen.tolist())]


def _starts(size: int) -> list[slice]:
    side = min(TILE_PX, size)
    starts = dict.fromkeys([*range(0, size - side + 1, side), size - side])
    return [slice(start, start + side) for start in starts]


def _look_alike(
    seen: MoleculeObservation,
    region: Region,
    brightness: SampledBrightness | Brightness,
    on_frames: float | None,
) -> LookAlike:
    margin = math.ceil(3.0 * seen.psf.sigma_px)
    wide = tuple(
        slice(max(part.start - margin, 0), min(part.stop + margin, size))
        for part, size in zip(region, seen.shape, strict=True)
    )
    area = 4.0 * math.pi * seen.psf.sigma_px**2
    # as many molecules of this brightness as give the light that was seen
    per_pixel = seen.crowding[wide] / area * seen.molecule_photons / brightness.photons
    upsampling = seen.recipe.solver.upsampling
    operator = forward_operator(per_pixel.shape, upsampling, seen.psf)
    density = sharpened(operator, torch.as_tensor(per_pixel, dtype=torch.float32)).double().numpy()
    pixel_nm = seen.recipe.optics.pixel_size_nm
    origin = [(w.start - part.start) * pixel_nm for w, part in zip(wide, region, strict=True)]
    return LookAlike(
        region=region,
        seen=cropped(seen, region),
        place=Places(density / density.sum(), pixel_nm / upsampling, np.array(origin)),
        at_a_time=float(density.sum()),
        brightness=brightness,
        on_frames=on_frames,
    )


def sharpened(operator: ForwardOperator, light: torch.Tensor) -> torch.Tensor:
    """Return where on the fine grid the mean light ``(Y, X)`` comes from.

    A few steps of Richardson (J. Opt. Soc. Am. 62, 55, 1972) and Lucy (Astron. J. 79, 745, 1974),
    which keep the light as a whole.
    """
    reach = operator.adjoint(torch.ones_like(light)).clamp(min=1e-6)
    x = torch.full_like(reach, float(light.mean()) * light.numel() / reach.numel())
    for _ in range(SHARPENINGS):
        x = x * operator.adjoint(light / operator.forward(x).clamp(min=1e-12)) / reach
    return x


def full_frame_brightness(
    seen: MoleculeObservation, on_frames: float | None
) -> SampledBrightness | Brightness:
    """Return the light of molecules that are on throughout a frame.

    Lone spots show the light of single frames, in the first and last of which a molecule is on for
    a part only. The shares of frames are known from the on-time; what is left of the distribution
    without them is found by the steps of `sharpened`, on the logarithm of photons.
    """
    seen_light = seen.brightness
    if not isinstance(seen_light, LearnedBrightness):
        return Brightness(seen.molecule_photons)
    photons, weights = seen_light.photons, seen_light.weights / seen_light.weights.sum()
    if on_frames is None:
        return SampledBrightness(photons, weights)
    first = math.log(float(photons.max())) - (BINS - 1) * BIN
    place = np.rint((np.log(photons) - first) / BIN).astype(int)
    counts = np.bincount(np.maximum(place, 0), weights, BINS)
    shares = part_shares(on_frames)
    whole = np.full(BINS, 1.0 / BINS)
    for _ in range(UNMIXINGS):
        mixed = np.convolve(whole, shares)[len(shares) - 1 :]
        ratio = counts / np.maximum(mixed, 1e-12)
        whole = whole * np.convolve(ratio, shares[::-1])[:BINS]
        whole /= whole.sum()
    return SampledBrightness(np.exp(first + BIN * np.arange(BINS)), whole)


def part_shares(on_frames: float) -> NDArray[np.float64]:
    """Return how often a frame is lit for a part of it, in bins of the logarithm, 1 as the last."""
    rng = np.random.default_rng(0)
    switching = Switching(on_frames, OFF_TIMES * on_frames)
    _, _, share = switching.on_shares(20_000, 20, rng)
    share = share[share >= SEEN_SHARE]
    last = math.ceil(-math.log(SEEN_SHARE) / BIN)
    counts = np.bincount(last + np.rint(np.log(share) / BIN).astype(int), minlength=last + 1)
    return np.asarray(counts / counts.sum())


def _sensor(seen: MoleculeObservation) -> Sensor:
    camera = seen.camera
    offset, gain, noise = (
        np.broadcast_to(np.asarray(values, dtype=np.float64), seen.shape)
        for values in (camera.offset_adu, camera.adu_per_photon, camera.read_noise_photons)
    )
    return Sensor(offset, gain, noise, camera.excess_noise)
