"""The first charts of a report draw what the study has, or say what it lacks."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from study.report.charts import Chart
from study.report.opening_charts import scores_chart, tuned_chart
from tests.changed_studies import add_final, board_of, configure
from tests.fake_studies import add_candidate
from tests.report.conftest import choose_other, drop_search


def squares(chart: Chart, name: str) -> set[tuple[str, str]]:
    """Give the site and the layer of each square of a kind."""
    (axes,) = chart.figure.axes
    (line,) = (line for line in axes.lines if line.get_label() == name)
    sites = [tick.get_text() for tick in axes.get_yticklabels()]
    layers = [tick.get_text() for tick in axes.get_xticklabels()]
    return {(sites[int(y)], layers[int(x)]) for x, y in line.get_xydata()}


@pytest.mark.parametrize(
    "change, reason",
    [
        (partial(choose_other, label="zero-shot"), "nothing is chosen that tunes sites of CLIP"),
        (lambda folder: configure(folder, "backbone.name=/gone"), "are not known"),
    ],
)
def test_where_no_site_of_clip_is_tuned_there_is_a_reason_instead_of_a_map(
    few_shot_study: Path, change: Callable[[Path], object], reason: str
):
    change(few_shot_study)
    assert reason in (tuned_chart(board_of(few_shot_study)).missing_reason or "")


def test_a_map_tells_whole_sites_from_halves_and_layers_from_what_is_around_them(
    few_shot_study: Path,
):
    subset = "text.mlp.fc2.bias[1:2] + vision.ln_pre + vision.ln_post.bias"
    add_candidate(few_shot_study, "new", 0.02, val_score=0.9, subset=subset)
    chart = tuned_chart(board_of(choose_other(few_shot_study, "new")))
    assert squares(chart, "tuned") == {("text.mlp.fc2.bias", "1"), ("vision.ln_pre", "in")}
    assert squares(chart, "tuned in part") == {("vision.ln_post", "out")}
    assert ("text.mlp.fc2.bias", "0") in squares(chart, "as in CLIP")


def test_a_final_model_is_drawn_with_the_interval_over_images_and_all_that_is_tested_as_given(
    few_shot_study: Path,
):
    add_final(few_shot_study, "labelled")
    assert names_of(few_shot_study) == [
        "zero-shot CLIP",
        "tuned CLIPFit",
        "best configuration",
        "final model",
    ]
    configure(few_shot_study, "search.trials=0")
    board = board_of(drop_search(few_shot_study))
    assert len(names_of(few_shot_study)) == len(board.rows) == 4


def names_of(folder: Path) -> list[str]:
    """Give the names in the chart of scores."""
    (axes,) = scores_chart(board_of(folder)).figure.axes
    return [tick.get_text().partition("\n")[0] for tick in axes.get_yticklabels()]
