"""The command *fluctuation*."""

from __future__ import annotations

from napari_unfold.cli.options import (
    ChannelOption,
    DeviceOption,
    FramesOption,
    OutFolder,
    PlaneOption,
    StackArgument,
    Stated,
    frames_of,
    opened,
    takes_settings,
)
from napari_unfold.cli.progress import run_with_progress, say
from napari_unfold.settings.fluctuation import FLUCTUATION_ITERATIONS, Fluctuation


@takes_settings(
    "fluctuation", "optics.pixel_size_nm", "optics.psf_sigma_nm", "optics.psf_image",
    "optics.psf_image_pixel_nm", "camera", "background", "solver.upsampling", "solver.iterations",
    usual={"solver": {"iterations": FLUCTUATION_ITERATIONS, "penalty": "l1"}},
)  # fmt: skip
def fluctuation(
    stated: Stated,
    stack: StackArgument,
    out: OutFolder,
    frames: FramesOption = None,
    channel: ChannelOption = None,
    plane: PlaneOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Sharpen a stack of fluctuating emitters, with a PSF that need not be known.

    Writes mean.tif, variance.tif, reconstruction.tif, psf.tif and run.json.
    """
    from napari_unfold.files.result_folder import ResultFolder, keep_apart
    from napari_unfold.fluctuation.sharpen import unfold_fluctuations
    from napari_unfold.fluctuation.sharpened import FluctuationResult

    outputs = [out / name for name in FluctuationResult.FILES]
    keep_apart([stack, *stated.files], outputs)
    with opened(stack, channel, plane) as movie:
        keep_apart(movie.files, outputs)
        recipe = stated.recipe({"optics": {"pixel_size_nm": movie.pixel_size_nm}})
        settings = stated.section(Fluctuation)
        span = frames_of(frames)
        with ResultFolder(out) as folder:
            result = run_with_progress(
                unfold_fluctuations(movie, recipe, settings, frames=span, device=device)
            )
            result.save(folder)
    for text in result.record["notes"]:
        say(text)
    say(
        f"Sharpened the {settings.image} image with a PSF of FWHM {result.fwhm_nm:.1f} nm "
        f"(sigma {result.sigma_nm:.1f} nm), written to {out}",
        fwhm_nm=result.fwhm_nm,
        folder=out,
    )
