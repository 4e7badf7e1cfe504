"""Drift of the stage, found from the localizations themselves.

Redundant cross-correlation (Wang et al., Optics Express 22 (2014) 15982): the frames are divided
into blocks, each block is rendered, every block is compared with every other one, and the drift
that explains all these shifts best is interpolated over the frames.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.interpolate import CubicSpline
from scipy.optimize import least_squares

from napari_unfold.errors import InputError
from napari_unfold.jobs import Event, Job, Note, Progress, Stage
from napari_unfold.settings.tables import Drift
from napari_unfold.tables.chart import Chart
from napari_unfold.tables.columns import validate
from napari_unfold.tables.render import count_in_pixels

if TYPE_CHECKING:
    import pandas as pd

_SMALLEST_PIXEL_NM = 20.0
_LARGEST_IMAGE_PIXELS = 2048
_PEAK_RADIUS_PIXELS = 3
_BLOCK_LOCALIZATIONS = 400
"""With fewer, single comparisons begin to fail on filaments located to 30 nm."""
_FEWEST_BLOCKS, _MANY_BLOCKS, _MOST_BLOCKS = 5, 20, 60
_PLENTY_LOCALIZATIONS = 2500
"""A block of so many is located so well that more than `_MANY_BLOCKS` follow the drift better."""
_MOST_COMPARED_PIXELS = 2**29
"""In all pairs of blocks together: some ten seconds, beyond `_MANY_BLOCKS`."""
_LARGEST_MEDIAN_DISAGREEMENT_PIXELS = 2.0


@dataclass(frozen=True)
class DriftCorrection:
    """Localizations without drift, and the drift.

    Attributes
    ----------
    table : DataFrame
        The localizations where they were in the first frame of the table.
    curve : DataFrame
        Columns ``frame`` (from 0), ``drift_x_nm`` and ``drift_y_nm``: the way of the sample since
        the first frame, for every frame from the first to the last of the table.
    block_frames : array
        Mean frame of the localizations of each block.
    disagreement_nm : float
        Root mean square distance between the shift of two blocks and that of the curve.
    """

    table: pd.DataFrame
    curve: pd.DataFrame
    block_frames: NDArray[np.float64]
    disagreement_nm: float

    def range_nm(self) -> tuple[float, float]:
        """Return how far the sample moved in all, in x and in y."""
        x, y = (np.ptp(self.curve[f"drift_{axis}_nm"].to_numpy()) for axis in ("x", "y"))
        return float(x), float(y)

    def chart(self) -> Chart:
        """Return the drift over the frames, with a point for each block."""
        frame = self.curve["frame"].to_numpy(float)
        curves, points = {}, {}
        for axis in ("x", "y"):
            drift = self.curve[f"drift_{axis}_nm"].to_numpy()
            curves[axis] = frame, drift
            points[axis] = self.block_frames, np.interp(self.block_frames, frame, drift)
        return Chart("Drift", "frame", "drift (nm)", curves, points)


def correct_drift(table: pd.DataFrame, settings: Drift) -> Job[DriftCorrection]:
    """Find the drift and remove it.

    Parameters
    ----------
    table : DataFrame
        Localizations with the columns of `napari_unfold.tables.columns`, in any order.
    settings : Drift

    Yields
    ------
    Event

    Returns
    -------
    DriftCorrection

    Raises
    ------
    InputError
        If there are too few frames or localizations, or the blocks have too little in common.
    """
    import pandas as pd

    table = validate(table)
    frame = table["frame"].to_numpy()
    xy = table[["x_nm", "y_nm"]].to_numpy()
    extent_nm = np.ptp(xy, axis=0)
    pixel_nm = max(_SMALLEST_PIXEL_NM, float(extent_nm.max()) / _LARGEST_IMAGE_PIXELS)
    compared = float(np.prod((extent_nm + settings.largest_drift_nm) / pixel_nm))
    block = divide_frames(frame, _count_of_blocks(frame, settings, compared))
    block_frames = np.bincount(block, frame) / np.bincount(block)
    pairs, shifts = yield from _shifts(xy, block, pixel_nm, settings.largest_drift_nm)
    drift, disagreement = _least_squares(pairs, shifts, pixel_nm)
    distance = np.hypot(*disagreement.T)
    if np.median(distance) > _LARGEST_MEDIAN_DISAGREEMENT_PIXELS * pixel_nm:
        raise InputError(
            f"no drift can be seen: the {len(block_frames)} blocks of frames do not show the same "
            f"structure (their shifts disagree by {np.median(distance):.0f} nm)",
            "Use fewer time blocks, or more frames",
            field="drift.blocks",
        )
    frames = np.arange(frame.min(), frame.max() + 1)
    of_frame = _interpolated(block_frames, drift, frames)
    of_frame -= of_frame[0]
    rms_nm = float(np.sqrt(np.mean(distance**2)))
    yield Note(
        f"{len(block_frames)} blocks of frames; two blocks disagree with the curve by "
        f"{rms_nm:.2g} nm (rms)."
    )
    corrected = table.copy()
    corrected[["x_nm", "y_nm"]] = xy - of_frame[frame - frames[0]]
    curve = pd.DataFrame(
        {"frame": frames, "drift_x_nm": of_frame[:, 0], "drift_y_nm": of_frame[:, 1]}
    )
    return DriftCorrection(corrected, curve, block_frames, rms_nm)


def divide_frames(frame: NDArray[np.int64], blocks: int) -> NDArray[np.intp]:
    """Return the block, from 0, of each localization; blocks hold about equally many of them.

    Parameters
    ----------
    frame : array (N,)
        Frames of the localizations.
    blocks : int
        At most as many as there are frames.
    """
    _, index, counts = np.unique(frame, return_inverse=True, return_counts=True)
    before = np.cumsum(counts) - counts
    wanted = before * blocks // len(frame)
    # a crowded frame may skip a block
    return np.asarray(np.unique(wanted, return_inverse=True)[1][index], dtype=np.intp)


def _count_of_blocks(frame: NDArray[np.int64], settings: Drift, pixels: float) -> int:
    """Return as many as are wanted, or are located well; `pixels` are those of a comparison."""
    n_frames = len(np.unique(frame))
    if settings.blocks != "auto":
        blocks = settings.blocks
    else:
        wanted = min(len(frame) // _BLOCK_LOCALIZATIONS, _MANY_BLOCKS)
        in_time = int(np.sqrt(2.0 * _MOST_COMPARED_PIXELS / pixels))
        plenty = min(len(frame) // _PLENTY_LOCALIZATIONS, in_time, _MOST_BLOCKS)
        blocks = min(max(wanted, plenty, _FEWEST_BLOCKS), max(n_frames, 2))
    if n_frames < blocks:
        raise InputError(
            f"{n_frames} frames with localizations cannot be divided into {blocks} blocks",
            "Use fewer time blocks, or more frames",
            field="drift.blocks",
        )
    return blocks


def _shifts(
    xy: NDArray[np.float64], block: NDArray[np.intp], pixel_nm: float, reach_nm: float
) -> Generator[Event, None, tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Return all pairs of blocks ``(P, 2)``, and how far the second is from the first, in nm."""
    position = (xy - xy.min(axis=0)) / pixel_nm
    size = np.floor(position.max(axis=0)).astype(int) + 1
    reach = min(int(np.ceil(reach_nm / pixel_nm)), int(size.max())) + _PEAK_RADIUS_PIXELS
    # zeros beside the image, so that its ends do not meet
    padded = [fft.next_fast_len(int(n) + reach, real=True) for n in size]
    frequency = np.hypot(fft.fftfreq(padded[0])[:, None], fft.rfftfreq(padded[1])[None, :])
    # one pixel of blur makes the peak smooth enough for a fit between the pixels
    blur = np.exp(-2.0 * np.pi**2 * frequency**2).astype(np.float32)
    yield Stage("Rendering blocks of frames")
    spectra = []
    for number in range(block.max() + 1):
        image = np.zeros(padded, np.float32)
        count_in_pixels(image, position[block == number])
        spectra.append(fft.rfft2(image) * blur)
        yield Progress(number + 1, block.max() + 1)
    yield Stage("Comparing blocks of frames")
    pairs = list(combinations(range(len(spectra)), 2))
    window = np.ix_(*(np.arange(-reach, reach + 1),) * 2)
    shifts = []
    for done, (first, second) in enumerate(pairs):
        correlation = fft.irfft2(np.conj(spectra[first]) * spectra[second], s=padded)[window]
        shifts.append((_peak(correlation) - reach) * pixel_nm)
        yield Progress(done + 1, len(pairs))
    return np.array(pairs), np.array(shifts)


def _peak(correlation: NDArray[np.floating]) -> NDArray[np.float64]:
    """Place of the maximum between the pixels, by a Gaussian fitted to its neighbourhood."""
    r = _PEAK_RADIUS_PIXELS
    inner = correlation[r:-r, r:-r]
    top = np.array(np.unravel_index(np.argmax(inner), inner.shape)) + r
    near = correlation[top[0] - r : top[0] + r + 1, top[1] - r : top[1] + r + 1]
    height = np.maximum(near - np.median(correlation), 1e-6 * near.max()).ravel().astype(float)
    y, x = (axis.ravel() for axis in np.mgrid[-r : r + 1, -r : r + 1])
    # the logarithm of a Gaussian is a quadratic form; its noise is the smaller the higher it is
    terms = np.stack([np.ones(y.size), y, x, y**2, x**2, x * y], axis=1)
    a = np.linalg.lstsq(terms * height[:, None], np.log(height) * height, rcond=None)[0]
    curvature = np.array([[2 * a[3], a[5]], [a[5], 2 * a[4]]])
    if np.linalg.eigvalsh(curvature).max() >= 0:
        return top.astype(float)
    return np.asarray(top + np.clip(-np.linalg.solve(curvature, a[1:3]), -r, r))


def _least_squares(
    pairs: NDArray[np.intp], shifts: NDArray[np.float64], pixel_nm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Drift ``(B, 2)`` of the blocks, the first at 0, and the residual of each pair; both in nm."""
    blocks = int(pairs.max()) + 1
    design = np.zeros((len(pairs), blocks))
    rows = np.arange(len(pairs))
    design[rows, pairs[:, 0]], design[rows, pairs[:, 1]] = -1.0, 1.0
    design = design[:, 1:]
    drift, residual = np.zeros((blocks, 2)), np.zeros_like(shifts)
    for axis, measured in enumerate(shifts.T):
        start = np.linalg.lstsq(design, measured, rcond=None)[0]
        # comparisons that went wrong are far off, and must not pull the others
        solution = least_squares(
            lambda x, y=measured: design @ x - y,
            start,
            jac=lambda *_: design.copy(),  # which older versions of SciPy scale in place
            loss="soft_l1",
            f_scale=pixel_nm / 4.0,
        ).x
        drift[1:, axis] = solution
        residual[:, axis] = design @ solution - measured
    return drift, residual


def _interpolated(
    block_frames: NDArray[np.float64], drift: NDArray[np.float64], frames: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Drift ``(T, 2)`` in each frame: a natural spline, and straight lines beyond its ends."""
    spline = CubicSpline(block_frames, drift, bc_type="natural")
    first, last = block_frames[[0, -1]]
    inside = spline(np.clip(frames, first, last))
    before = np.minimum(frames - first, 0.0)[:, None] * spline(first, 1)
    after = np.maximum(frames - last, 0.0)[:, None] * spline(last, 1)
    return np.asarray(inside + before + after)
