"""One picture that tells how a reconstruction went."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.files.atomic import replacing
from napari_unfold.tables.chart import Chart


def histogram_image(
    localizations: pd.DataFrame, shape: tuple[int, int], pixel_size_nm: float, bin_nm: float
) -> NDArray[np.float64]:
    """Count localizations in square bins.

    Parameters
    ----------
    localizations : DataFrame
        With the columns x_nm and y_nm.
    shape : tuple of int
        Camera pixels ``(Y, X)``.
    pixel_size_nm, bin_nm : float
        Side of a camera pixel, and of a bin.

    Returns
    -------
    array (Y', X')
        Number of localizations.
    """
    size_nm = [n * pixel_size_nm for n in shape]
    edges = [np.arange(round(size / bin_nm) + 1) * bin_nm for size in size_nm]
    counts, _, _ = np.histogram2d(localizations["y_nm"], localizations["x_nm"], bins=edges)
    return np.asarray(counts)


def save_figure(
    path: Path,
    wide_field: NDArray[np.floating],
    image: NDArray[np.floating],
    found: pd.DataFrame,
    truth: pd.DataFrame,
    pixel_size_nm: float,
    title: str,
) -> None:
    """Draw wide-field image, reconstruction, localizations and truth side by side, as a PNG.

    Parameters
    ----------
    path : Path
    wide_field : array (Y, X)
        Mean camera frame.
    image : array (qY, qX)
        Mean reconstruction.
    found, truth : DataFrame
        Localization tables.
    pixel_size_nm : float
        Of the camera.
    title : str
    """
    shape = wide_field.shape[0], wide_field.shape[1]
    bin_nm = pixel_size_nm / 4
    panels = [
        ("Camera, mean of all frames", wide_field),
        ("Reconstruction", image),
        ("Localizations", histogram_image(found, shape, pixel_size_nm, bin_nm)),
        ("Truth", histogram_image(truth, shape, pixel_size_nm, bin_nm)),
    ]
    extent_um = (0, shape[1] * pixel_size_nm / 1000, shape[0] * pixel_size_nm / 1000, 0)
    figure = Figure(figsize=(14, 4.4), layout="constrained")
    axes: Any = figure.subplots(1, len(panels), sharex=True, sharey=True)
    for axis, (name, picture) in zip(axes, panels, strict=True):
        bright = float(np.percentile(picture[picture > 0], 99)) if (picture > 0).any() else 1.0
        axis.imshow(picture, cmap="inferno", extent=extent_um, vmin=picture.min(), vmax=bright)
        axis.set_title(name)
        axis.set_xlabel("x (µm)")
    axes[0].set_ylabel("y (µm)")
    figure.suptitle(title)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def save_picture(image: NDArray[np.floating], path: Path, pixel_size_nm: float) -> None:
    """Write an image as a PNG with a scale bar, for slides and mail.

    Parameters
    ----------
    image : array (Y, X)
    path : Path
    pixel_size_nm : float
        Of the image; every pixel becomes one or more of the picture.
    """
    height, width = image.shape
    zoom = max(1, math.ceil(_PICTURE_WIDTH / width))
    figure = Figure(figsize=(width * zoom / _DPI, height * zoom / _DPI), dpi=_DPI)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    lit = image[image > 0]
    bright = float(np.percentile(lit, 99)) if lit.size else 1.0
    axes.imshow(image, cmap="inferno", vmin=0, vmax=bright, interpolation="nearest", aspect="auto")
    length_nm = scale_bar_nm(width * pixel_size_nm)
    right, bottom = 0.95 * width, 0.95 * height
    left = right - length_nm / pixel_size_nm
    axes.plot([left, right], [bottom, bottom], color="white", lw=4, solid_capstyle="butt")
    text = f"{length_nm / 1000:g} µm" if length_nm >= 1000 else f"{length_nm:g} nm"
    axes.text((left + right) / 2, 0.94 * height, text, color="white", ha="center", va="bottom")
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    with replacing(path) as temporary:
        figure.savefig(temporary)


def scale_bar_nm(width_nm: float) -> float:
    """Return a round length between a tenth and a quarter of a width: 1, 2 or 5 times 10^n nm."""
    power = 10.0 ** math.floor(math.log10(width_nm / 4))
    return max(step * power for step in (1, 2, 5) if step * power <= width_nm / 4)


_DPI, _PICTURE_WIDTH = 100, 800

_FORMATS = (".png", ".pdf", ".svg")


def check_figure_name(path: Path) -> None:
    """Raise an `InputError` if `path` does not end like a figure."""
    if path.suffix.lower() not in _FORMATS:
        raise InputError(
            f"'{path}' does not end in {', '.join(_FORMATS)}", "Give the figure such a name"
        )


def save_chart(chart: Chart, path: Path) -> None:
    """Save a chart as PNG, PDF or SVG, by the end of the name."""
    from matplotlib.figure import Figure

    check_figure_name(path)
    figure = Figure(figsize=(6.0, 3.6), layout="constrained")
    axes = figure.subplots()
    chart.draw_on(axes)
    axes.set_title(chart.title)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.legend(frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
