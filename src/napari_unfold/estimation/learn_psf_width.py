"""The width of the PSF, learned from a stack by how well hidden pixels are foretold.

One pixel in nine of every frame is hidden. At each of several widths molecules are found and fitted
from nothing, brightness and background included, to the pixels that are left; the width that
foretells the hidden ones best is the one learned. Too narrow a PSF needs molecules that are not
there and foretells worse for each; too wide a one cannot explain the spots. No truth is needed, and
no number weighs molecules against misfit.

The lower level is the joint fit off the grid, not the unrolled network. Through the network the
hidden pixels tell a width that depends on weight and fidelity: from -13 to 6 % of the truth for
weights of 2 to 30 % of the largest (`python benchmarks/width.py network`, in steps of 6 %).
An image on a grid can imitate a wider PSF by light in neighbouring pixels, and a
penalty makes it fainter than the frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_unfold.errors import InputError
from napari_unfold.estimation.bad_frames import check_frames
from napari_unfold.estimation.check_settings import PSF_MODEL_ERROR
from napari_unfold.estimation.estimate import estimate
from napari_unfold.estimation.hidden_pixels import Trials, UntoldError, quietly
from napari_unfold.estimation.measured import Measured
from napari_unfold.estimation.observe import check_frame_size, look_at_sample, watch_background
from napari_unfold.estimation.sample import frame_range
from napari_unfold.files.stacks import Stack
from napari_unfold.imaging.psf import GaussianPSF
from napari_unfold.jobs import Event, Job, Note, Progress, Stage, translated
from napari_unfold.settings.microscope import FWHM_PER_SIGMA
from napari_unfold.settings.recipe import Recipe

FRAMES = 40
SIDE_PX = 128
PIXELS = 2**18
"""So many frames are fitted, of larger ones the middle, and at most so many pixels together."""

FEW = 4
"""The search looks at one frame in so many."""

STEP = 0.03
"""Distance of the widths, as a natural logarithm, between which the best is interpolated."""

COARSE, FARTHEST = 4, 24
"""Steps between the widths of the search, and how far it goes from where it starts."""

USUAL_TRIALS = 13

REACH = 2
"""Widths on either side of the best one through which the parabola goes."""

BLOCKS = 8
"""Parts of the frames whose scatter gives the standard error."""

MODEL_ERROR = 0.006
"""Relative error that is always allowed for: what unresolved neighbours add, measured on
simulations from 0.3 to 4 molecules per square micrometre (`make bench-width`)."""

FEWEST_MOLECULES = 50
LARGEST_ERROR = 0.04
"""A width with a larger relative standard error is not offered."""

CONTRADICTED = 3.0
"""Standard deviations, model errors included, between two estimates that contradict each other."""

MOST_CROWDED = 1.5
"""Molecules in the area of a PSF, ``4 pi sigma^2``, above which many spots are several, taken for
wide ones: at 16 molecules per square micrometre (2.0) the width came out 4 % too large."""


@dataclass(frozen=True)
class LearnedWidth:
    """What a stack tells of the width of its PSF.

    Attributes
    ----------
    sigma_px : Measured or None
        Sigma of the Gaussian, pixel-integrated PSF in camera pixels; None if it cannot be learned.
    from_data_px : Measured or None
        The estimate from what changes between frames (`estimation.psf_width`), to compare with.
    started_px : float
        Where the search began.
    molecules, frames : int
        Molecules that were fitted, and in how many frames.
    doubt : UntoldError, optional
        Why there is no width, or why it is not to be used.
    """

    sigma_px: Measured | None
    from_data_px: Measured | None
    started_px: float
    molecules: int
    frames: int
    doubt: UntoldError | None = None

    def comparison(self, pixel_size_nm: float) -> str:
        """Return the width in nm and how it compares with the estimate, in a sentence."""
        if self.sigma_px is None:
            return "This stack does not tell the width of its PSF"
        sigma = self.sigma_px * pixel_size_nm
        text = (
            f"PSF learned from {self.molecules} molecules in {self.frames} frames: FWHM "
            f"{sigma * FWHM_PER_SIGMA} nm (sigma {sigma} nm)"
        )
        if self.from_data_px is None:
            return f"{text}; the fluctuations of the stack tell none to compare it with"
        data = self.from_data_px * pixel_size_nm
        apart = 100.0 * (sigma.value / data.value - 1.0)
        agrees = "agrees with" if self.doubt is None else "contradicts"
        return (
            f"{text}; it {agrees} that of the fluctuations, FWHM {data * FWHM_PER_SIGMA} nm "
            f"({apart:+.1f} %)"
        )


def learn_psf_width(
    stack: Stack, recipe: Recipe, frames: slice = slice(None), *, start_px: float | None = None
) -> Job[LearnedWidth]:
    """Learn the width of a Gaussian PSF from a stack of single molecules.

    Parameters
    ----------
    stack : Stack
    recipe : Recipe
        Camera, background, and the PSF to start from; without one the estimate from the
        fluctuations is where to start.
    frames : slice
        Frames to use, counted from 0.
    start_px : float, optional
        Sigma to start from, in camera pixels, whatever the recipe says.

    Yields
    ------
    Event

    Returns
    -------
    LearnedWidth

    Raises
    ------
    InputError
        If the stack or a setting cannot be used, or there is no width to start from.
    """
    span = frame_range(frames, len(stack))
    check = yield from check_frames(stack, span, recipe.camera.offset_adu)
    for note in check.notes:
        yield Note(note)
    usable = check.usable(stack)
    from_data = yield from _from_fluctuations(usable, recipe)
    start = start_px or _start(recipe, from_data)
    check_frame_size((stack.shape[1], stack.shape[2]), GaussianPSF(start))
    seen, sample = yield from look_at_sample(usable, recipe, slice(None))
    seen, factors = yield from watch_background(seen, sample)
    region = _middle(seen.shape)
    chosen = _evenly(len(sample), region)
    stated = recipe.background.photons != "auto"
    trials = Trials(
        sample[chosen][:, *region],
        seen.background[region],
        seen.camera.part(region),
        None if factors is None else factors[chosen],
        keep_background=stated,
    )
    yield Stage("Learning the width of the PSF")
    sigma: Measured | None = None
    try:
        sigma = yield from _learned(trials, start)
        doubt = _doubt(sigma, trials)
    except UntoldError as error:
        doubt = error
    width = LearnedWidth(
        None if doubt else sigma, from_data, start, trials.molecules, len(chosen), doubt
    )
    return replace(width, doubt=doubt or _contradiction(width))


def _start(recipe: Recipe, from_data: Measured | None) -> float:
    stated = recipe.optics.psf_sigma_nm
    if stated is not None:
        return stated / recipe.optics.pixel_size_nm
    if from_data is None:
        raise InputError(
            "there is no width of the PSF to start from, and the fluctuations of the stack tell "
            "none",
            "Enter a rough one; half the wavelength over the numerical aperture is the FWHM",
            field="optics.psf_sigma_nm",
        )
    return from_data.value


def _from_fluctuations(stack: Stack, recipe: Recipe) -> Job[Measured | None]:
    try:
        found = yield from translated(estimate(stack, recipe.camera), quietly)
    except InputError:
        return None
    return found.psf_sigma_px


def _middle(shape: tuple[int, int]) -> tuple[slice, slice]:
    first = [max(0, (n - SIDE_PX) // 2) for n in shape]
    rows, columns = (slice(f, f + min(n, SIDE_PX)) for f, n in zip(first, shape, strict=True))
    return rows, columns


def _evenly(n_frames: int, region: tuple[slice, slice]) -> NDArray[np.intp]:
    """Return which frames of the sample are fitted, evenly spread."""
    area = math.prod(part.stop - part.start for part in region)
    wanted = min(n_frames, FRAMES, max(2, PIXELS // area))
    return np.linspace(0, n_frames - 1, wanted).astype(np.intp)


def _learned(trials: Trials, start: float) -> Job[Measured]:
    """Search in a few frames, then interpolate in all of them."""
    tried: dict[int, NDArray[np.float64]] = {}

    def sigma_of(step: float) -> float:
        return start * math.exp(STEP * step)

    def look(step: int, every: int) -> Generator[Event, None, float]:
        tried[step] = yield from trials.misfit(sigma_of(step), every)
        yield Progress(min(trials.tried, USUAL_TRIALS), USUAL_TRIALS)
        return float(tried[step].sum())

    yield from _descended(range(-COARSE * 3, COARSE * 3 + 1, COARSE), COARSE, tried, look, FEW)
    near = round(_lowest(tried, COARSE, 1))
    tried.clear()
    yield from _descended(range(near - REACH, near + REACH + 1), 1, tried, look, 1)
    best = min(tried, key=lambda step: tried[step].sum())
    curves = np.stack([tried[best + k] for k in range(-REACH, REACH + 1)])
    offset, error = interpolated(curves)
    return Measured(sigma := sigma_of(best + offset), sigma * math.hypot(STEP * error, MODEL_ERROR))


def _descended(
    steps: range,
    by: int,
    tried: dict[int, NDArray[np.float64]],
    look: Callable[[int, int], Generator[Event, None, float]],
    every: int,
) -> Job[None]:
    """Try the widths of `steps`, and more until the best has neighbours on both sides."""
    reach = REACH if by == 1 else 1
    for step in steps:
        yield from look(step, every)
    while True:
        best = min(tried, key=lambda step: tried[step].sum())
        missing = [best + k * by for k in range(-reach, reach + 1) if best + k * by not in tried]
        if not missing:
            return
        if any(abs(step - steps[len(steps) // 2]) > FARTHEST for step in missing):
            raise UntoldError(
                "no width near the one to start from foretells pixels best",
                "Enter another PSF to start from, or measure a bead",
            )
        for step in missing:
            yield from look(step, every)


def _lowest(tried: dict[int, NDArray[np.float64]], by: int, reach: int) -> float:
    best = min(tried, key=lambda step: tried[step].sum())
    curve = np.array([tried[best + k * by].sum() for k in range(-reach, reach + 1)])
    return best + by * _vertex(curve)


def interpolated(curves: NDArray[np.floating]) -> tuple[float, float]:
    """Return where a sum of curves is least, and its standard error.

    Parameters
    ----------
    curves : array (2 n + 1, T)
        Values at ``-n .. n``, frame by frame. Each block of frames is left out in turn (jackknife).
    """
    blocks = np.array_split(np.arange(curves.shape[1]), min(BLOCKS, curves.shape[1]))
    total = curves.sum(1)
    left_out = np.array([_vertex(total - curves[:, block].sum(1)) for block in blocks])
    n = len(left_out)
    error = math.sqrt((n - 1) / n * float(((left_out - left_out.mean()) ** 2).sum()))
    return _vertex(total), error


def _vertex(curve: NDArray[np.floating]) -> float:
    """Return the place of the lowest point of a parabola through values at ``-n .. n``."""
    n = len(curve) // 2
    bend, slope, _ = np.polyfit(np.arange(-n, n + 1), curve, 2)
    if bend <= 0.0:
        raise UntoldError("no width foretells pixels best", "Use more frames, or measure a bead")
    return float(np.clip(-slope / (2.0 * bend), -n, n))


def _doubt(sigma: Measured, trials: Trials) -> UntoldError | None:
    """Return why a width is not to be trusted."""
    if trials.molecules < FEWEST_MOLECULES:
        return UntoldError(
            f"{trials.molecules} molecules are too few", "Use more frames, or measure a bead"
        )
    if trials.crowding > MOST_CROWDED:
        return UntoldError(
            "molecules lie too densely to be told apart, "
            f"{trials.crowding:.1f} in the area of a PSF",
            "Use frames with fewer, or measure a bead",
        )
    if sigma.standard_error > LARGEST_ERROR * sigma.value:
        percent = 100.0 * sigma.standard_error / sigma.value
        return UntoldError(
            f"the frames tell it only within {percent:.0f} %", "Use more, or measure a bead"
        )
    return None


def _contradiction(width: LearnedWidth) -> UntoldError | None:
    """Return what is wrong where the fluctuations of the stack tell another width."""
    if width.sigma_px is None or width.from_data_px is None:
        return None
    learned, data = width.sigma_px, width.from_data_px
    relative = [m.standard_error / m.value for m in (learned, data)]
    apart = abs(math.log(learned.value / data.value))
    if apart < CONTRADICTED * math.hypot(*relative, PSF_MODEL_ERROR):
        return None
    return UntoldError(
        f"the molecules tell a sigma of {learned} pixels, the fluctuations of the stack {data}",
        "Look for drift of the focus, a PSF that is not Gaussian or wrong camera settings, or "
        "measure a bead",
    )
