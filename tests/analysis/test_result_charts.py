"""Charts draw what the results table holds, and nothing of trials that failed."""

from pathlib import Path

from study.analysis.comparison import leaderboard
from study.analysis.result_charts import (
    agreement_chart,
    pareto_chart,
    pareto_front,
    rates_chart,
    rungs_chart,
)
from study.analysis.results import read_results


def test_the_front_holds_what_no_cheaper_point_beats() -> None:
    points = [(2.0, 0.7), (1.0, 0.6), (3.0, 0.65), (2.0, 0.5), (4.0, 0.8), (5.0, 0.8)]
    assert pareto_front(points) == [(1.0, 0.6), (2.0, 0.7), (4.0, 0.8)]


def test_rates_are_drawn_by_arm_and_never_for_failed_trials(few_shot_study: Path) -> None:
    searched = read_results(few_shot_study).stage("search")
    chart = rates_chart(searched)
    assert not isinstance(chart, str)
    expected = [
        t for t in searched if "ln" in t.settings.rates and t.status in ("finished", "stopped")
    ]
    assert sum(len(series.x) for series in chart.panels[1].series) == len(expected)


def test_survivors_never_increase_over_epochs(few_shot_study: Path) -> None:
    chart = rungs_chart(read_results(few_shot_study).stage("search"))
    assert not isinstance(chart, str)
    for series in chart.panels[1].series:
        assert list(series.y) == sorted(series.y, reverse=True)
        assert series.y[0] in (24, 8)
        assert series.y[-1] < series.y[0]


def test_test_scores_stand_in_the_panel_of_candidates_alone(few_shot_study: Path) -> None:
    results = read_results(few_shot_study)
    board = leaderboard(results)
    chart = pareto_chart(results.stage("search"), board)
    assert not isinstance(chart, str)
    search, tested = chart.panels
    assert "validation" in search.y_title
    assert "test" in tested.y_title
    assert len(tested.series) == sum(bool(entry.trainable) for entry in board.entries)
    assert [series.name for series in tested.series if series.marker == "star"] == ["best ★"]


def test_agreement_is_drawn_again_without_zero_shot_which_is_far_off(few_shot_study: Path) -> None:
    board = leaderboard(read_results(few_shot_study))
    chart = agreement_chart(board)
    assert not isinstance(chart, str)
    named = [{series.name for series in panel.series} for panel in chart.panels]
    assert named[0] - named[1] == {"zero-shot"}
    assert not named[1] - named[0]


def test_what_has_nothing_to_draw_says_why() -> None:
    assert rates_chart([]) == "no search trial has a learning rate and a score yet"
    assert rungs_chart([]) == "no search trial has reported an epoch yet"
