"""The command *doctor*."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from napari_unfold.cli.options import DeviceOption
from napari_unfold.cli.progress import run_with_progress


def doctor(
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Examine the installation, for a report of a fault; ends with status 1 if it is not sound.

    Versions, memory, the device with a real computation on it, the plugin, and a small
    reconstruction whose result is known.
    """
    from napari_unfold.reconstruction.examine import examine

    findings = run_with_progress(examine(device))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for one in findings:
            wrong = f"  PROBLEM: {one.problem}." if one.problem else ""
            typer.echo(f"{one.name:18s} {one.value}{wrong}")
    if any(finding.problem for finding in findings):
        raise typer.Exit(1)
