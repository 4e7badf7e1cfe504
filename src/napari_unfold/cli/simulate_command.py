"""The command *simulate*."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_unfold.cli.options import Stated, takes_settings
from napari_unfold.errors import UnfoldError
from napari_unfold.settings.training import SceneName
from napari_unfold.simulation.simulated_microscope import BACKGROUND_PHOTONS, MOLECULE_PHOTONS


@takes_settings(
    "optics.pixel_size_nm", "optics.psf_sigma_nm", "camera.type", "camera.offset_adu",
    "camera.adu_per_photon", "camera.excess_noise", "camera.read_noise_photons",
)  # fmt: skip
def simulate(
    stated: Stated,
    out: Annotated[
        Path, typer.Argument(help="TIFF file to write; the truth goes to OUT_truth.csv.")
    ],
    scene: Annotated[
        SceneName, typer.Option("--scene", help="Molecules on curved filaments, or anywhere.")
    ] = "filaments",
    frames: Annotated[int, typer.Option("--frames", help="Number of frames.")] = 50,
    size: Annotated[int, typer.Option("--size", help="Side of a frame. [pixels]")] = 64,
    density: Annotated[
        float, typer.Option("--density", help="Molecules in a frame. [per square micrometre]")
    ] = 3.0,
    molecule_photons: Annotated[
        float, typer.Option("--molecule-photons", help="Mean light of a molecule. [photons/frame]")
    ] = MOLECULE_PHOTONS,
    brightness_spread: Annotated[
        float,
        typer.Option("--brightness-spread", help="Standard deviation of the light over its mean."),
    ] = 0.2,
    background: Annotated[
        float, typer.Option("--background", help="Light without any molecule. [photons/pixel]")
    ] = BACKGROUND_PHOTONS,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same stack.")] = 0,
) -> None:
    """Simulate a stack with known truth.

    What is not stated of the microscope is that of an EMCCD with an offset of 100 ADU and a gain
    of 2 ADU/photon, behind a PSF with a sigma of 110 nm (FWHM 259 nm).
    """
    from napari_unfold.files.images import write_image
    from napari_unfold.files.localizations import write_localizations
    from napari_unfold.simulation.scenes import simulate as run

    recipe = stated.recipe()
    simulation = run(
        scene,
        frames=frames,
        shape=(size, size),
        density_per_um2=density,
        molecule_photons=molecule_photons,
        brightness_spread=brightness_spread,
        background_photons=background,
        recipe=recipe,
        seed=seed,
    )
    if out.suffix.lower() not in {".tif", ".tiff"}:
        raise UnfoldError(
            f"'{out}' does not end in .tif", "Give the stack a name such as cells.tif"
        )
    truth = out.with_name(f"{out.stem}_truth.csv")
    write_image(simulation.stack, out, recipe.optics.pixel_size_nm)
    write_localizations(simulation.truth, truth)
    typer.echo(f"{len(simulation.truth)} molecules in {frames} frames, written to {out}, {truth}")
