"""What can be done with a table of localizations: the form, the job and the result of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_unfold.errors import InputError
from napari_unfold.jobs import Job, Stage
from napari_unfold.plugin.forms.filter_form import FilterForm
from napari_unfold.plugin.forms.rows import Row, section_form
from napari_unfold.plugin.forms.settings_form import check_presence, raw_of
from napari_unfold.settings.explain import checked
from napari_unfold.settings.section import Section
from napari_unfold.settings.tables import Drift, Linking, Rendering, Resolution

if TYPE_CHECKING:
    import pandas as pd

    from napari_unfold.plugin.layers import LayerData
    from napari_unfold.plugin.table_layers import Source
    from napari_unfold.tables.chart import Chart
    from napari_unfold.tables.select import Condition

Step = dict[str, Any]
"""What was done, for the metadata of a layer: plain values only."""


@dataclass(frozen=True)
class TaskResult:
    """What comes of a task.

    Attributes
    ----------
    summary : str
        One sentence.
    layers : list of LayerData
        To be added to the viewer.
    chart : Chart, optional
        To be shown in the dock.
    curve : DataFrame, optional
        What the chart shows, to be saved.
    is_next : bool
        Whether new localizations take the place of those they were made from.
    """

    summary: str
    layers: list[LayerData] = field(default_factory=list)
    chart: Chart | None = None
    curve: pd.DataFrame | None = None
    is_next: bool = True


@dataclass(frozen=True)
class Run:
    """A job that is ready to be started, and what will come of it.

    Attributes
    ----------
    job : Job
    result : callable
        From what the job returns to what there is to show.
    """

    job: Job[Any]
    result: Callable[[Any], TaskResult]


class FilterTask:
    """Keep the localizations that pass conditions.

    Attributes
    ----------
    title, tooltip : str
        Its name, and what Run does.
    form : FilterForm
    """

    title = "Filter"
    tooltip = "Make a new layer of the localizations that pass all conditions"

    def __init__(self) -> None:
        self.form = FilterForm()

    def set_table(self, table: pd.DataFrame | None) -> None:
        """Take notice of another table, None if there is none."""
        self.form.set_table(table)

    def errors(self) -> list[InputError]:
        """Return what is wrong in the form."""
        return self.form.errors()

    def prepare(self, table: pd.DataFrame, source: Source) -> Run:
        """Return the job; raises `InputError` if there is no condition."""
        conditions = self.form.conditions()
        if not conditions:
            raise InputError("there is no condition yet", "Enter the least or the greatest value")
        step = {"step": "filter", "conditions": [str(condition) for condition in conditions]}

        def result(kept: pd.DataFrame) -> TaskResult:
            return TaskResult(
                f"{len(kept):,} of {len(table):,} localizations kept.",
                [source.points(kept, "filtered", step)],
            )

        return Run(_filtered(table, conditions), result)


class SettingsTask:
    """A task whose form is made from a settings model.

    Parameters
    ----------
    title, tooltip : str
        Its name, and what Run does.
    model : type of Section
        Its settings.
    start : callable
        From a table and the settings to the job.
    show : callable
        From what the job returns, the source and what was done to a `TaskResult`.
    """

    def __init__(
        self,
        title: str,
        tooltip: str,
        model: type[Section],
        start: Callable[[pd.DataFrame, Any], Job[Any]],
        show: Callable[[Any, Source, Step], TaskResult],
    ) -> None:
        self.title, self.tooltip = title, tooltip
        self._model, self._start, self._show = model, start, show
        self._section = model.__name__.lower()
        self.form = section_form(self._section, model, title)

    def set_table(self, table: pd.DataFrame | None) -> None:
        """Take notice of another table; the settings do not depend on it."""

    def errors(self) -> list[InputError]:
        """Return what is wrong in the form."""
        return [error for row in self.form.rows if (error := self._error_of(row)) is not None]

    def prepare(self, table: pd.DataFrame, source: Source) -> Run:
        """Return the job; raises `InputError` if a setting is missing or out of range."""
        for error in self.errors():
            raise error
        values = {name: value for row in self.form.rows for name, value in self._raw(row).items()}
        settings = checked(self._model, values)
        step = {"step": self._section, **settings.model_dump(mode="json")}
        return Run(self._start(table, settings), lambda value: self._show(value, source, step))

    def _raw(self, row: Row) -> dict[str, Any]:
        return raw_of(row).get(self._section, {})

    def _error_of(self, row: Row) -> InputError | None:
        try:
            check_presence(row)
            checked(self._model, self._raw(row))
        except InputError as error:
            return error
        return None


Task = FilterTask | SettingsTask


def all_tasks() -> list[Task]:
    """Return one of each task, in the order in which they are usually done."""
    return [
        FilterTask(),
        SettingsTask(
            "Link",
            "Make a new layer with one localization for each molecule",
            Linking,
            _link,
            _show_linked,
        ),
        SettingsTask(
            "Correct drift",
            "Make a new layer without drift, and show the drift",
            Drift,
            _correct_drift,
            _show_drift,
        ),
        SettingsTask(
            "Render", "Make an image layer of the localizations", Rendering, _render, _show_image
        ),
        SettingsTask(
            "Measure resolution",
            "Measure the resolution by Fourier ring correlation",
            Resolution,
            _measure,
            _show_resolution,
        ),
    ]


# ---- the jobs, whose modules are slow to import, and what comes of them


def _filtered(table: pd.DataFrame, conditions: list[Condition]) -> Job[Any]:
    from napari_unfold.tables.select import select

    yield Stage("Filtering")
    return table[select(table, conditions)].reset_index(drop=True)


def _link(table: pd.DataFrame, settings: Linking) -> Job[Any]:
    from napari_unfold.tables.link import link

    return (yield from link(table, settings))


def _show_linked(molecules: pd.DataFrame, source: Source, step: Step) -> TaskResult:
    return TaskResult(
        f"{source.count:,} localizations are {len(molecules):,} molecules.",
        [source.points(molecules, "linked", step)],
    )


def _correct_drift(table: pd.DataFrame, settings: Drift) -> Job[Any]:
    from napari_unfold.tables.drift import correct_drift

    return (yield from correct_drift(table, settings))


def _show_drift(found: Any, source: Source, step: Step) -> TaskResult:
    x_nm, y_nm = found.range_nm()
    return TaskResult(
        f"Drift over {x_nm:.0f} nm in x and {y_nm:.0f} nm in y removed.",
        [source.points(found.table, "without drift", {**step, "range_xy_nm": [x_nm, y_nm]})],
        found.chart(),
        found.curve,
    )


def _render(table: pd.DataFrame, settings: Rendering) -> Job[Any]:
    from napari_unfold.tables.render import render

    return (yield from render(table, settings))


def _show_image(rendered: Any, source: Source, step: Step) -> TaskResult:
    height, width = rendered.image.shape
    return TaskResult(
        f"{width:,} x {height:,} pixels of {rendered.pixel_size_nm:g} nm; "
        f"values are {rendered.unit} per pixel.",
        [source.image(rendered, "rendered", {**step, "pixel_unit": rendered.unit})],
    )


def _measure(table: pd.DataFrame, settings: Resolution) -> Job[Any]:
    from napari_unfold.tables.frc import measure_resolution

    return (yield from measure_resolution(table, settings))


def _show_resolution(found: Any, source: Source, _: Step) -> TaskResult:
    return TaskResult(
        f"Resolution of '{source.name}': {found.resolution_nm:.1f} nm "
        "(Fourier ring correlation at 1/7).",
        chart=found.chart(),
        curve=found.curve,
    )
