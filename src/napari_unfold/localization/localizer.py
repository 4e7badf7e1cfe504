"""From reconstructed frames to molecules: one row per molecule, off the grid.

Bright spots of the reconstruction are the candidates. All molecules of a frame are then fitted
together to the camera data (`refine`), while a statistical test adds, splits and removes some
(`model_selection`). The information that the frame has on each gives its uncertainty.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from napari_unfold.imaging.camera import CameraModel, noise_variance
from napari_unfold.localization.brightness import Brightness, ScaledBrightness
from napari_unfold.localization.fit_quality import FitQuality, fit_quality
from napari_unfold.localization.likelihood import Frames
from napari_unfold.localization.model_selection import ModelSelection
from napari_unfold.localization.peaks import find_spots
from napari_unfold.localization.profiles import Spot
from napari_unfold.localization.refine import fit
from napari_unfold.localization.spots import Molecules
from napari_unfold.localization.uncertainty import uncertainties
from napari_unfold.settings.recipe import Localization

UNKNOWN_VARIANCE = 1e8
"""Of a pixel that tells nothing, in photons squared."""

ROUNDS = 3
"""Of two neighbouring molecules one is split per round: a spot may become up to four or so."""


@dataclass(frozen=True)
class Localizations:
    """The molecules of a batch of frames with what is known of each.

    Attributes
    ----------
    molecules : Molecules
    uncertainty : tensor (N, 3)
        Standard deviations of y, x (camera pixels) and photons.
    evidence : tensor (N,)
        Fall of the log-probability of the frame without this molecule.
    quality : FitQuality
        Of the fits of all frames, faint molecules included.
    """

    molecules: Molecules
    uncertainty: torch.Tensor
    evidence: torch.Tensor
    quality: FitQuality

    def select(self, keep: torch.Tensor) -> Localizations:
        """Return those chosen by a mask or by indices."""
        return Localizations(
            self.molecules.select(keep), self.uncertainty[keep], self.evidence[keep], self.quality
        )


@dataclass(frozen=True)
class Localizer:
    """Finds the molecules of a batch of frames.

    Parameters
    ----------
    spot : Spot
        What a molecule looks like.
    pixel_size_nm : float
    upsampling : int
        Fine pixels per camera pixel of the reconstruction.
    molecule_photons : float
        Photons of a typical molecule.
    brightness : Brightness
        What is expected of the photons of a molecule.
    threshold_photons : float
        Faintest spot of the reconstruction to start from.
    faintest_photons : float
        Faintest molecule to keep.
    crowding : array (Y, X)
        Molecules expected per area of a PSF and frame, see `estimate_crowding`.
    camera : CameraModel
        For its noise.
    settings : Localization
    """

    spot: Spot
    pixel_size_nm: float
    upsampling: int
    molecule_photons: float
    brightness: Brightness
    threshold_photons: float
    faintest_photons: float
    crowding: NDArray[np.float32]
    camera: CameraModel
    settings: Localization

    def __call__(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        b: torch.Tensor,
        ignored: torch.Tensor | None = None,
        lit: float = 1.0,
    ) -> Generator[float, None, Localizations]:
        """Find the molecules; yields now and then the share of the work that is done.

        Parameters
        ----------
        x : tensor (B, qY, qX)
            Reconstruction, photons per fine pixel.
        y : tensor (B, Y, X)
            Frames in photons.
        b : tensor (Y, X) or (B, Y, X)
            Background in photons.
        ignored : tensor (B, Y, X), bool, optional
            Pixels that tell nothing.
        lit : float
            How bright molecules are, relative to the stack.

        Returns
        -------
        Localizations
        """
        frames = self.frames(y, b, ignored, lit)
        selection = self.selection(frames, lit)
        steps = ROUNDS + 3
        yield 0.0
        found = fit(find_spots(x, self.threshold_photons, self.upsampling), frames)
        for done in range(1, ROUNDS + 1):
            yield done / steps
            found = fit(selection.add(selection.split(found)), frames)
            found = merge(found, self.settings.merge_distance_nm / self.pixel_size_nm)
        yield (ROUNDS + 1) / steps
        found = fit(selection.remove(found), frames)
        yield (ROUNDS + 2) / steps
        evidence, _ = selection.evidence(found)
        crowding = self.crowding_at(found.position)
        uncertainty = uncertainties(found, frames, crowding)
        quality = fit_quality(found, frames, crowding)
        every = Localizations(found, uncertainty, evidence, quality)
        return _in_reading_order(every.select(self.keeps(found)))

    def frames(
        self, y: torch.Tensor, b: torch.Tensor, ignored: torch.Tensor | None, lit: float
    ) -> Frames:
        """Return frames with all that is known of them before their molecules are; see above."""
        return Frames(
            y,
            b.expand_as(y),
            self.spot,
            self.camera.excess_noise,
            self._read_variance(ignored, y),
            self.brightness if lit == 1.0 else ScaledBrightness(self.brightness, lit),
        )

    def selection(self, frames: Frames, lit: float) -> ModelSelection:
        """Return what decides how many molecules there are in the frames."""
        return ModelSelection(
            frames,
            torch.as_tensor(self.crowding, device=frames.y.device),
            self.settings.split_brightness * self.molecule_photons * lit,
        )

    def crowding_at(self, position: torch.Tensor) -> torch.Tensor:
        """Return the crowding ``(N,)`` at positions ``(N, 2)`` in camera pixels."""
        crowding = torch.as_tensor(self.crowding, device=position.device)
        last = position.new_tensor(self.crowding.shape).long() - 1
        pixel = position.floor().long().clamp(min=0).minimum(last)
        return crowding[pixel[:, 0], pixel[:, 1]]

    def keeps(self, molecules: Molecules) -> torch.Tensor:
        """Return which molecules ``(N,)`` are bright enough, and within the frame."""
        inside = self._inside(molecules, self.crowding.shape)
        return inside & (molecules.photons >= self.faintest_photons)

    def _read_variance(self, ignored: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
        variance = torch.as_tensor(self.camera.read_variance).to(like)
        return variance if ignored is None else variance + UNKNOWN_VARIANCE * ignored

    @staticmethod
    def _inside(molecules: Molecules, shape: tuple[int, ...]) -> torch.Tensor:
        size = molecules.position.new_tensor(shape)
        return ((molecules.position >= 0) & (molecules.position < size)).all(dim=1)

    def table(
        self, found: Localizations, first_frame: int, background: NDArray[np.floating]
    ) -> pd.DataFrame:
        """Return the molecules as a localization table.

        Parameters
        ----------
        found : Localizations
        first_frame : int
            Number, from 0, of the batch's first frame in the stack.
        background : array (B, Y, X)
            Photons per camera pixel.
        """
        molecules = found.molecules
        position = molecules.position.cpu().numpy().astype(np.float64)
        spread = found.uncertainty.cpu().numpy().astype(np.float64)
        uncertainty_nm = spread[:, :2] * self.pixel_size_nm
        frame = molecules.frame.cpu().numpy()
        last = np.array(background.shape[1:]) - 1
        rows, columns = np.minimum(position.astype(int), last).T
        local = background[frame, rows, columns].astype(np.float64)
        return pd.DataFrame(
            {
                "frame": frame + first_frame,
                "x_nm": position[:, 1] * self.pixel_size_nm,
                "y_nm": position[:, 0] * self.pixel_size_nm,
                "sigma_nm": self.spot.sigma_px * self.pixel_size_nm,
                "photons": molecules.photons.cpu().numpy().astype(np.float64),
                "background_photons": local,
                "noise_photons": np.sqrt(noise_variance(local, self.camera.at(rows, columns))),
                "uncertainty_nm": np.sqrt((uncertainty_nm**2).mean(axis=1)),
                "uncertainty_x_nm": uncertainty_nm[:, 1],
                "uncertainty_y_nm": uncertainty_nm[:, 0],
                "uncertainty_photons": spread[:, 2],
                "quality": found.evidence.cpu().numpy().astype(np.float64),
            }
        )


def merge(molecules: Molecules, distance_px: float) -> Molecules:
    """Replace molecules of one frame closer than `distance_px` by one at their centre of light."""
    if len(molecules) < 2 or distance_px == 0:
        return molecules
    points = molecules.points(distance_px)
    pairs = cKDTree(points).query_pairs(distance_px, output_type="ndarray")
    n = len(points)
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    count, labels = connected_components(links, directed=False)
    group = torch.as_tensor(labels, dtype=torch.long, device=molecules.frame.device)
    photons = molecules.photons.new_zeros(count).index_add_(0, group, molecules.photons)
    weighted = molecules.photons[:, None] * molecules.position
    position = weighted.new_zeros(count, 2).index_add_(0, group, weighted) / photons[:, None]
    frame = molecules.frame.new_zeros(count).scatter_(0, group, molecules.frame)
    return Molecules(frame, position, photons)


def _in_reading_order(found: Localizations) -> Localizations:
    """Sort by frame, then from top to bottom and left to right."""
    y, x = found.molecules.position.cpu().numpy().T
    order = np.lexsort((x, y, found.molecules.frame.cpu().numpy()))
    return found.select(torch.as_tensor(order, device=found.molecules.frame.device))
