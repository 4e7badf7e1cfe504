"""What comes out of a stack, and its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_unfold.files.images import write_image
from napari_unfold.files.localizations import write_localizations
from napari_unfold.files.result_folder import RECORD, ResultFolder
from napari_unfold.files.results import save_set
from napari_unfold.settings.recipe import Recipe
from napari_unfold.tables.molecules import molecules_of


@dataclass(frozen=True)
class Reconstruction:
    """What comes out of a stack.

    Attributes
    ----------
    image : array (qY, qX), float32
        Mean over the frames, photons per fine pixel and frame.
    localizations : DataFrame
        One row per molecule and frame; columns as in `tables.columns`.
    background : array (Y, X)
        Photons per camera pixel.
    psf : array (n, n), float32
        PSF that was used, on the fine grid, of sum 1; ``record["psf"]`` has its width and source.
    molecule_photons : float
        Photons of a typical molecule that were used.
    pixel_size_nm : float
        Of the camera.
    upsampling : int
        Fine pixels per camera pixel.
    recipe : Recipe
        As it was used.
    record : dict
        How the result came about, ready for JSON.
    """

    FILES: ClassVar = (
        "reconstruction.tif", "reconstruction.png", "localizations.csv", "molecules.csv",
        "frames.tif", RECORD,
    )  # fmt: skip

    image: NDArray[np.float32]
    localizations: pd.DataFrame
    background: NDArray[np.float32]
    psf: NDArray[np.float32]
    molecule_photons: float
    pixel_size_nm: float
    upsampling: int
    recipe: Recipe
    record: dict[str, Any] = field(repr=False)

    def save(self, folder: Path | ResultFolder) -> list[Path]:
        """Write image, picture, table and record of a result, all or none.

        These are ``reconstruction.tif`` and, with a scale bar, ``.png``, ``localizations.csv`` and
        ``run.json``. Where molecules were followed in time, ``molecules.csv`` has one row for each.

        Raises
        ------
        InputError
            If the folder cannot be written; earlier files are then as they were.
        """
        from napari_unfold.files.figures import save_picture

        fine_nm = self.pixel_size_nm / self.upsampling
        parts: dict[str, Callable[[Path], None]] = {
            "reconstruction.tif": lambda path: write_image(self.image, path, fine_nm),
            "reconstruction.png": lambda path: save_picture(self.image, path, fine_nm),
            "localizations.csv": lambda path: write_localizations(self.localizations, path),
        }
        molecules = self.molecules
        if molecules is not None:
            parts["molecules.csv"] = lambda path: write_localizations(molecules, path)
        return save_set(folder, parts, self.record)

    @property
    def molecules(self) -> pd.DataFrame | None:
        """One row per molecule, if molecules were followed in time; see `molecules_of`."""
        return molecules_of(self.localizations) if "track" in self.localizations else None
