"""The task that compares localizations with the true molecules, and colours what is right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unfold.errors import InputError
from napari_unfold.jobs import Job, Stage
from napari_unfold.plugin.forms.editors import NumberEdit
from napari_unfold.plugin.forms.rows import Row, SectionForm
from napari_unfold.plugin.forms.table_tasks import Run, Step, TaskResult
from napari_unfold.plugin.forms.truth_rows import FILE, truth_rows
from napari_unfold.plugin.table_layers import table_of_layer

if TYPE_CHECKING:
    import pandas as pd
    from napari.components import ViewerModel

    from napari_unfold.plugin.layers import LayerData
    from napari_unfold.plugin.table_layers import Source
    from napari_unfold.tables.evaluate import Score

TOLERANCES_NM = (50.0, 100.0, 250.0)
COLORS = {"true": "#7dff7a", "missed": "#ffb000", "false": "#ff4fd8"}
_USUAL_TOLERANCE_NM = 100.0


@dataclass(frozen=True)
class Compared:
    """Scores, and the rows of each kind at one tolerance."""

    scores: list[Score]
    kinds: dict[str, pd.DataFrame]


class EvaluateTask:
    """Compare with true molecules of a layer or a file.

    Parameters
    ----------
    viewer : napari.components.ViewerModel

    Attributes
    ----------
    title, tooltip : str
        Its name, and what Run does.
    form : SectionForm
    """

    title = "Evaluate"
    tooltip = "Compare with the true molecules: scores, and what is true, missed and false"

    def __init__(self, viewer: ViewerModel) -> None:
        self.truth_row, self.file_row = truth_rows(
            viewer,
            "<qt>The true molecules: a Points layer, such as that of a sample, or a table.</qt>",
            "evaluate.",
        )
        self.tolerance_row = Row(
            "evaluate.tolerance_nm",
            "Colours at",
            NumberEdit(),
            "<qt>A localization within this distance of a true molecule of its frame is true.</qt>",
            "nm",
        )
        self.tolerance_row.editor.set_value(_USUAL_TOLERANCE_NM)
        self.form = SectionForm("Evaluate", [self.truth_row, self.file_row, self.tolerance_row])
        self.truth_row.changed.connect(self._on_truth)
        self._on_truth()

    def reset_choices(self) -> None:
        """List the Points layers anew."""
        self.truth_row.editor.reset_choices()
        self._on_truth()

    def set_table(self, table: pd.DataFrame | None) -> None:
        """Take notice of another table; a layer named as its truth is proposed."""
        proposals = [layer for layer in self._layers() if layer.name.endswith(" truth")]
        if table is not None and proposals and self.truth_row.editor.value not in proposals:
            self.truth_row.editor.set_value(proposals[-1])

    def errors(self) -> list[InputError]:
        """Return what is wrong in the form."""
        found = []
        tolerance = self.tolerance_row.editor.value
        if not isinstance(tolerance, float) or not tolerance > 0:
            found.append(
                InputError(
                    "the distance is no positive number", "Enter it in nm", "evaluate.tolerance_nm"
                )
            )
        if self.truth_row.editor.value == FILE and self.file_row.editor.value is None:
            found.append(
                InputError(
                    "the table of the true molecules is missing",
                    "Choose its file, or a Points layer",
                    "evaluate.truth_file",
                )
            )
        return found

    def prepare(self, table: pd.DataFrame, source: Source) -> Run:
        """Return the job; raises `InputError` if there is no truth."""
        for error in self.errors():
            raise error
        chosen = self.truth_row.editor.value
        truth: Path | pd.DataFrame = (
            self.file_row.editor.value if chosen == FILE else table_of_layer(chosen)
        )
        asked = source.record.get("stack", {}).get("frames")
        frames = range(*asked) if asked else None
        tolerance: float = self.tolerance_row.editor.value
        step = {"step": "evaluate", "tolerance_nm": tolerance}

        def result(compared: Compared) -> TaskResult:
            return TaskResult(
                _as_text(source.name, compared.scores, frames),
                [
                    coloured(source, kind, rows, tolerance, step)
                    for kind, rows in compared.kinds.items()
                ],
                is_next=False,
            )

        return Run(_evaluated(table, truth, frames, tolerance), result)

    def _layers(self) -> list[Any]:
        return [choice for choice in self.truth_row.editor.choices if choice != FILE]

    def _on_truth(self) -> None:
        self.file_row.set_enabled(self.truth_row.editor.value == FILE)


def coloured(
    source: Source, kind: str, rows: pd.DataFrame, tolerance_nm: float, step: Step
) -> LayerData:
    """Layer data of true, missed or false molecules, in the colour of its kind."""
    data, known, layer_type = source.points(rows, f"{kind} at {tolerance_nm:g} nm", step)
    color = COLORS[kind]
    return data, {**known, "face_color": color, "border_color": color}, layer_type


def _evaluated(
    table: pd.DataFrame, truth: Path | pd.DataFrame, frames: range | None, tolerance_nm: float
) -> Job[Compared]:
    yield Stage("Comparing with the truth")
    from napari_unfold.files.localizations import read_localizations
    from napari_unfold.tables.evaluate import evaluate, matched_rows

    if isinstance(truth, Path):
        truth = read_localizations(truth)
    if frames is not None:
        truth = truth[truth["frame"].isin(frames)].reset_index(drop=True)
    scores = evaluate(table, truth, TOLERANCES_NM, frames)
    found, true = matched_rows(table, truth, tolerance_nm)
    return Compared(scores, {"true": table[found], "missed": truth[~true], "false": table[~found]})


def _as_text(name: str, scores: list[Score], frames: range | None) -> str:
    def cell(value: float, form: str) -> str:
        return f"<td align='right'>{'–' if np.isnan(value) else format(value, form)}</td>"

    heads = ("within", "Jaccard", "precision", "recall", "RMSE", "effic.")
    rows = [
        f"<tr><td>{s.tolerance_nm:g} nm</td>"
        + cell(100 * s.jaccard, ".1f")
        + cell(100 * s.precision, ".1f")
        + cell(100 * s.recall, ".1f")
        + cell(s.rmse_nm, ".1f")
        + cell(s.efficiency, ".1f")
        + "</tr>"
        for s in scores
    ]
    of_frames = "" if frames is None else f", frames {frames.start} to {frames.stop - 1}"
    first = scores[0]
    head = "".join(f"<th>{title}</th>" for title in heads)
    return (
        f"<qt>'{name}'{of_frames}: {first.n_found:,} found, {first.n_truth:,} true molecules"
        f"<table cellpadding=2><tr>{head}</tr>{''.join(rows)}</table>"
        "in %, RMSE in nm; efficiency as in the SMLM challenge</qt>"
    )
