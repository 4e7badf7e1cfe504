"""One picture that tells how a reconstruction went."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.files.atomic import replacing
from napari_unfold.tables.chart import Chart

if TYPE_CHECKING:
    import pandas as pd


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
    from matplotlib.figure import Figure

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
    from matplotlib import colormaps, get_data_path
    from PIL import Image, ImageDraw, ImageFont

    zoom = max(1, math.ceil(_PICTURE_WIDTH / image.shape[1]))
    lit = image[image > 0]
    bright = float(np.percentile(lit, 99)) if lit.size else 1.0
    levels = np.multiply(image, 255.0 / bright, dtype=np.float32).clip(0, 255).astype(np.uint8)
    colours = (255 * colormaps["inferno"](np.arange(256))[:, :3]).round().astype(np.uint8)
    # a figure of matplotlib would take ten times as long for a large image
    picture = Image.fromarray(levels)
    picture.putpalette(colours.tobytes())
    picture = picture.resize((zoom * picture.width, zoom * picture.height)).convert("RGB")
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    length_nm = scale_bar_nm(image.shape[1] * pixel_size_nm)
    right, bottom = round(0.95 * width), round(0.95 * height)
    left = right - round(length_nm / pixel_size_nm * zoom)
    thick = max(2, width // 150)
    draw.rectangle((left, bottom - thick, right - 1, bottom), fill="white")
    text = f"{length_nm / 1000:g} µm" if length_nm >= 1000 else f"{length_nm:g} nm"
    typeface = Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    font = ImageFont.truetype(typeface, max(10, width // 45))
    above = ((left + right) / 2, bottom - 2 * thick)
    draw.text(above, text, fill="white", anchor="ms", font=font)
    with replacing(path) as temporary:
        picture.save(temporary, "PNG", compress_level=1)


def scale_bar_nm(width_nm: float) -> float:
    """Return a round length between a tenth and a quarter of a width: 1, 2 or 5 times 10^n nm."""
    power = 10.0 ** math.floor(math.log10(width_nm / 4))
    return max(step * power for step in (1, 2, 5) if step * power <= width_nm / 4)


_PICTURE_WIDTH = 800

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
