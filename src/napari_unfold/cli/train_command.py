"""The command *train*."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from napari_unfold.jobs import Device
from napari_unfold.settings.training import TRAINING_ITERATIONS, Training

if TYPE_CHECKING:
    from napari_unfold.files.stacks import Stack


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
            help="Learn from simulated frames; brightness, background and camera as in STACK, if "
            "given.",
        ),
    ] = False,
    adapt: Annotated[
        bool,
        typer.Option(
            "--adapt",
            help="Learn from simulated frames that look like those of STACK in all that can be "
            "estimated, and tell whether the result is better than the shipped preset. Default: "
            "loss image, 32 training frames, 80 steps.",
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the training of the file --out; what is needed for that is kept "
            "beside it, in a file of the same name that ends with .training.",
        ),
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
    from napari_unfold.learning.learn import Learned, learn
    from napari_unfold.learning.state import load_state, save_state, state_path

    keep_apart([stack, truth, *stated.files], [out])
    if adapt:
        if stack is None or truth is not None or simulate or resume:
            raise InputError(
                "--adapt learns from a stack alone, from the beginning",
                "Give the stack, and neither true molecules nor --simulate nor --resume",
            )
        _adapt(stated, out, opened(stack, channel, plane), frames, device)
        return
    if not simulate and truth is None:
        raise InputError(
            "there is nothing to learn from",
            "Give a stack and its true molecules, a stack and --adapt, or --simulate",
        )
    with nullcontext() if stack is None else opened(stack, channel, plane) as movie:
        recipe = stated.recipe({"optics": {"pixel_size_nm": movie and movie.pixel_size_nm}})
        training = stated.section(Training)

        def save(learned: Learned) -> None:
            save_preset(learned.preset, out)
            save_state(learned.state, state_path(out))

        def keep(event: jobs.Event) -> None:
            # an interrupted training leaves the best so far, from which it can be resumed
            if isinstance(event, jobs.Checkpoint):
                save(event.value)

        job = learn(
            recipe,
            training,
            name=_name(out),
            stack=movie,
            truth=None if simulate or truth is None else read_localizations(truth),
            frames=frames_of(frames),
            resume=load_preset(out) if resume else None,
            state=load_state(state_path(out)) if resume and state_path(out).is_file() else None,
            device=device,
        )
        learned = run_with_progress(job, keep)
    save(learned)
    first, best = learned.history[0], learned.history[learned.best]
    say(
        f"Jaccard index of pixels {first.jaccard:.3f} before, {best.jaccard:.3f} after step "
        f"{learned.best} of {len(learned.history) - 1}; {training.loss} loss "
        f"{first.validation_loss:.4g} before, {best.validation_loss:.4g} after "
        f"({learned.outcome}), written to {out}",
        jaccard=best.jaccard,
        loss=best.validation_loss,
        file=out,
    )


def _adapt(stated: Stated, out: Path, stack: Stack, frames: str | None, device: Device) -> None:
    """Learn a preset for a stack, and say whether it is better than the shipped one."""
    from napari_unfold.files.presets import save_preset
    from napari_unfold.learning.adapt import USUAL, adapt

    stated = stated.assuming({"training": USUAL.model_dump(exclude_unset=True)})
    with stack:
        job = adapt(
            stack,
            stated.recipe({"optics": {"pixel_size_nm": stack.pixel_size_nm}}),
            stated.section(Training),
            name=_name(out),
            frames=frames_of(frames),
            device=device,
        )
        adapted = run_with_progress(job)
    save_preset(adapted.learned.preset, out)
    table = [("", adapted.shipped.preset, adapted.adapted.preset), *adapted.rows()]
    widths = [max(len(row[i]) for row in table) for i in range(3)]
    lines = [
        f"{title:{widths[0]}}  {shipped:>{widths[1]}}  {own:>{widths[2]}}"
        for title, shipped, own in table
    ]
    say(
        "\n".join([*lines, f"{adapted.verdict}. Written to {out}"]),
        better=adapted.is_better,
        shipped=adapted.shipped.numbers(),
        adapted=adapted.adapted.numbers(),
        verdict=adapted.verdict,
        file=out,
    )


def _name(out: Path) -> str:
    """Return the name of the preset that is written to a file."""
    return "".join(c if c.isalnum() else "-" for c in out.stem.lower()).strip("-") or "trained"
