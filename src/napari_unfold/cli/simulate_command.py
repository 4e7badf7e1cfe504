"""The command *simulate*."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from napari_unfold.cli.options import Stated, takes_settings
from napari_unfold.cli.progress import say
from napari_unfold.errors import UnfoldError
from napari_unfold.settings.simulation import Instrument, Sample


@takes_settings(
    "sample", "optics.pixel_size_nm", "optics.psf_sigma_nm", "optics.psf_image",
    "optics.psf_image_pixel_nm", "instrument", "camera.type", "camera.offset_adu",
    "camera.adu_per_photon", "camera.excess_noise", "camera.read_noise_photons",
)  # fmt: skip
def simulate(
    stated: Stated,
    out: Annotated[
        Path, typer.Argument(help="TIFF file to write; the truth goes to OUT_truth.csv.")
    ],
    size: Annotated[
        int | None, typer.Option("--size", help="Height and width of a frame. [pixels]")
    ] = None,
) -> None:
    """Simulate a stack with known truth.

    What is not stated of the microscope is that of an EMCCD with an offset of 100 ADU and a gain
    of 2 ADU/photon, behind a PSF with a sigma of 110 nm (FWHM 259 nm). An uneven background goes
    to OUT_background.tif, the maps of a camera whose pixels differ to OUT_offset.tif, OUT_gain.tif
    and OUT_variance.tif.
    """
    import numpy as np

    from napari_unfold.estimation.observe import load_psf
    from napari_unfold.files.images import write_image
    from napari_unfold.files.localizations import write_localizations
    from napari_unfold.files.result_folder import keep_apart
    from napari_unfold.files.results import Write, save_together
    from napari_unfold.imaging.psf import MeasuredPSF
    from napari_unfold.simulation.scenes import acquire
    from napari_unfold.simulation.spot_shapes import BeadSpot

    if out.suffix.lower() not in {".tif", ".tiff"}:
        raise UnfoldError(
            f"'{out}' does not end in .tif", "Give the stack a name such as cells.tif"
        )
    if size is not None:
        square = {"height_px": size, "width_px": size}
        stated = stated.assuming({"sample": square})
    recipe = stated.recipe()
    suffixes = ("", "_background", "_offset", "_gain", "_variance")
    paths = {suffix: out.with_name(f"{out.stem}{suffix}{out.suffix}") for suffix in suffixes}
    truth = out.with_name(f"{out.stem}_truth.csv")
    keep_apart(stated.files, [truth, *paths.values()])
    psf = load_psf(recipe.optics) if recipe.optics.psf_image else None
    made = acquire(
        stated.section(Sample),
        stated.section(Instrument),
        recipe=recipe,
        spot=BeadSpot(psf, recipe.optics.pixel_size_nm) if isinstance(psf, MeasuredPSF) else None,
    )
    images = {"": made.stack}
    if np.ptp(made.background):
        images["_background"] = made.background.astype(np.float32)
    if made.sensor:
        images["_offset"] = made.sensor.offset_adu.astype(np.float32)
        images["_gain"] = made.sensor.adu_per_photon.astype(np.float32)
        images["_variance"] = made.sensor.variance_adu2.astype(np.float32)
    pixel_nm = made.recipe.optics.pixel_size_nm
    files: dict[Path | None, Write] = {
        paths[suffix]: partial(write_image, image, pixel_size_nm=pixel_nm)
        for suffix, image in images.items()
    }
    save_together({**files, truth: partial(write_localizations, made.truth)})
    seen = f"{made.truth['track'].nunique()} molecules in {len(made.stack)} frames"
    say(f"{seen}, written to {out}, {truth}", files=[*files, truth])
