"""Some frames of a stack as network and localizer are given them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from napari_unfold.imaging.camera import to_photons
from napari_unfold.localization.follow import Chunk
from napari_unfold.localization.localizer import Localizations
from napari_unfold.reconstruction.look import Look
from napari_unfold.reconstruction.prepare import Setup

Region = tuple[slice, slice]
"""Rows and columns."""

WHOLE: Region = (slice(None), slice(None))


@dataclass(frozen=True)
class Batch:
    """Frames in photons with what is known of them; where frames are coupled, with neighbours.

    Attributes
    ----------
    y, b : tensor (B, Y, X)
        Frames and background in photons, neighbours included.
    follows : tensor (B,), bool
        Which frames came directly after the one before them.
    inner : slice
        The frames without their neighbours.
    ignored : tensor (T, Y, X), bool, or None
        Pixels of the inner frames that tell nothing.
    lit : float
        How bright molecules are in them, relative to the stack.
    background : array (T, Y, X)
        Of the inner frames.
    """

    y: torch.Tensor
    b: torch.Tensor
    follows: torch.Tensor
    inner: slice
    ignored: torch.Tensor | None
    lit: float
    background: NDArray[np.floating]

    @classmethod
    def read(cls, known: Look, setup: Setup, start: int, stop: int, region: Region = WHOLE) -> Self:
        """Read the frames from `start` up to, not including, `stop`.

        Parameters
        ----------
        known : Look
        setup : Setup
            For the region.
        start, stop : int
            Numbers of frames among those that can be used.
        region : tuple of slice
            Rows and columns.
        """
        seen, check = known.seen, known.check
        first, last = setup.with_neighbours(start, stop, len(known.usable))
        inner = slice(start - first, stop - first)
        grey = known.usable.read(first, last)
        frames = to_photons(grey, seen.camera)
        factors = seen.lamp.factors(frames, seen.background, seen.camera)
        frames = frames[:, *region]
        background = seen.background[region] * factors[:, None, None]
        unusable = check.unusable(grey[inner], start)
        if unusable is not None:
            unusable = unusable[:, *region]
        device = setup.device
        return cls(
            y=torch.as_tensor(frames, device=device),
            b=torch.as_tensor(background, device=device),
            follows=torch.as_tensor(check.follows[first:last], device=device),
            inner=inner,
            ignored=None if unusable is None else torch.as_tensor(unusable, device=device),
            lit=float(factors[inner].mean()) if seen.lamp.lights_molecules else 1.0,
            background=background[inner],
        )

    def chunk(self, setup: Setup, found: Localizations) -> Chunk:
        """Return the frames with what was found in them."""
        frames = setup.localizer.frames(
            self.y[self.inner], self.b[self.inner], self.ignored, self.lit
        )
        return Chunk(frames, self.lit, found, self.background)
