"""The chart of importances tells what it is computed from, or why it is not drawn."""

import re
from pathlib import Path

from study.report.charts import GREEN
from study.report.importance_chart import importance_chart
from study.report.plots import make_plots
from study.results.importance import Importances, importances
from study.results.leaderboard import leaderboard
from study.results.study_results import read_results
from tests.case_tables import from_table
from tests.results.test_importance import finished_study, write_journal


@from_table
def test_importance_is_drawn_from_30_finished_trials_on_and_stopped_ones_are_told(
    finished: int, stopped: int, told: str | None
):
    found = importances(finished_study(finished))
    chart = importance_chart("search", found, GREEN, stopped=stopped)
    lacking = chart.missing_reason
    assert (lacking is None) == (finished == 30)
    text = lacking or chart.caption
    assert finished == 30 or text.startswith(f"needs 30 finished trials, has {finished}")
    assert ("stopped early" in text) == (told is not None)
    assert (told or "") in text


def test_the_chart_of_each_arm_tells_how_many_of_its_trials_were_stopped(
    few_shot_study: Path,
):
    for arm in ("search", "clipfit-tuned"):
        write_journal(few_shot_study, arm, 12)
    board = leaderboard(read_results(few_shot_study))
    charts = {chart.name: chart for chart in make_plots(board)}
    for arm in ("search", "clipfit-tuned"):
        ended = [t.status for t in board.stage("search") if t.arm == arm]
        chart = charts[f"importance-{arm}"]
        told = chart.missing_reason or chart.caption
        assert re.findall(r"(\d+) trials? stopped early", told) == [str(ended.count("stopped"))]


def test_bars_are_the_importances_in_their_order():
    found = importances(finished_study(50, conditional=40))
    chart = importance_chart("search", found, GREEN)
    (panel,) = chart.panels
    names = panel.y.names or ()
    assert list(names) == sorted(found.weights, key=found.weights.__getitem__)
    (series,) = panel.series
    assert series.color == GREEN
    assert list(series.x) == [100 * found.weights[name] for name in names]
    for part in (
        " 40 finished trials",
        "With so few trials this is a hint at best",
        "A name such as",
    ):
        assert part in chart.caption


def test_why_there_are_no_importances_is_told():
    for found, reason in (
        (Importances(40, {}, 40), "no parameter varies in enough finished trials"),
        (Importances(40, {}, 40, "odd"), "Optuna cannot tell importances of these trials (odd)"),
    ):
        assert importance_chart("search", found, GREEN).missing_reason == reason
