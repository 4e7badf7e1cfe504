"""What a camera sees of single molecules: Gaussian spots, diffraction patterns, measured beads.

Molecules sit anywhere, and pixels integrate; a molecule out of focus makes a wider spot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate, ndimage, optimize, special

from napari_unfold.errors import InputError
from napari_unfold.imaging.psf import MeasuredPSF

FOCAL_DEPTH_NM = 400.0
"""Distance from the focus at which a Gaussian spot is wider by the square root of two.

As measured with high-NA oil objectives (Huang et al., Science 319, 2008).
"""

REACH_NM = 2500.0
"""Light further away from its molecule is left out (2 % of it, for an oil objective)."""

DEPTH_STEP_NM = 50.0
"""Diffraction patterns are computed for planes so far apart."""

Positions = NDArray[np.floating]


class SpotShape(Protocol):
    """Draws the light of molecules."""

    @property
    def sigma_nm(self) -> float:
        """Sigma of the Gaussian that looks most alike, in focus."""
        ...

    def light(
        self,
        y_nm: Positions,
        x_nm: Positions,
        depth_nm: Positions,
        photons: NDArray[np.floating],
        shape: tuple[int, int],
        pixel_size_nm: float,
    ) -> NDArray[np.float64]:
        """Return the expected photons ``(Y, X)`` of molecules ``(N,)`` at any position.

        `depth_nm` is the distance from the focal plane; `photons` is the light of a molecule, of
        which some falls outside the frame.
        """
        ...


@dataclass(frozen=True)
class GaussianSpot:
    """Gaussian spots.

    Parameters
    ----------
    sigma_nm : float
        Standard deviation in focus.
    focal_depth_nm : float
        Distance from the focus at which a spot is wider by the square root of two.
    """

    sigma_nm: float
    focal_depth_nm: float = FOCAL_DEPTH_NM

    def light(
        self,
        y_nm: Positions,
        x_nm: Positions,
        depth_nm: Positions,
        photons: NDArray[np.floating],
        shape: tuple[int, int],
        pixel_size_nm: float,
    ) -> NDArray[np.float64]:
        """See `SpotShape`."""
        sigma = self.sigma_nm * np.hypot(1.0, depth_nm / self.focal_depth_nm)
        return render(y_nm, x_nm, photons, shape, pixel_size_nm, sigma)


@dataclass(frozen=True)
class AirySpot:
    """Diffraction at a round pupil, for unpolarised light in the scalar approximation.

    Parameters
    ----------
    numerical_aperture : float
    wavelength_nm : float
        Of the emitted light.
    refractive_index : float
        Of immersion and sample.
    """

    numerical_aperture: float = 1.4
    wavelength_nm: float = 600.0
    refractive_index: float = 1.515

    @cached_property
    def sigma_nm(self) -> float:
        """Sigma of the Gaussian nearest in least squares to the pattern in focus."""
        r = np.linspace(0.0, REACH_NM, 2001)
        pattern = self.density_per_um2(r)

        def misfit(sigma: float) -> float:
            gaussian = np.exp(-((r / sigma) ** 2) / 2.0)
            light = (r * pattern * gaussian).sum() / (r * gaussian**2).sum()
            return float((r * (pattern - light * gaussian) ** 2).sum())

        unit = self.wavelength_nm / self.numerical_aperture
        found = optimize.minimize_scalar(misfit, bounds=(0.1 * unit, 0.5 * unit), method="bounded")
        return float(found.x)

    def density_per_um2(
        self, r_nm: NDArray[np.floating], depth_nm: float = 0.0
    ) -> NDArray[np.float64]:
        """Return the share of the light per square micrometre at distances from the molecule.

        The pupil's circles, of radius rho, add up with the phase that their waves gather on the
        way from the plane of the molecule (Born & Wolf, Principles of Optics, 8.8). In focus it is
        Airy's ``(2 J1(v) / v)^2`` with ``v = 2 pi NA r / wavelength``.
        """
        nodes, weights = np.polynomial.legendre.leggauss(96)
        rho, weights = (nodes + 1.0) / 2.0, weights / 2.0
        wave_number = 2.0 * np.pi / self.wavelength_nm
        v = wave_number * self.numerical_aperture * np.asarray(r_nm, dtype=np.float64)
        axial = np.sqrt(self.refractive_index**2 - (self.numerical_aperture * rho) ** 2)
        circles = 2.0 * weights * rho * np.exp(1j * wave_number * depth_nm * axial)
        amplitude = special.j0(v[:, None] * rho) @ circles
        peak = np.pi * (self.numerical_aperture / self.wavelength_nm) ** 2 * 1e6
        return np.asarray(peak * np.abs(amplitude) ** 2)

    def light(
        self,
        y_nm: Positions,
        x_nm: Positions,
        depth_nm: Positions,
        photons: NDArray[np.floating],
        shape: tuple[int, int],
        pixel_size_nm: float,
    ) -> NDArray[np.float64]:
        """See `SpotShape`."""
        image = np.zeros(shape)
        # the pattern is the same on both sides of the focus
        plane = np.rint(np.abs(depth_nm) / DEPTH_STEP_NM).astype(int)
        for z in np.unique(plane):
            these = plane == z
            spot = _airy_table(self, z * DEPTH_STEP_NM, pixel_size_nm)
            spot.add(image, y_nm[these], x_nm[these], photons[these], pixel_size_nm)
        return image


@dataclass(frozen=True)
class BeadSpot:
    """Spots that look like the image of a bead; it knows of one plane only.

    Parameters
    ----------
    bead : MeasuredPSF
    pixel_size_nm : float
        Of the camera for which `bead` was prepared.
    """

    bead: MeasuredPSF
    pixel_size_nm: float

    @property
    def sigma_nm(self) -> float:
        """Sigma of the Gaussian that falls to half maximum at the same area."""
        return self.bead.sigma_px * self.pixel_size_nm

    @cached_property
    def _table(self) -> PixelTable:
        fine = self.bead.on_fine_grid(_FINE_PER_BEAD_PIXEL)
        return PixelTable(fine * _FINE_PER_BEAD_PIXEL**2, _FINE_PER_BEAD_PIXEL)

    def light(
        self,
        y_nm: Positions,
        x_nm: Positions,
        depth_nm: Positions,
        photons: NDArray[np.floating],
        shape: tuple[int, int],
        pixel_size_nm: float,
    ) -> NDArray[np.float64]:
        """See `SpotShape`."""
        if np.any(depth_nm):
            raise InputError(
                "the image of a bead in focus does not tell how it looks out of focus",
                "Simulate without defocus, or with another PSF",
            )
        image = np.zeros(shape)
        self._table.add(image, y_nm, x_nm, photons, pixel_size_nm)
        return image


class PixelTable:
    """Light of a camera pixel by its distance from the molecule, interpolated by cubic splines.

    Parameters
    ----------
    density : array (2 h + 1, 2 h + 1)
        Share of the light per camera pixel area, the molecule in the middle.
    samples : int
        Samples along a camera pixel, an even number.
    """

    def __init__(self, density: NDArray[np.floating], samples: int) -> None:
        simpson = np.full(samples + 1, 2.0)
        simpson[1::2] = 4.0
        simpson[[0, -1]] = 1.0
        simpson /= 3.0 * samples
        padded = np.pad(np.asarray(density, dtype=np.float64), samples)  # pixels half on its edge
        for axis in (0, 1):
            padded = ndimage.correlate1d(padded, simpson, axis, mode="constant")
        self.samples, self.middle = samples, padded.shape[0] // 2
        at = np.arange(-self.middle, self.middle + 1) / samples
        self._of_pixel = interpolate.RectBivariateSpline(at, at, padded)

    def add(
        self,
        image: NDArray[np.float64],
        y_nm: Positions,
        x_nm: Positions,
        photons: NDArray[np.floating],
        pixel_size_nm: float,
    ) -> None:
        """Add the light of molecules to an image ``(Y, X)`` in place."""
        reach = math.ceil(self.middle / self.samples)
        for y, x, light in zip(y_nm / pixel_size_nm, x_nm / pixel_size_nm, photons, strict=True):
            rows, columns = (
                np.arange(max(0, math.floor(at) - reach), min(n, math.floor(at) + reach + 1))
                for at, n in zip((y, x), image.shape, strict=True)
            )
            if len(rows) and len(columns):
                seen = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
                image[seen] += light * self._of_pixel(rows + 0.5 - y, columns + 0.5 - x)


_FINE_PER_BEAD_PIXEL = 8


@lru_cache(maxsize=64)
def _airy_table(spot: AirySpot, depth_nm: float, pixel_size_nm: float) -> PixelTable:
    """Return the pattern of one plane as camera pixels see it."""
    finest_nm = spot.wavelength_nm / spot.numerical_aperture / 40.0
    samples = 2 * math.ceil(pixel_size_nm / finest_nm / 2.0)
    step_nm = pixel_size_nm / samples
    half = math.ceil(REACH_NM / step_nm)
    r = np.arange(0.0, math.sqrt(2.0) * half + 2.0) * step_nm
    radial = interpolate.make_interp_spline(r, spot.density_per_um2(r, depth_nm), k=3)
    offsets = np.arange(-half, half + 1) * step_nm
    density = radial(np.hypot(offsets[:, None], offsets))
    return PixelTable(density * (pixel_size_nm / 1000.0) ** 2, samples)


def render(
    y_nm: Positions,
    x_nm: Positions,
    photons: NDArray[np.floating],
    shape: tuple[int, int],
    pixel_size_nm: float,
    sigma_nm: float | NDArray[np.floating],
) -> NDArray[np.float64]:
    """Return the expected photons ``(Y, X)`` of molecules at any position, for a Gaussian PSF.

    `sigma_nm` is that of all molecules, or of each.
    """
    rows = pixel_shares(y_nm, shape[0], pixel_size_nm, sigma_nm)
    columns = pixel_shares(x_nm, shape[1], pixel_size_nm, sigma_nm)
    return (rows * photons[:, None]).T @ columns


def pixel_shares(
    position_nm: Positions,
    n_pixels: int,
    pixel_size_nm: float,
    sigma_nm: float | NDArray[np.floating],
) -> NDArray[np.float64]:
    """Return the shares ``(N, n_pixels)`` of each molecule's light in the pixels of one axis."""
    edges_nm = np.arange(n_pixels + 1) * pixel_size_nm
    sigma = np.asarray(sigma_nm)[..., None]
    cdf = special.ndtr((edges_nm - position_nm[:, None]) / sigma)
    return np.asarray(np.diff(cdf, axis=1))
