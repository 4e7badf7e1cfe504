"""The command *evaluate*."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from napari_unfold.cli.options import frames_of
from napari_unfold.errors import UnfoldError


def evaluate(
    localizations: Annotated[Path, typer.Argument(help="Localization table (CSV).")],
    truth: Annotated[Path, typer.Argument(help="True molecules (CSV, any known layout).")],
    tolerance_nm: Annotated[
        list[float] | None,
        typer.Option("--tolerance-nm", help="Largest distance of a pair; repeatable. [nm]"),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option("--frames", help="A:B compares the frames from A up to, not including, B."),
    ] = None,
    pixel_size_nm: Annotated[
        float | None,
        typer.Option("--pixel-size-nm", help="For tables in pixels: side of a camera pixel. [nm]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Compare localizations with the true molecules."""
    from napari_unfold.files.localizations import read_localizations
    from napari_unfold.tables.evaluate import evaluate as run

    for tolerance in tolerance_nm or ():
        if not 0 < tolerance < float("inf"):
            raise UnfoldError(
                f"--tolerance-nm: {tolerance:g} nm cannot be", "Give a positive number"
            )
    found = read_localizations(localizations, pixel_size_nm=pixel_size_nm)
    true = read_localizations(truth, pixel_size_nm=pixel_size_nm)
    compared = None
    if frames is not None:
        last = max(
            (int(table["frame"].max()) + 1 for table in (found, true) if len(table)), default=0
        )
        compared = range(*frames_of(frames).indices(last))
    scores = [asdict(s) for s in run(found, true, tolerance_nm or (50.0, 100.0, 250.0), compared)]
    if as_json:
        for score in scores:
            typer.echo(json.dumps({k: None if v != v else v for k, v in score.items()}))
        return
    names = list(scores[0])
    typer.echo("  ".join(names))
    for score in scores:
        cells = (f"{score[n]:{len(n)}d}" if isinstance(score[n], int) else
                 f"{score[n]:{len(n)}.3f}" for n in names)  # fmt: skip
        typer.echo("  ".join(cells))
