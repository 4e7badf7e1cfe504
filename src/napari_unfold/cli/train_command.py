"""The command *train*."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from napari_unfold import jobs
from napari_unfold.cli.options import (
    ChannelOption,
    DeviceOption,
    FramesOption,
    PlaneOption,
    Stated,
    frames_of,
    opened,
    takes_settings,
)
from napari_unfold.cli.progress import run_with_progress, say
from napari_unfold.errors import InputError
from napari_unfold.settings.training import TRAINING_ITERATIONS, Training


@takes_settings(
    "training", "optics", "camera", "background", "solver",
    usual={"solver": {"iterations": TRAINING_ITERATIONS}},
)  # fmt: skip
def train(
    stated: Stated,
    out: Annotated[Path, typer.Option("--out", help="Preset to write (.json).")],
    stack: Annotated[Path | None, typer.Argument(help="Stack of your microscope.")] = None,
    truth: Annotated[
        Path | None, typer.Argument(help="Its true molecules (CSV), if they are known.")
    ] = None,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate",
            help="Learn from simulated frames; brightness and background as in STACK, if given.",
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the parameters in the file --out.")
    ] = False,
    frames: FramesOption = None,
    channel: ChannelOption = None,
    plane: PlaneOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Learn a preset from a stack with known molecules, or from simulated frames."""
    from napari_unfold.files.localizations import read_localizations
    from napari_unfold.files.presets import load_preset, save_preset
    from napari_unfold.files.result_folder import keep_apart
    from napari_unfold.learning.learn import learn

    if not simulate and truth is None:
        raise InputError(
            "there is nothing to learn from",
            "Give a stack and its true molecules, or --simulate",
        )
    keep_apart([stack, truth, *stated.files], [out])
    with nullcontext() if stack is None else opened(stack, channel, plane) as movie:
        recipe = stated.recipe({"optics": {"pixel_size_nm": movie and movie.pixel_size_nm}})
        training = stated.section(Training)
        name = "".join(c if c.isalnum() else "-" for c in out.stem.lower()).strip("-") or "trained"

        def keep(event: jobs.Event) -> None:
            # an interrupted training leaves the best so far, from which it can be resumed
            if isinstance(event, jobs.Checkpoint):
                save_preset(event.value.preset, out)

        job = learn(
            recipe,
            training,
            name=name,
            stack=movie,
            truth=None if simulate or truth is None else read_localizations(truth),
            frames=frames_of(frames),
            resume=load_preset(out) if resume else None,
            device=device,
        )
        learned = run_with_progress(job, keep)
    save_preset(learned.preset, out)
    first, best = learned.history[0], learned.preset.scores[1].value
    say(
        f"{training.loss} loss {first.validation_loss:.4g} before, {best:.4g} after "
        f"{len(learned.history) - 1} steps ({learned.outcome}), written to {out}",
        loss=best,
        file=out,
    )
