"""The chart of importances tells what it is computed from, or why it is not drawn."""

import re
from pathlib import Path

import optuna
import pytest

from study.report.charts import GREEN
from study.report.importance_chart import importance_chart
from study.report.plots import make_plots
from study.results.importance import (
    Importances,
    common_parameters,
    importances,
    load_optuna_studies,
)
from study.results.leaderboard import leaderboard
from study.results.study_results import read_results
from tests.results.test_importance import finished_study, write_journal


@pytest.mark.parametrize(("finished", "is_drawn"), [(0, False), (29, False), (30, True)])
def test_importance_is_drawn_from_30_finished_trials_on_and_below_says_what_it_lacks(
    finished: int, is_drawn: bool
) -> None:
    chart = importance_chart("search", importances(finished_study(finished)), GREEN)
    assert chart.name == "importance-search"
    if is_drawn:
        assert chart.missing_reason is None
    else:
        assert chart.missing_reason == f"needs 30 finished trials, has {finished}"


@pytest.mark.parametrize("finished", [12, 30])
@pytest.mark.parametrize("stopped", [0, 1, 1234])
def test_trials_that_were_stopped_are_told_with_their_number_whether_drawn_or_not(
    finished: int, stopped: int
) -> None:
    chart = importance_chart(
        "search", importances(finished_study(finished)), GREEN, stopped=stopped
    )
    told = chart.missing_reason or chart.caption
    assert ("stopped early" in told) is (stopped > 0)
    number = {0: "", 1: "1 trial stopped early", 1234: "1,234 trials stopped early"}[stopped]
    assert number in told


def test_the_caption_counts_the_trials_that_the_shares_are_computed_from() -> None:
    study = finished_study(50, conditional=40)
    assert set(common_parameters(study)) == {"bias_lr", "vision.ln", "ln_lr"}
    assert " 40 finished trials" in importance_chart("search", importances(study), GREEN).caption


def test_the_chart_of_each_arm_tells_how_many_of_its_trials_were_stopped(
    few_shot_study: Path,
) -> None:
    for arm in ("search", "clipfit-tuned"):
        write_journal(few_shot_study, arm, 12)
    results = read_results(few_shot_study)
    charts = {chart.name: chart for chart in make_plots(results, leaderboard(results))}
    for arm in ("search", "clipfit-tuned"):
        ended = [t.status for t in results.stage("search") if t.arm == arm]
        chart = charts[f"importance-{arm}"]
        told = chart.missing_reason or chart.caption
        assert re.findall(r"(\d+) trials? stopped early", told) == [str(ended.count("stopped"))]


def test_bars_are_the_importances_of_both_methods_in_the_order_of_the_first(
    few_shot_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.results.importance.MIN_TRIALS", 10)
    write_journal(few_shot_study, "search", 12)
    studies = load_optuna_studies(read_results(few_shot_study))
    found = importances(studies["search"])
    chart = importance_chart("search", found, GREEN)
    (panel,) = chart.panels
    assert panel.y.names is not None
    for series, (method, shares) in zip(panel.series, found.shares.items(), strict=True):
        assert series.name == method
        assert list(series.x) == [100 * shares[name] for name in panel.y.names]
    assert panel.x.title.endswith("%")
    assert {series.color for series in panel.series} == {GREEN}
    assert list(panel.series[0].x) == sorted(panel.series[0].x)
    assert "With so few trials this is a hint at best" in chart.caption
    assert "A name such as text." in chart.caption


def test_windows_are_explained_where_their_ends_are_drawn() -> None:
    study = optuna.create_study(direction="maximize")
    for number in range(30):
        trial = study.ask()
        trial.suggest_int("vision.from", 0, 3)
        study.tell(trial, float(number))
    caption = importance_chart("search", importances(study), GREEN).caption
    assert "vision.from and vision.to are the ends of the window of blocks of the image" in caption


def test_why_there_are_no_importances_is_told() -> None:
    for found, reason in (
        (Importances(40, {}, 40), "no parameter varies in enough finished trials"),
        (Importances(40, {}, 40, "odd"), "Optuna cannot tell importances of these trials (odd)"),
    ):
        assert importance_chart("search", found, GREEN).missing_reason == reason
