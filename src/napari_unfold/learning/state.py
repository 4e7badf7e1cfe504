"""Where a training stands, so that it can be gone on with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from napari_unfold.errors import InputError
from napari_unfold.files.atomic import replacing
from napari_unfold.jobs import Metrics
from napari_unfold.settings.explain import checked
from napari_unfold.settings.section import Section
from napari_unfold.unfolding.parameters import NetworkParameters


class TrainingState(Section):
    """All that a training knows after a learning step.

    Attributes
    ----------
    start, best : NetworkParameters
        Before learning, and the best so far.
    best_iteration : int
        Learning step of `best`.
    history : list of dict
        `Metrics` of all learning steps.
    learner : dict
        Present values and what the solver remembers.
    """

    start: NetworkParameters
    best: NetworkParameters
    best_iteration: int
    history: list[dict[str, Any]]
    learner: dict[str, Any]

    @classmethod
    def of(
        cls,
        start: NetworkParameters,
        best: NetworkParameters,
        best_iteration: int,
        history: Sequence[Metrics],
        learner: dict[str, Any],
    ) -> Self:
        """Return the state of a training."""
        return cls(
            start=start, best=best, best_iteration=best_iteration,
            history=[asdict(metrics) for metrics in history], learner=learner,
        )  # fmt: skip

    def metrics(self) -> list[Metrics]:
        """Return the history."""
        return [Metrics(**values) for values in self.history]


def state_path(preset: Path) -> Path:
    """Return where the state of the training of a preset is kept: beside it."""
    return preset.with_suffix(".training")


def save_state(state: TrainingState, path: Path) -> None:
    """Write a state as JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(state.model_dump()) + "\n", "utf-8")


def load_state(path: Path) -> TrainingState:
    """Read a state.

    Raises
    ------
    InputError
        If the file is not one.
    """
    try:
        return checked(TrainingState, json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, InputError) as error:
        raise InputError(
            f"{path} does not tell how to go on with the training",
            "Remove it to begin anew from the parameters of the preset",
            field="preset",
        ) from error
