"""The command *demo*."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_unfold.cli.options import DeviceOption
from napari_unfold.cli.progress import run_with_progress


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the results.")] = Path(
        "unfold-demo"
    ),
    gui: Annotated[bool, typer.Option("--gui", help="Show the result in napari.")] = False,
    device: DeviceOption = "auto",
) -> None:
    """Simulate, reconstruct, localize and evaluate: the whole job in under a minute."""
    from napari_unfold.reconstruction.demo import demo as job

    result = run_with_progress(job(out, device=device))
    for score in result.report["scores"]:
        typer.echo(
            f"Jaccard index {score['jaccard']:.3f} at {score['tolerance_nm']:g} nm "
            f"(precision {score['precision']:.3f}, recall {score['recall']:.3f}, "
            f"RMSE {score['rmse_nm']:.1f} nm)"
        )
    typer.echo(f"Written to {out}; look at {out / 'figure.png'}")
    if gui:
        from napari_unfold.plugin.show import show

        show(result.simulation, result.reconstruction)
