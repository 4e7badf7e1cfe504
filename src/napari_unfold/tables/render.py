"""Images of localizations: each one a Gaussian, or a count in a pixel.

The image begins at the origin of the table, the outer corner of the top-left camera pixel, so that
it lies over the stack. The light of a Gaussian is integrated over each pixel and sums to one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import ndtr

from napari_unfold.errors import InputError
from napari_unfold.jobs import Event, Job, Note, Progress, Stage
from napari_unfold.settings.tables import Rendering
from napari_unfold.tables.columns import validate

if TYPE_CHECKING:
    import pandas as pd

LARGEST_IMAGE_PIXELS = 2**28
"""1 GB of float32."""

_REACH_SIGMAS = 4.0
_PIXELS_AT_A_TIME = 2_000_000


@dataclass(frozen=True)
class RenderedImage:
    """An image of localizations.

    Attributes
    ----------
    image : array (Y, X), float32
        Localizations, or photons, per pixel.
    pixel_size_nm : float
    unit : str
        What a pixel counts: ``"localizations"`` or ``"photons"``.
    """

    image: NDArray[np.float32]
    pixel_size_nm: float
    unit: str


def render(
    table: pd.DataFrame, settings: Rendering, size_nm: tuple[float, float] | None = None
) -> Job[RenderedImage]:
    """Render localizations.

    Besides the image, memory does not grow with the number of localizations.

    Parameters
    ----------
    table : DataFrame
        Localizations, positions in nm from the outer corner.
    settings : Rendering
    size_nm : tuple of float, optional
        Height and width of the field; by default it ends with the last localization.

    Yields
    ------
    Event

    Returns
    -------
    RenderedImage

    Raises
    ------
    InputError
        If a width or a weight is not known, or the image would be too large.
    """
    table = validate(table)
    yield Stage("Rendering")
    yx = table[["y_nm", "x_nm"]].to_numpy() / settings.pixel_size_nm
    shape = _shape(yx, size_nm, settings)
    weight = _weight(table, settings)
    image = np.zeros(shape, np.float32)
    if settings.style == "histogram":
        count_in_pixels(image, yx, weight)
    else:
        width, note = _width(table, settings)
        if note:
            yield Note(note)
        yield from _draw_gaussians(image, yx, width / settings.pixel_size_nm, weight)
    unit = "photons" if settings.weight == "photons" else "localizations"
    return RenderedImage(image, settings.pixel_size_nm, unit)


def count_in_pixels(
    image: NDArray[np.float32], yx: NDArray[np.float64], weight: NDArray[np.float64] | float = 1.0
) -> None:
    """Add each point to the pixel it lies in; points outside are left out.

    Parameters
    ----------
    image : array (Y, X)
        Changed in place.
    yx : array (N, 2)
        In pixels from the outer corner of the first pixel.
    weight : array (N,) or float
    """
    index = np.floor(yx).astype(np.int64)
    inside = ((index >= 0) & (index < image.shape)).all(axis=1)
    weight = np.broadcast_to(weight, len(yx))[inside]
    np.add.at(image, (index[inside, 0], index[inside, 1]), weight.astype(np.float32))


def _draw_gaussians(
    image: NDArray[np.float32],
    yx: NDArray[np.float64],
    sigma: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> Iterator[Event]:
    """Add a Gaussian of each sigma (in pixels) at each position."""
    reach = np.ceil(np.minimum(_REACH_SIGMAS * sigma, max(image.shape))).astype(np.int64)
    # those of similar size are drawn together, neighbours first
    order = np.lexsort((yx[:, 0], reach))
    sorted_reach, done = reach[order], 0
    while done < len(order):
        largest = int(1.2 * sorted_reach[done])
        end = int(np.searchsorted(sorted_reach, largest, "right"))
        chosen = order[done : min(end, done + max(1, _PIXELS_AT_A_TIME // (2 * largest + 1) ** 2))]
        y, x = (
            _profiles(yx[chosen, axis], sigma[chosen], largest, image.shape[axis])
            for axis in (0, 1)
        )
        # the image of separable spots is the product of their profiles, summed over the spots
        spots = (y.multiply(weight[chosen, None]).T @ x).tocoo()
        image[spots.row, spots.col] += spots.data
        done += len(chosen)
        yield Progress(done, len(order))


def _profiles(
    position: NDArray[np.float64], sigma: NDArray[np.float64], reach: int, length: int
) -> Any:
    """Return the share of each Gaussian in each pixel along one axis, a sparse ``(N, length)``."""
    n, pixels = len(position), 2 * reach + 1
    first = np.floor(position).astype(np.int64) - reach
    edges = (np.arange(pixels + 1) - (position - first)[:, None]) / sigma[:, None]
    shares = np.diff(ndtr(edges), axis=1)
    index = first[:, None] + np.arange(pixels)
    outside = (index < 0) | (index >= length)
    shares[outside], index[outside] = 0.0, 0
    return csr_array((shares.ravel(), index.ravel(), np.arange(n + 1) * pixels), shape=(n, length))


def _shape(
    yx: NDArray[np.float64], size_nm: tuple[float, float] | None, settings: Rendering
) -> tuple[int, int]:
    pixel = settings.pixel_size_nm
    if size_nm is not None:
        # a whole number of pixels is meant even if the division says 640.0000001
        height, width = (max(1, math.ceil(side / pixel - 1e-6)) for side in size_nm)
    elif len(yx) and (yx.max(axis=0) >= 0).all():
        height, width = (int(end) + 1 for end in yx.max(axis=0))
    else:
        raise InputError("there are no localizations to render", "Choose another table")
    if height * width > LARGEST_IMAGE_PIXELS:
        raise InputError(
            f"an image of {width:,} x {height:,} pixels of {pixel:g} nm is too large",
            "Choose larger pixels, or keep the localizations of a smaller region",
            field="rendering.pixel_size_nm",
        )
    return height, width


def _weight(table: pd.DataFrame, settings: Rendering) -> NDArray[np.float64]:
    if settings.weight == "count":
        return np.ones(len(table))
    if "photons" not in table or not np.isfinite(table["photons"]).all():
        raise InputError(
            "the photons of these localizations are not known",
            "Let each localization count as one",
            field="rendering.weight",
        )
    return table["photons"].to_numpy(float)


def _width(table: pd.DataFrame, settings: Rendering) -> tuple[NDArray[np.float64], str]:
    """Return the sigma of each Gaussian in nm, and what there is to say about it."""
    if settings.width_nm != "auto":
        return np.full(len(table), float(settings.width_nm)), ""
    widths = table["uncertainty_nm"].to_numpy(float) if "uncertainty_nm" in table else np.empty(0)
    usable = np.isfinite(widths) & (widths > 0)
    if not usable.any() and len(table):
        raise InputError(
            "these localizations have no uncertainty to draw them by",
            "Give a width in nm, or render a histogram",
            field="rendering.width_nm",
        )
    if usable.all():
        return widths, ""
    typical = float(np.median(widths[usable]))
    missing = np.count_nonzero(~usable)
    return np.where(usable, widths, typical), (
        f"{missing:,} localizations without an uncertainty are drawn with the median one, "
        f"{typical:.3g} nm."
    )
