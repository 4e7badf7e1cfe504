"""The molecules that light up in each frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.settings.simulation import Sample
from napari_unfold.simulation.brightness import Brightness, SampledBrightness
from napari_unfold.simulation.structures import Structure, structure
from napari_unfold.simulation.switching import Switching

MOST_EMITTERS = 5_000_000
"""Their switching is held in memory at once."""


@dataclass(frozen=True)
class Molecules:
    """Those that are on in a frame, for however short a time.

    Attributes
    ----------
    position_nm : array (N, 2)
        y and x, corner origin.
    depth_nm : array (N,)
        Distance from the focus.
    photons : array (N,)
        Light in this frame.
    share_on : array (N,)
        Share of the frame in which the molecule is on.
    track : array (N,)
        Number of the molecule, the same in all its frames.
    """

    position_nm: NDArray[np.float64]
    depth_nm: NDArray[np.float64]
    photons: NDArray[np.float64]
    share_on: NDArray[np.float64]
    track: NDArray[np.intp]


def molecules_of_frames(
    sample: Sample,
    size_nm: NDArray[np.floating],
    rng: np.random.Generator,
    for_depth: np.random.Generator,
    place: Structure | None = None,
    brightness: Brightness | SampledBrightness | None = None,
) -> Iterator[Molecules]:
    """Draw a structure, then the molecules of one frame after the other.

    Parameters
    ----------
    sample : Sample
    size_nm : array (2,)
        Height and width of the field of view.
    rng : numpy.random.Generator
        Draws whatever is not said of the others.
    for_depth : numpy.random.Generator
        Draws the distances from the focus.
    place : Structure, optional
        Instead of the scene of `sample`.
    brightness : Brightness, optional
        Instead of that of `sample`.
    """
    place = place or structure(sample.scene, size_nm, rng)
    brightness = brightness or Brightness(
        sample.molecule_photons, sample.brightness_spread, sample.brightness
    )
    at_a_time = sample.density_per_um2 * float(size_nm.prod()) / 1e6
    if sample.on_frames is None:
        return _others_in_every_frame(sample, place, brightness, at_a_time, rng, for_depth)
    switching = Switching(sample.on_frames, sample.off_frames, sample.bleaching_frames or math.inf)
    return _switching(sample, place, brightness, switching, at_a_time, rng, for_depth)


def _others_in_every_frame(
    sample: Sample,
    place: Structure,
    brightness: Brightness | SampledBrightness,
    at_a_time: float,
    rng: np.random.Generator,
    for_depth: np.random.Generator,
) -> Iterator[Molecules]:
    seen = 0
    for _ in range(sample.frames):
        count = rng.poisson(at_a_time)
        yield Molecules(
            position_nm=place(count, rng),
            photons=brightness.draw(count, rng),
            depth_nm=for_depth.normal(0.0, sample.depth_nm, count),
            share_on=np.ones(count),
            track=np.arange(seen, seen + count),
        )
        seen += count


def _switching(
    sample: Sample,
    place: Structure,
    brightness: Brightness | SampledBrightness,
    switching: Switching,
    at_a_time: float,
    rng: np.random.Generator,
    for_depth: np.random.Generator,
) -> Iterator[Molecules]:
    if at_a_time / switching.share_on > MOST_EMITTERS:
        raise InputError(
            f"{at_a_time:.3g} molecules that are on {switching.share_on:.2g} of the time would "
            f"take {at_a_time / switching.share_on:.2g} in all, more than can be simulated",
            "Shorten the off-time, or simulate fewer or a smaller frame",
            field="sample.off_frames",
        )
    count = rng.poisson(at_a_time / switching.share_on)
    position_nm, photons = place(count, rng), brightness.draw(count, rng)
    depth_nm = for_depth.normal(0.0, sample.depth_nm, count)
    frame, emitter, share = switching.on_shares(count, sample.frames, rng)
    bounds = np.searchsorted(frame, np.arange(sample.frames + 1))
    for start, stop in pairwise(bounds):
        on, share_on = emitter[start:stop], share[start:stop]
        yield Molecules(
            position_nm=position_nm[on],
            depth_nm=depth_nm[on],
            photons=photons[on] * share_on,
            share_on=share_on,
            track=on,
        )
