"""The chart of importances tells what it is computed from, or why it is not drawn."""

import re
from pathlib import Path

import pytest

from study.report.charts import GREEN
from study.report.importance_chart import importance_chart
from study.report.plots import make_plots
from study.results.importance import importances
from tests.changed_studies import board_of
from tests.results.test_importance import finished_study, write_journal


@pytest.mark.parametrize("finished, stopped", [(0, 0), (29, 1), (30, 0), (30, 1234)])
def test_importance_is_drawn_from_30_finished_trials_on_and_stopped_ones_are_told(
    finished: int, stopped: int
):
    found = importances(finished_study(finished))
    chart = importance_chart("search", found, GREEN, stopped=stopped)
    assert (chart.missing_reason is None) == (finished == 30)
    text = chart.missing_reason or chart.caption
    assert re.findall(r"([\d,]+) trials? stopped early", text) == [f"{stopped:,}"] * bool(stopped)


def test_the_chart_of_the_open_search_counts_its_own_stopped_trials(few_shot_study: Path):
    write_journal(few_shot_study, "search", 12)
    board = board_of(few_shot_study)
    charts = [chart for chart in make_plots(board) if chart.name.startswith("importance")]
    ended = [t.status for t in board.stage("search") if t.group == "search"]
    told = charts[0].missing_reason or charts[0].caption
    assert re.findall(r"(\d+) trials? stopped early", told) == [str(ended.count("stopped"))]


def test_bars_are_the_importances_in_their_order():
    found = importances(finished_study(50, conditional=40))
    chart = importance_chart("search", found, GREEN)
    (panel,) = chart.panels
    names = panel.y.names or ()
    assert list(names) == sorted(found.weights, key=found.weights.__getitem__)
    (series,) = panel.series
    assert list(series.x) == [100 * found.weights[name] for name in names]
    assert " 40 finished trials" in chart.caption
