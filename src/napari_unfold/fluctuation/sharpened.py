"""What comes out of a stack of fluctuating emitters."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_unfold.files.images import write_image
from napari_unfold.files.result_folder import RECORD, ResultFolder
from napari_unfold.files.results import save_set
from napari_unfold.jobs import Metrics
from napari_unfold.settings.fluctuation import Fluctuation
from napari_unfold.settings.microscope import FWHM_PER_SIGMA


@dataclass(frozen=True)
class FluctuationResult:
    """What comes out of a stack of fluctuating emitters.

    Attributes
    ----------
    mean, variance : array (Y, X), float32
        Wide-field image in photons, and temporal variance without that of the noise, in photons
        squared.
    reconstruction : array (qY, qX), float32
        The chosen image, sharpened: light (photons) or its variance (photons squared) of the
        emitters per fine pixel.
    psf : array (n, n), float32
        PSF that was used, on the fine grid, of sum 1.
    sigma_nm : float
        Its sigma; for a bead image that of a Gaussian as wide.
    data_sigma_nm, data_sigma_error_nm : float or None
        Sigma estimated from the stack alone and its standard error.
    learned_sigma_nm : float or None
        Sigma learned on simulated patterns.
    history : list of Metrics
        Those of every learning step.
    settings : Fluctuation
    pixel_size_nm : float
        Of the camera.
    upsampling : int
        Fine pixels per camera pixel.
    record : dict
        How the result came about, ready for JSON.
    """

    FILES: ClassVar = ("mean.tif", "variance.tif", "reconstruction.tif", "psf.tif", RECORD)

    mean: NDArray[np.float32]
    variance: NDArray[np.float32]
    reconstruction: NDArray[np.float32]
    psf: NDArray[np.float32]
    sigma_nm: float
    data_sigma_nm: float | None
    data_sigma_error_nm: float | None
    learned_sigma_nm: float | None
    history: list[Metrics]
    settings: Fluctuation
    pixel_size_nm: float
    upsampling: int
    record: dict[str, Any] = field(repr=False)

    @property
    def fwhm_nm(self) -> float:
        """Full width at half maximum of the PSF that was used."""
        return FWHM_PER_SIGMA * self.sigma_nm

    def save(self, folder: Path | ResultFolder) -> list[Path]:
        """Write ``mean``, ``variance``, ``reconstruction`` and ``psf`` as TIFF, and ``run.json``.

        Raises
        ------
        InputError
            If the folder cannot be written; earlier files are then as they were.
        """
        fine_nm = self.pixel_size_nm / self.upsampling
        return save_set(
            folder,
            {
                "mean.tif": lambda path: write_image(self.mean, path, self.pixel_size_nm),
                "variance.tif": lambda path: write_image(self.variance, path, self.pixel_size_nm),
                "reconstruction.tif": lambda path: write_image(self.reconstruction, path, fine_nm),
                "psf.tif": lambda path: write_image(self.psf, path, fine_nm),
            },
            self.record,
        )
