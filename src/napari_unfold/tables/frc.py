"""Resolution by Fourier ring correlation (Nieuwenhuizen et al., Nature Methods 10 (2013) 557).

The localizations are divided into two halves, each is rendered, and the two images are compared
ring by ring in frequency space. The resolution is the period at which the correlation has fallen
to 1/7. It holds for the image as a whole: structure, density and precision together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.signal.windows import tukey

from napari_unfold.errors import InputError
from napari_unfold.jobs import Job, Note, Progress, Stage
from napari_unfold.settings.tables import Resolution
from napari_unfold.tables.chart import Chart
from napari_unfold.tables.columns import validate
from napari_unfold.tables.drift import divide_frames
from napari_unfold.tables.render import count_in_pixels

if TYPE_CHECKING:
    import pandas as pd

THRESHOLD = 1.0 / 7.0

_SMALLEST_PIXEL_NM = 5.0
_LARGEST_IMAGE_PIXELS = 4096
_BLOCKS = 20
_EDGE = 0.25
"""Share of each side, in all, over which the window falls to zero."""
_FEWEST_RINGS = 10
"""The field itself, lit everywhere, correlates over the first few rings."""
_SMOOTHED_SHARE = 0.15
"""Rings that differ in frequency by less than this share are averaged before the threshold is
looked for: enough against the noise, and at a Gaussian's fall to 1/7 wrong by one percent."""


@dataclass(frozen=True)
class RingCorrelation:
    """Fourier ring correlation of two halves of a table.

    Attributes
    ----------
    resolution_nm : float
        Period at which the smoothed correlation first falls to 1/7.
    curve : DataFrame
        Columns ``frequency_per_um``, ``correlation`` and ``smoothed``, one row for each ring.
    pixel_size_nm : float
        Of the images that were compared.
    halves : str
        How the table was divided, in words.
    """

    resolution_nm: float
    curve: pd.DataFrame
    pixel_size_nm: float
    halves: str

    def chart(self) -> Chart:
        """Return the correlation over the frequency, up to three times the resolution."""
        frequency = self.curve["frequency_per_um"].to_numpy()
        crossing = 1000.0 / self.resolution_nm
        shown = frequency <= 3.0 * crossing
        curves = {
            name: (frequency[shown], self.curve[column].to_numpy()[shown])
            for name, column in (("each ring", "correlation"), ("smoothed", "smoothed"))
        }
        point = {"smoothed": (np.array([crossing]), np.array([THRESHOLD]))}
        title = f"Fourier ring correlation: {self.resolution_nm:.1f} nm"
        return Chart(title, "frequency (1/µm)", "correlation", curves, point, THRESHOLD)


def measure_resolution(
    table: pd.DataFrame, settings: Resolution, seed: int = 0
) -> Job[RingCorrelation]:
    """Measure the resolution of a table of localizations.

    Parameters
    ----------
    table : DataFrame
        Localizations with the columns of `napari_unfold.tables.columns`, in any order.
    settings : Resolution
    seed : int
        Of the random division; the same seed divides in the same way.

    Yields
    ------
    Event

    Returns
    -------
    RingCorrelation

    Raises
    ------
    InputError
        If the table cannot be divided, or the curve does not cross the threshold.
    """
    import pandas as pd

    table = validate(table)
    yield Stage("Rendering both halves")
    xy = table[["x_nm", "y_nm"]].to_numpy()
    in_second, halves = _divide(table["frame"].to_numpy(), settings, seed)
    pixel_nm = _pixel_nm(xy, settings)
    position = (xy - xy.min(axis=0)) / pixel_nm
    shape = np.floor(position.max(axis=0)).astype(int) + 1
    images = [np.zeros(shape, np.float32) for _ in range(2)]
    for number, (image, chosen) in enumerate(zip(images, (~in_second, in_second), strict=True)):
        count_in_pixels(image, position[chosen])
        yield Progress(number + 1, 2)
    yield Stage("Correlating them ring by ring")
    frequency, correlation = ring_correlation(*images)
    smoothed = _smooth(frequency, correlation)
    period = _crossing(frequency, smoothed, pixel_nm)
    curve = pd.DataFrame(
        {
            "frequency_per_um": frequency * 1000.0 / pixel_nm,
            "correlation": correlation,
            "smoothed": smoothed,
        }
    )
    yield Note(f"Halves: {halves}; pixels of {pixel_nm:.3g} nm.")
    return RingCorrelation(period * pixel_nm, curve, pixel_nm, halves)


def ring_correlation(
    first: NDArray[np.floating], second: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Correlate two images ring by ring in frequency space.

    Parameters
    ----------
    first, second : array (Y, X)
        Two images of the same field. They are faded out at their edges.

    Returns
    -------
    frequency : array (R,)
        Mean of each ring in cycles per pixel, from above 0 to 1/2. Rings are as wide as one
        period over the longer side of the image.
    correlation : array (R,)
        ``sum(F1 conj(F2)) / sqrt(sum(|F1|^2) sum(|F2|^2))``, from -1 to 1; 0 in rings without
        any light.
    """
    height, width = first.shape
    window = tukey(height, _EDGE)[:, None] * tukey(width, _EDGE)[None, :]
    shape = [fft.next_fast_len(n, real=True) for n in first.shape]
    one, two = (
        fft.rfft2((image * window).astype(np.float32), s=shape) for image in (first, second)
    )
    radius = np.hypot(fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :])
    ring = np.rint(radius * max(shape)).astype(np.intp).ravel()
    rings = max(shape) // 2 + 1

    def total(values: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.bincount(ring, values.ravel(), rings)[1:rings].astype(np.float64)

    cross = total((one * np.conj(two)).real)
    power = np.sqrt(total(np.abs(one) ** 2) * total(np.abs(two) ** 2))
    mean_radius = total(radius) / np.maximum(total(np.ones_like(radius)), 1.0)
    correlation = np.divide(cross, power, out=np.zeros_like(cross), where=power > 0)
    return mean_radius, correlation


def _divide(
    frame: NDArray[np.int64], settings: Resolution, seed: int
) -> tuple[NDArray[np.bool_], str]:
    """Return which localizations are in the second half, and how that was decided."""
    if len(frame) < 2:
        raise InputError(
            f"{len(frame)} localizations cannot be divided into halves", "Choose another table"
        )
    if settings.halves == "random":
        order = np.random.default_rng(seed).permutation(len(frame))
        return order % 2 == 1, "random"
    blocks = min(_BLOCKS, len(np.unique(frame)))
    if blocks < 2:
        raise InputError(
            "all localizations are in one frame, which cannot be divided into blocks",
            "Divide them at random",
            field="resolution.halves",
        )
    block = divide_frames(frame, blocks)
    return block % 2 == 1, f"{block.max() + 1} blocks of frames, alternating"


def _pixel_nm(xy: NDArray[np.float64], settings: Resolution) -> float:
    size = float(np.ptp(xy, axis=0).max())
    if settings.pixel_size_nm == "auto":
        return max(_SMALLEST_PIXEL_NM, size / _LARGEST_IMAGE_PIXELS)
    if size / settings.pixel_size_nm > 4 * _LARGEST_IMAGE_PIXELS:
        raise InputError(
            f"pixels of {settings.pixel_size_nm:g} nm are too small for a field of "
            f"{size / 1000:.0f} µm",
            "Choose larger pixels, or keep the localizations of a smaller region",
            field="resolution.pixel_size_nm",
        )
    return settings.pixel_size_nm


def _smooth(
    frequency: NDArray[np.float64], correlation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean over the rings within a share of each frequency; outer rings hold more pixels."""
    ring = np.arange(1, len(correlation) + 1)
    first = np.ceil(ring / (1.0 + _SMOOTHED_SHARE)).astype(np.intp) - 1
    last = np.minimum(np.floor(ring * (1.0 + _SMOOTHED_SHARE)).astype(np.intp), len(ring))
    weighted, weight = (
        np.concatenate([[0.0], np.cumsum(values)])
        for values in (frequency * correlation, frequency)
    )
    return np.asarray((weighted[last] - weighted[first]) / (weight[last] - weight[first]))


def _crossing(
    frequency: NDArray[np.float64], correlation: NDArray[np.float64], pixel_nm: float
) -> float:
    """Return the period, in pixels, at which the correlation first falls to the threshold."""
    below = correlation < THRESHOLD
    if not below.any():
        raise InputError(
            f"the resolution is finer than two pixels of {pixel_nm:.3g} nm",
            "Choose smaller pixels",
            field="resolution.pixel_size_nm",
        )
    end = int(below.argmax())
    if end < _FEWEST_RINGS:
        raise InputError(
            "the two halves of the localizations have nothing in common",
            "Use more frames, or divide them in the other way",
            field="resolution.halves",
        )
    (f0, f1), (c0, c1) = frequency[end - 1 : end + 1], correlation[end - 1 : end + 1]
    return float(1.0 / (f0 + (f1 - f0) * (c0 - THRESHOLD) / (c0 - c1)))
