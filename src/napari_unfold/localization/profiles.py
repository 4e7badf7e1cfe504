"""The image of one molecule on the camera: sums of products of a profile down and one across.

A Gaussian integrated over pixels is one such product. A measured image is a short sum of them (its
singular value decomposition), each profile a cubic spline of the distance between molecule and
pixel. All that a fit needs follows from the profiles and their derivatives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import interpolate, ndimage, optimize

from napari_unfold.imaging.psf import PSF, GaussianPSF, MeasuredPSF

REACH_SIGMA = 4.0
"""Half the side of a Gaussian's patch, in units of sigma."""

LEFT_OUT = 1e-3
"""Products of a measured image weaker than this share of the first are left out: of less than a
hundred thousand photons no frame could tell them."""

SPLINE_REACH_SIGMA, SPLINES = 8.0, 24
"""How far a Gaussian's profile is tabled, in units of sigma, and in how many pieces per sigma:
values and slopes are then right to the rounding of single precision."""

SAMPLES = 8
"""Samples per camera pixel of the image of a bead."""

TAIL_LIGHT, LONGEST_SIGMA = 0.01, 10.0
"""A patch leaves out at most this share of a measured image's light, or ends at so many sigma."""


class Splines(NamedTuple):
    """The profiles of a spot as cubic pieces of the distance between molecule and pixel.

    Attributes
    ----------
    down, across : array (intervals, K, 4), float32
        Along y and x, the highest power of the place within a piece first; zero beyond the ends.
    samples : int
        Pieces per camera pixel.
    edge : float
        Distance at which the pieces begin, in camera pixels, without its sign.
    """

    down: NDArray[np.float32]
    across: NDArray[np.float32]
    samples: int
    edge: float


class Spot(Protocol):
    """The light of one molecule in the pixels of a patch.

    Attributes
    ----------
    sigma_px : float
        Sigma of the Gaussian that looks most alike, in camera pixels.
    reach : int
        Pixels on each side of a molecule's own that belong to its patch.
    splines : Splines
        The profiles, for the compiled fits.
    """

    @property
    def sigma_px(self) -> float: ...  # noqa: D102

    @property
    def reach(self) -> int: ...  # noqa: D102

    @property
    def splines(self) -> Splines: ...  # noqa: D102

    def profiles(
        self, axis: int, pixels: torch.Tensor, position: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the profiles ``(N, P, K)`` along one axis, and their derivatives by the position.

        The share of light in a pixel is the sum over K of the products of both axes.

        Parameters
        ----------
        axis : {0, 1}
            y or x.
        pixels : tensor (N, P)
            Adjacent camera pixels.
        position : tensor (N,)
            In camera pixels from the edge of pixel 0.
        """
        ...

    def curvatures(self, axis: int, pixels: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Return the second derivatives ``(N, P, K)`` of the profiles by the position."""
        ...


def product(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the sum over K of the products of ``(N, P, K)`` and ``(N, Q, K)``: ``(N, P, Q)``."""
    return y * x.mT if y.shape[-1] == 1 else y @ x.mT


@dataclass(frozen=True)
class GaussianSpot:
    """A Gaussian integrated over pixels.

    Parameters
    ----------
    sigma_px : float
        In camera pixels.
    """

    sigma_px: float

    @property
    def reach(self) -> int:
        """Pixels on each side of a molecule's own that belong to its patch."""
        return math.ceil(REACH_SIGMA * self.sigma_px)

    @property
    def splines(self) -> Splines:
        """The profiles as cubic pieces, for the compiled fits."""
        return _gaussian_splines(self.sigma_px)

    def _edges(self, pixels: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Edges ``(N, P + 1)`` of the pixels seen from the molecules, in units of sigma."""
        t = (pixels - position[:, None]) / self.sigma_px
        return torch.cat([t, t[:, -1:] + 1.0 / self.sigma_px], dim=1)

    def profiles(
        self,
        axis: int,  # noqa: ARG002
        pixels: torch.Tensor,
        position: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Spot`; both axes are alike."""
        edges = self._edges(pixels, position)
        share = (0.5 * torch.erf(edges / math.sqrt(2.0))).diff(dim=1)
        density = torch.exp(-0.5 * edges * edges) / (math.sqrt(2.0 * math.pi) * self.sigma_px)
        return share[..., None], -density.diff(dim=1)[..., None]

    def curvatures(
        self,
        axis: int,  # noqa: ARG002
        pixels: torch.Tensor,
        position: torch.Tensor,
    ) -> torch.Tensor:
        """See `Spot`."""
        edges = self._edges(pixels, position)
        slope = edges * torch.exp(-0.5 * edges * edges) / math.sqrt(2.0 * math.pi)
        return -slope.diff(dim=1)[..., None] / self.sigma_px**2


@lru_cache
def _gaussian_splines(sigma_px: float) -> Splines:
    """Return cubic pieces that agree with a Gaussian's profile and its slope where they meet."""
    edge, samples = math.ceil(SPLINE_REACH_SIGMA * sigma_px) + 1, math.ceil(SPLINES / sigma_px)
    at = np.arange(2 * edge * samples + 1) / samples - edge
    distance = torch.as_tensor(at - 0.5)[:, None]
    value, slope = GaussianSpot(sigma_px).profiles(0, distance, distance.new_zeros(len(at)))
    # in units of pieces, against the position
    spline = interpolate.CubicHermiteSpline(
        np.arange(len(at)), value.flatten(), -slope.flatten() / samples
    )
    pieces = np.ascontiguousarray(spline.c.T[:, None], dtype=np.float32)
    return Splines(pieces, pieces, samples, float(edge))


class MeasuredSpot:
    """An image of any shape, as camera pixels see it.

    Parameters
    ----------
    table : array (2 h + 1, 2 h + 1)
        Share of light of a camera pixel by the distance ``(y, x)`` of its centre from the molecule,
        in steps of ``1 / samples`` pixels; zero distance in the middle.
    samples : int
        Samples per camera pixel.
    sigma_px : float
        Sigma of the Gaussian that looks most alike, in camera pixels.
    """

    def __init__(self, table: NDArray[np.floating], samples: int, sigma_px: float) -> None:
        half = table.shape[0] // 2
        self.table, self.samples, self.sigma_px = table, samples, sigma_px
        self.reach = max(1, math.ceil(half / samples) - 1)
        light = float(table.sum()) / samples**2
        u, s, vt = np.linalg.svd(np.asarray(table, dtype=np.float64) / light)
        k = int((s > LEFT_OUT * s[0]).sum())
        root = np.sqrt(s[:k])
        self._edge = half / samples
        self._splines = self._pieces(u[:, :k] * root), self._pieces(vt[:k].T * root)

    @property
    def splines(self) -> Splines:
        """The profiles as cubic pieces, for the compiled fits."""
        down, across = (pieces.numpy() for pieces in self._splines)
        # without the empty piece before the first; beyond the last there are none
        return Splines(down[1:-1], across[1:-1], self.samples, self._edge)

    def _pieces(self, profiles: NDArray[np.float64]) -> torch.Tensor:
        """Polynomials ``(intervals + 2, K, 4)``, the highest power first; none beyond the ends."""
        at = np.arange(len(profiles), dtype=np.float64)
        spline = interpolate.make_interp_spline(at, profiles, k=3)
        start = at[:-1]
        powers = [spline(start, nu) / math.factorial(nu) for nu in (3, 2, 1, 0)]
        # the third derivative jumps at the knots; in the middle of a piece it is that of the piece
        powers[0] = spline(start + 0.5, 3) / 6.0
        pieces = np.stack(powers, -1)
        return torch.as_tensor(np.pad(pieces, ((1, 1), (0, 0), (0, 0))), dtype=torch.float32)

    def _piece(
        self, axis: int, pixels: torch.Tensor, position: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the polynomials ``(N, P, K, 4)`` and where in their pieces the pixels lie."""
        pieces = self._splines[axis].to(position)
        t = (pixels + 0.5 - position[:, None] + self._edge) * self.samples
        t = t.clamp(-1.0, len(pieces) - 1.001)
        low = t.detach().floor()
        return pieces[low.long() + 1], (t - low)[..., None]

    def profiles(
        self, axis: int, pixels: torch.Tensor, position: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Spot`."""
        piece, u = self._piece(axis, pixels, position)
        a, b, c, d = piece.unbind(-1)
        value = ((a * u + b) * u + c) * u + d
        slope = (3.0 * a * u + 2.0 * b) * u + c
        return value, -self.samples * slope

    def curvatures(self, axis: int, pixels: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """See `Spot`."""
        piece, u = self._piece(axis, pixels, position)
        return self.samples**2 * (6.0 * piece[..., 0] * u + 2.0 * piece[..., 1])


def spot_of(psf: PSF) -> Spot:
    """Return what a molecule looks like on the camera.

    The pixels of a bead's image have integrated the light over their own area already. The camera's
    are larger; the rest of their width is that which adds the missing variance.
    """
    if isinstance(psf, GaussianPSF):
        return GaussianSpot(psf.sigma_px)
    return spot_of_table(_as_seen_by_pixels(psf))


def spot_of_table(table: NDArray[np.floating]) -> MeasuredSpot:
    """Return the spot of a table of `SAMPLES` per pixel, without what cannot be light."""
    table = np.maximum(table, 0.0)
    sigma = nearest_sigma(table)
    return MeasuredSpot(trimmed(table, SAMPLES, sigma), SAMPLES, sigma)


def nearest_sigma(table: NDArray[np.floating]) -> float:
    """Return the sigma, in pixels, of the Gaussian nearest to a table in least squares.

    Parameters
    ----------
    table : array (2 h + 1, 2 h + 1)
        As of `MeasuredSpot`, with `SAMPLES` per pixel.
    """
    half = len(table) // 2
    at = torch.arange(-half, half + 1, dtype=torch.float64) / SAMPLES
    pixel = torch.zeros(len(at), 1, dtype=torch.long)

    def misfit(sigma: float) -> float:
        shares = GaussianSpot(sigma).profiles(0, pixel, 0.5 - at)[0].flatten().numpy()
        return -float(shares @ table @ shares) / float(shares @ shares)

    found = optimize.minimize_scalar(misfit, bounds=(0.2, half / SAMPLES), method="bounded")
    return float(found.x)


def _as_seen_by_pixels(psf: MeasuredPSF) -> NDArray[np.floating]:
    image = psf.on_fine_grid(SAMPLES)
    box = SAMPLES * math.sqrt(max(0.0, 1.0 - psf.pixel_size_px**2))
    at = np.arange(-SAMPLES, SAMPLES + 1)
    kernel = np.clip(box / 2.0 - np.abs(at) + 0.5, 0.0, 1.0) if box >= 1.0 else at == 0
    table = np.pad(image, SAMPLES)
    for axis in (0, 1):
        table = ndimage.correlate1d(table, kernel / kernel.sum(), axis, mode="constant")
    return table * SAMPLES**2


def trimmed(table: NDArray[np.floating], samples: int, sigma_px: float) -> NDArray[np.floating]:
    """Return the middle of a table as of `MeasuredSpot`, without the part that hardly has light."""
    half = table.shape[0] // 2
    at = np.abs(np.arange(-half, half + 1))
    distance = np.maximum(at[:, None], at)
    light = np.cumsum(np.bincount(distance.ravel(), weights=table.ravel()))
    reach = math.ceil(int(np.searchsorted(light, (1.0 - TAIL_LIGHT) * light[-1])) / samples)
    reach = max(math.ceil(REACH_SIGMA * sigma_px), min(reach, math.ceil(LONGEST_SIGMA * sigma_px)))
    cut = max(0, half - (reach + 1) * samples)
    return table[cut : table.shape[0] - cut, cut : table.shape[1] - cut]


def spot_image(spot: Spot, upsampling: int) -> NDArray[np.float32]:
    """Return the light ``(n, n)`` that camera pixels see of a molecule by its distance, of sum 1.

    Parameters
    ----------
    spot : Spot
    upsampling : int
        Values per camera pixel.
    """
    reach = spot.reach * upsampling
    position = 0.5 - torch.arange(-reach, reach + 1, dtype=torch.float64) / upsampling
    pixel = torch.zeros(len(position), 1, dtype=torch.long)
    down, across = (spot.profiles(axis, pixel, position)[0][:, 0] for axis in (0, 1))
    image = (down @ across.mT).numpy()
    return np.asarray(image / image.sum(), dtype=np.float32)
