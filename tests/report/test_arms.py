"""An arm has one colour, in every chart and every study."""

from pathlib import Path

import pytest

from study.config.labels import ARMS
from study.report.arms import arm_colors, arm_name
from study.report.charts import Chart
from study.report.plots import agreement_chart, make_plots
from study.results.leaderboard import leaderboard
from study.results.study_results import read_results
from study.results.trial_results import BASELINE, SEARCH_ARM
from tests.changed_studies import board_of


def test_the_arms_of_every_search_are_told_apart() -> None:
    colors = arm_colors([*ARMS, "full", "lora", "mine"])
    assert len(set(colors.values())) == len(colors) == 7
    assert {SEARCH_ARM, BASELINE} < set(ARMS)


def test_an_arm_keeps_its_colour_whatever_others_there_are() -> None:
    assert arm_colors([SEARCH_ARM])[SEARCH_ARM] == arm_colors(["a", "b", *ARMS])[SEARCH_ARM]


def test_no_arm_is_without_a_colour() -> None:
    assert len(arm_colors(f"arm {n}" for n in range(30))) == 30


@pytest.mark.parametrize("arm", ["clipfit-tuned", "search"])
def test_every_chart_of_a_study_has_the_arm_in_its_colour(few_shot_study: Path, arm: str) -> None:
    results = read_results(few_shot_study)
    charts = make_plots(results, leaderboard(results))
    colors = [_colors_of(chart, arm) for chart in charts]
    assert sum(map(bool, colors)) == 4
    assert set().union(*colors) == {arm_colors([arm])[arm]}


def test_a_candidate_has_the_colour_of_the_arm_that_it_comes_from(few_shot_study: Path) -> None:
    chart = agreement_chart(board_of(few_shot_study))
    colors = {series.name: series.color for series in chart.panels[0].series_with_marks}
    known = arm_colors(ARMS)
    assert colors["best by validation ★"] == known[SEARCH_ARM]
    assert colors["tuned CLIPFit"] == known["clipfit-tuned"]
    assert colors["CLIPFit as published"] == colors["zero-shot CLIP"] == known[BASELINE]


def _colors_of(chart: Chart, arm: str) -> set[str]:
    """The colours of what is named by an arm."""
    series = [one for panel in chart.panels for one in panel.series_with_marks]
    return {one.color for one in series if one.name.split(",")[0] == arm_name(arm)}
