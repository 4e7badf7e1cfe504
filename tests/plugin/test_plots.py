"""Plots are drawn when there is something to see, seldom, and in the colours of the window."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.colors import to_hex
from pytestqt.qtbot import QtBot

from napari_unfold.plugin.views.chart_view import ChartView
from napari_unfold.plugin.views.plot import Plot
from napari_unfold.plugin.views.training_plot import TrainingPlot
from napari_unfold.tables.chart import Chart


def plot(viewer, qtbot: QtBot, view: Plot) -> Plot:
    qtbot.addWidget(view)
    view.follow_theme(viewer)
    return view


def chart() -> Chart:
    x = np.arange(3.0)
    return Chart("Drift", "frame", "nm", {"x": (x, x), "y": (x, -x)})


def test_curves_are_drawn_seldom_and_survive_values_that_are_none(
    viewer, monkeypatch, qtbot
) -> None:
    drawn = []
    monkeypatch.setattr(TrainingPlot, "_draw_on", lambda *_: drawn.append(1))
    curves = plot(viewer, qtbot, TrainingPlot())
    for step in range(100):
        curves.add(step, {"training loss": float("inf"), "Jaccard index": 0.5})
    qtbot.waitUntil(lambda: bool(drawn))
    assert len(drawn) < 5
    monkeypatch.undo()
    curves.draw()
    assert np.isnan(curves.curve("training loss")[1]).all()
    assert curves.curve("Jaccard index")[1] == [0.5] * 100


def test_a_chart_is_hidden_until_there_is_one(viewer, qtbot) -> None:
    view = plot(viewer, qtbot, ChartView())
    assert view.isHidden()
    view.show_chart(chart())
    assert not view.isHidden()
    view.show_chart(None)
    assert view.isHidden()


@pytest.mark.parametrize("kind", [ChartView, TrainingPlot])
def test_a_plot_follows_the_theme_drawn_yet_or_not(viewer, qtbot, kind: type[Plot]) -> None:
    view = plot(viewer, qtbot, kind())
    dark = (view.background, view.text)
    viewer.theme = "light"
    light = (view.background, view.text)
    assert light != dark
    if isinstance(view, ChartView):
        view.show_chart(chart())
    else:
        view.add(0, {"training loss": 1.0})
        view.draw()
    figure = view.findChild(FigureCanvasQTAgg).figure
    assert to_hex(figure.get_facecolor()) == light[0]
    viewer.theme = "dark"
    assert to_hex(figure.get_facecolor()) == dark[0]
    assert to_hex(figure.axes[0].spines["left"].get_edgecolor()) == dark[1]


def test_a_second_chart_takes_the_place_of_the_first(viewer, qtbot) -> None:
    view = plot(viewer, qtbot, ChartView())
    view.show_chart(chart())
    view.show_chart(chart())
    (axes,) = view.findChild(FigureCanvasQTAgg).figure.axes
    assert [line.get_label() for line in axes.lines] == ["x", "y"]
