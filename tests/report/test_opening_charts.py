"""The first charts of a report draw what the study has, or say what it lacks."""

from pathlib import Path

import pytest
import yaml

from study.report.charts import Chart
from study.report.opening_charts import scores_chart, tuned_chart
from tests.changed_studies import board_of, configure
from tests.report.said_cases import prepare

MAPS = yaml.safe_load(Path(__file__).with_name("maps.yaml").read_text())


def squares(chart: Chart, name: str) -> set[tuple[str, str]]:
    """Give the site and the layer of each square of a kind."""
    (panel,) = chart.panels
    (series,) = (series for series in panel.series if series.name == name)
    sites, layers = panel.y.names or (), panel.x.names or ()
    return {(sites[int(y)], layers[int(x)]) for x, y in zip(series.x, series.y, strict=True)}


@pytest.mark.parametrize("name", MAPS)
def test_where_nothing_of_clip_is_tuned_there_is_a_reason_instead_of_a_map(
    few_shot_study: Path, name: str
):
    chart = tuned_chart(board_of(prepare(few_shot_study, MAPS[name])))
    assert name in (chart.missing_reason or "")


def test_a_map_tells_whole_sites_from_halves_and_layers_from_what_is_around_them(
    few_shot_study: Path,
):
    subset = "text.mlp.fc2.bias[1:2] + vision.ln_pre + vision.ln_post.bias"
    candidate = {"label": "new", "effect": 0.02, "val_score": 0.9, "subset": subset}
    case = {"candidates": [candidate], "chosen": "new"}
    chart = tuned_chart(board_of(prepare(few_shot_study, case)))
    assert squares(chart, "tuned") == {("text.mlp.fc2.bias", "1"), ("vision.ln_pre", "in")}
    assert squares(chart, "tuned in part") == {("vision.ln_post", "out")}
    assert ("text.mlp.fc2.bias", "0") in squares(chart, "as in CLIP")


def test_a_final_model_is_drawn_with_the_interval_over_images_and_all_that_is_tested_as_given(
    few_shot_study: Path,
):
    case = {"final": "labelled"}
    (panel,) = scores_chart(board_of(prepare(few_shot_study, case))).panels
    *names, final = panel.y.names or ()
    assert final.startswith("final model\n")
    assert panel.series[-1].x_error
    assert [name.partition("\n")[0] for name in names] == [
        "zero-shot CLIP",
        "tuned CLIPFit",
        "winner",
    ]
    configure(few_shot_study, "search.trials=0")
    (panel,) = scores_chart(board_of(prepare(few_shot_study, {"searched": False}))).panels
    assert len(panel.y.names or ()) > 4
