"""The commands for a finished localization table: filter, link, drift, frc, render."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_unfold.cli.options import Stated, takes_settings
from napari_unfold.cli.progress import run_with_progress, say
from napari_unfold.errors import InputError, UnfoldError
from napari_unfold.settings.tables import Drift, Linking, Rendering, Resolution
from napari_unfold.tables.columns import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

    from napari_unfold.files.table_formats import Movie


TableArgument = Annotated[
    Path,
    typer.Argument(help="Localization table: ThunderSTORM, Picasso, DECODE, SMAP, … (CSV, HDF5)."),
]
OutTable = Annotated[
    Path,
    typer.Option(
        "--out",
        help="Table to write: .csv (ThunderSTORM), .challenge.csv, .smap.csv, .hdf5 (Picasso), "
        ".smlm (ShareLoc), .parquet.",
    ),
]
CameraPixel = Annotated[
    float | None,
    typer.Option(
        "--camera-pixel-nm",
        help="For tables in pixels, or counting from a pixel's centre: side of a camera pixel. "
        "[nm]",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(convert)
    app.command("filter")(filter_table)
    for command in (link, drift, frc, render):
        app.command()(command)


def filter_table(
    table: TableArgument,
    out: OutTable,
    where: Annotated[
        list[str],
        typer.Option(
            "--where",
            help="Condition such as 'photons > 500' or '80 < sigma_nm < 160'; repeatable, all "
            f"must hold. Columns: {', '.join(column.name for column in COLUMNS)}. Frames "
            "count from 0.",
        ),
    ],
    camera_pixel_nm: CameraPixel = None,
) -> None:
    """Keep the localizations that pass all conditions."""
    from napari_unfold.files.localizations import write_localizations
    from napari_unfold.files.result_folder import keep_apart
    from napari_unfold.files.table_formats import paths_of
    from napari_unfold.tables.select import conditions_of, select

    keep_apart([table], paths_of(out))
    conditions = [condition for text in where for condition in conditions_of(text)]
    localizations = _read(table, camera_pixel_nm)
    keep = select(localizations, conditions)
    write_localizations(localizations[keep], out, _movie(table, camera_pixel_nm))
    for condition in conditions:
        typer.echo(f"{condition}: {int(condition.holds(localizations).sum())}")
    typer.echo(f"{int(keep.sum())} of {len(keep)} localizations kept, written to {out}")


def convert(
    table: TableArgument,
    out: OutTable,
    camera_pixel_nm: CameraPixel = None,
    size_px: Annotated[
        tuple[int, int] | None,
        typer.Option(
            "--size-px",
            help="Width and height of the frames, for Picasso. Default: as in run.json beside the "
            "table, or up to the last localization. [pixels]",
        ),
    ] = None,
) -> None:
    """Write a table for another program; the end of its name tells which.

    Frames, origin and units are those of that program.
    """
    from dataclasses import replace

    from napari_unfold.files.localizations import write_localizations
    from napari_unfold.files.result_folder import keep_apart
    from napari_unfold.files.table_formats import format_of, paths_of

    keep_apart([table], paths_of(out))
    movie = _movie(table, camera_pixel_nm)
    localizations = _read(table, camera_pixel_nm)
    if size_px is not None:
        if min(size_px) < 1:
            raise UnfoldError("--size-px: both sides must be positive", "Give width and height")
        frames = movie.shape[0] if movie.shape else int(localizations["frame"].max()) + 1
        movie = replace(movie, shape=(frames, size_px[1], size_px[0]))
    write_localizations(localizations, out, movie)
    typer.echo(f"{len(localizations)} localizations, written to {out} ({format_of(out).title})")


@takes_settings("linking")
def link(
    stated: Stated, table: TableArgument, out: OutTable, camera_pixel_nm: CameraPixel = None
) -> None:
    """Link the localizations of molecules that stay on over consecutive frames."""
    from napari_unfold.files.localizations import write_localizations
    from napari_unfold.files.result_folder import keep_apart
    from napari_unfold.files.table_formats import paths_of
    from napari_unfold.tables.link import link as job

    keep_apart([table], paths_of(out))
    settings = stated.section(Linking)
    localizations = _read(table, camera_pixel_nm)
    linked = run_with_progress(job(localizations, settings))
    write_localizations(linked, out, _movie(table, camera_pixel_nm))
    say(
        f"{len(localizations)} localizations are {len(linked)} molecules, written to {out}",
        molecules=len(linked),
        file=out,
    )


@takes_settings("drift")
def drift(
    stated: Stated,
    table: TableArgument,
    out: OutTable,
    curve: Annotated[
        Path | None,
        typer.Option(
            "--curve",
            help="CSV file for the drift of every frame: frame (from 1), drift_x [nm], "
            "drift_y [nm].",
        ),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="PNG file for a plot of the drift.")
    ] = None,
    camera_pixel_nm: CameraPixel = None,
) -> None:
    """Find the drift of the sample from the localizations themselves, and remove it."""
    from napari_unfold.files.curves import write_curve
    from napari_unfold.files.figures import check_figure_name, save_chart
    from napari_unfold.files.result_folder import keep_apart
    from napari_unfold.files.results import Write, save_together
    from napari_unfold.files.table_formats import paths_of, table_files
    from napari_unfold.tables.drift import correct_drift

    keep_apart([table], [*paths_of(out), curve, figure])
    settings = stated.section(Drift)
    if figure is not None:
        check_figure_name(figure)
    job = correct_drift(_read(table, camera_pixel_nm), settings)
    found = run_with_progress(job)
    files: dict[Path | None, Write] = {
        **table_files(found.table, out, _movie(table, camera_pixel_nm)),
        curve: partial(write_curve, found.curve),
        figure: partial(save_chart, found.chart()),
    }
    save_together(files)
    x_nm, y_nm = found.range_nm()
    say(
        f"Drift over {x_nm:.0f} nm in x and {y_nm:.0f} nm in y removed; "
        f"{len(found.block_frames)} blocks of frames, which disagree with the curve by "
        f"{found.disagreement_nm:.2g} nm (rms). Written to {out}",
        range_nm=(x_nm, y_nm),
        disagreement_nm=found.disagreement_nm,
        file=out,
    )


@takes_settings("resolution")
def frc(
    stated: Stated,
    table: TableArgument,
    curve: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="CSV file for the curve: frequency [1/um], correlation, and both smoothed.",
        ),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="PNG file for a plot of the curve.")
    ] = None,
    camera_pixel_nm: CameraPixel = None,
) -> None:
    """Measure the resolution by Fourier ring correlation, at 1/7."""
    from napari_unfold.files.curves import write_curve
    from napari_unfold.files.figures import check_figure_name, save_chart
    from napari_unfold.files.result_folder import keep_apart
    from napari_unfold.files.results import Write, save_together
    from napari_unfold.tables.frc import measure_resolution

    keep_apart([table], [curve, figure])
    settings = stated.section(Resolution)
    if figure is not None:
        check_figure_name(figure)
    job = measure_resolution(_read(table, camera_pixel_nm), settings)
    found = run_with_progress(job)
    files: dict[Path | None, Write] = {
        curve: partial(write_curve, found.curve),
        figure: partial(save_chart, found.chart()),
    }
    save_together(files)
    say(
        f"Resolution {found.resolution_nm:.1f} nm (Fourier ring correlation at 1/7; halves: "
        f"{found.halves}; pixels of {found.pixel_size_nm:.3g} nm)",
        resolution_nm=found.resolution_nm,
    )


@takes_settings("rendering")
def render(
    stated: Stated,
    table: TableArgument,
    out: Annotated[Path, typer.Option("--out", help="TIFF file to write.")],
    size_nm: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--size-nm",
            help="Width and height of the image. Default: up to the last localization. [nm]",
        ),
    ] = None,
    camera_pixel_nm: CameraPixel = None,
) -> None:
    """Render localizations as an image that begins at the corner of the camera image."""
    from napari_unfold.files.images import write_image
    from napari_unfold.files.result_folder import keep_apart
    from napari_unfold.tables.render import render as job

    if out.suffix.lower() not in {".tif", ".tiff"}:
        raise UnfoldError(f"'{out}' does not end in .tif", "Give the image a name like image.tif")
    keep_apart([table], [out])
    settings = stated.section(Rendering)
    if size_nm is not None and not all(0 < side < float("inf") for side in size_nm):
        raise UnfoldError("--size-nm: both sides must be positive", "Give width and height in nm")
    field = None if size_nm is None else size_nm[::-1]
    rendered = run_with_progress(job(_read(table, camera_pixel_nm), settings, size_nm=field))
    write_image(rendered.image, out, rendered.pixel_size_nm)
    height, width = rendered.image.shape
    say(
        f"{width} x {height} pixels of {rendered.pixel_size_nm:g} nm, {rendered.unit} per pixel, "
        f"written to {out}",
        file=out,
    )


def _movie(table: Path, camera_pixel_nm: float | None) -> Movie:
    """Return what is known of the stack of a table: from the record beside it, or as stated."""
    from dataclasses import replace

    from napari_unfold.files.result_folder import read_record
    from napari_unfold.files.table_formats import Movie

    movie = Movie.of(read_record(table.parent))
    return movie if camera_pixel_nm is None else replace(movie, pixel_size_nm=camera_pixel_nm)


def _read(table: Path, camera_pixel_nm: float | None) -> pd.DataFrame:
    from napari_unfold.files.localizations import read_localizations

    if camera_pixel_nm is not None and not 0 < camera_pixel_nm < float("inf"):
        raise UnfoldError(
            f"--camera-pixel-nm: {camera_pixel_nm:g} nm cannot be", "Give a positive number"
        )
    try:
        return read_localizations(table, pixel_size_nm=camera_pixel_nm)
    except InputError as error:
        # not the pixel size of the image to be rendered
        known = error.field == "optics.pixel_size_nm"
        raise InputError(
            error.problem, error.remedy, "camera_pixel_nm" if known else error.field
        ) from error
