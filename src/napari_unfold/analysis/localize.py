"""From reconstructed frames to molecules: one row per molecule, off the grid.

Bright spots of the reconstruction are the candidates. All molecules of a frame are then fitted
together to the camera data (`refine`); spots too bright for one molecule are tried as two, close
ones are merged and faint ones dropped, and the rest is fitted again.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch.nn import functional

from napari_unfold.analysis.refine import CameraLikelihood, Molecules, SpotModel, fit
from napari_unfold.imaging.camera import noise_variance
from napari_unfold.recipe import Camera, Localization

SPLIT_ROUNDS = 3
SPLIT_DISTANCE_PX = 0.35
"""Half the distance at which two molecules are started in place of one."""


@dataclass(frozen=True)
class Localizer:
    """Finds the molecules of a batch of frames.

    Parameters
    ----------
    sigma_px : float
        PSF sigma in camera pixels.
    pixel_size_nm : float
    upsampling : int
        Fine pixels per camera pixel of the reconstruction.
    molecule_photons : float
        Photons of a typical molecule.
    threshold_photons : float
        Faintest spot of the reconstruction to start from.
    faintest_photons : float
        Faintest molecule to keep.
    camera : Camera
        For its noise.
    settings : Localization
    """

    sigma_px: float
    pixel_size_nm: float
    upsampling: int
    molecule_photons: float
    threshold_photons: float
    faintest_photons: float
    camera: Camera
    settings: Localization

    def __call__(
        self, x: torch.Tensor, y: torch.Tensor, b: torch.Tensor
    ) -> Generator[float, None, Molecules]:
        """Find the molecules; yields now and then the share of the work that is done.

        Parameters
        ----------
        x : tensor (B, qY, qX)
            Reconstruction, photons per fine pixel.
        y : tensor (B, Y, X)
            Frames in photons.
        b : tensor (Y, X)
            Background in photons.

        Returns
        -------
        Molecules
        """
        background = b.expand_as(y)
        found = find_spots(x, self.threshold_photons, self.upsampling)
        yield 0.0
        found = self._fit(found, y, background)
        for done in range(1, SPLIT_ROUNDS + 1):
            yield done / (SPLIT_ROUNDS + 2)
            found = self._fit(self._split(found, y, background), y, background)
            found = self._drop(merge(found, self.settings.merge_distance_nm / self.pixel_size_nm))
        yield (SPLIT_ROUNDS + 1) / (SPLIT_ROUNDS + 2)
        found = self._drop(self._fit(found, y, background))
        return _in_reading_order(self._inside(found, y.shape))

    def _fit(self, molecules: Molecules, y: torch.Tensor, b: torch.Tensor) -> Molecules:
        return fit(molecules, y, b, self.sigma_px, self.camera.excess_noise, self._read_variance)

    @property
    def _read_variance(self) -> float:
        return self.camera.read_noise_photons**2

    def _split(self, molecules: Molecules, y: torch.Tensor, b: torch.Tensor) -> Molecules:
        """Put two molecules where one is brighter than one can be."""
        bright = molecules.photons > self.settings.split_brightness * self.molecule_photons
        if not bool(bright.any()):
            return molecules
        model = SpotModel((y.shape[0], y.shape[1], y.shape[2]), self.sigma_px)
        model.locate(molecules)
        spots = model.light(molecules)
        likelihood = CameraLikelihood(y, b, self.camera.excess_noise, self._read_variance)
        residual, _ = likelihood.residual_and_weight(spots)
        apart = SPLIT_DISTANCE_PX * model.elongation(molecules, residual)[bright]
        single, double = molecules.select(~bright), molecules.select(bright)
        return Molecules(
            torch.cat([single.frame, double.frame, double.frame]),
            torch.cat([single.position, double.position - apart, double.position + apart]),
            torch.cat([single.photons, double.photons / 2, double.photons / 2]),
        )

    def _drop(self, molecules: Molecules) -> Molecules:
        return molecules.select(molecules.photons >= self.faintest_photons)

    @staticmethod
    def _inside(molecules: Molecules, shape: torch.Size) -> Molecules:
        size = molecules.position.new_tensor([shape[-2], shape[-1]])
        inside = (molecules.position >= 0) & (molecules.position < size)
        return molecules.select(inside.all(dim=1))

    def table(self, molecules: Molecules, first_frame: int, background: np.ndarray) -> pd.DataFrame:
        """Return the molecules as a localization table.

        Parameters
        ----------
        molecules : Molecules
        first_frame : int
            Number, from 0, of the batch's first frame in the stack.
        background : array (Y, X)
            Photons per camera pixel.
        """
        position = molecules.position.cpu().numpy().astype(np.float64)
        last = np.array(background.shape) - 1
        rows, columns = np.minimum(position.astype(int), last).T
        local = background[rows, columns].astype(np.float64)
        return pd.DataFrame(
            {
                "frame": molecules.frame.cpu().numpy() + first_frame,
                "x_nm": position[:, 1] * self.pixel_size_nm,
                "y_nm": position[:, 0] * self.pixel_size_nm,
                "sigma_nm": self.sigma_px * self.pixel_size_nm,
                "photons": molecules.photons.cpu().numpy().astype(np.float64),
                "background_photons": local,
                "noise_photons": np.sqrt(noise_variance(local, self.camera)),
            }
        )


def find_spots(x: torch.Tensor, threshold_photons: float, upsampling: int) -> Molecules:
    """Local maxima of the reconstruction with the photons and centroid of 3 x 3 fine pixels.

    Parameters
    ----------
    x : tensor (B, qY, qX)
        Reconstruction.
    threshold_photons : float
        Photons that the 3 x 3 fine pixels must hold.
    upsampling : int
        Fine pixels per camera pixel.
    """
    images = x[:, None]
    tent = x.new_tensor([0.05, 0.25, 1.0, 0.25, 0.05])
    smooth = functional.conv2d(images, torch.outer(tent, tent)[None, None], padding=2)
    peak = (smooth == functional.max_pool2d(smooth, 3, 1, 1)) & (images > 0)
    one, ramp = x.new_ones(3), x.new_tensor([-1.0, 0.0, 1.0])
    kernels = torch.stack([torch.outer(one, one), torch.outer(ramp, one), torch.outer(one, ramp)])
    moments = functional.conv2d(images, kernels[:, None], padding=1)
    peak = peak[:, 0] & (moments[:, 0] > threshold_photons)
    frame, row, column = peak.nonzero(as_tuple=True)
    photons, down, right = moments.permute(1, 0, 2, 3)[:, frame, row, column]
    position = torch.stack([row + 0.5 + down / photons, column + 0.5 + right / photons], 1)
    return Molecules(frame, position / upsampling, photons)


def merge(molecules: Molecules, distance_px: float) -> Molecules:
    """Replace molecules of one frame closer than `distance_px` by one at their centre of light."""
    if len(molecules) < 2 or distance_px == 0:
        return molecules
    # frames lie far apart along a third axis, so that one search serves all of them
    far = 10.0 * distance_px * molecules.frame.double()
    points = torch.cat([far[:, None], molecules.position.double()], 1).cpu().numpy()
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


def _in_reading_order(molecules: Molecules) -> Molecules:
    """Sort by frame, then from top to bottom and left to right."""
    y, x = molecules.position.cpu().numpy().T
    order = np.lexsort((x, y, molecules.frame.cpu().numpy()))
    return molecules.select(torch.as_tensor(order, device=molecules.frame.device))
