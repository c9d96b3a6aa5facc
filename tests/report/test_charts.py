"""A chart is drawn as PNG and SVG or says why not, and its words are only words."""

import csv
import re
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from study.config.loading import build_config, dump_config
from study.report.charts import Chart, Painter, draw, name_axis, write_charts
from study.report.drift_chart import describe_drift, drift_chart, write_drift
from study.report.study_charts import (
    importance_chart,
    make_charts,
    pareto_front,
    scores_chart,
    tuned_chart,
)
from study.results.drift import FeatureDrift, StudyDrift, parameter_drift
from study.results.importance import importances, load_open_search
from study.results.study_result import read_study_result
from study.storage.study_folder import StudyFolder
from tests.example_studies import ExampleStudy
from tests.not_none import not_none
from tests.results.test_drift import FC2, PRE
from tests.results.test_importance import write_journal


def words(paint: Painter) -> list[str]:
    """The words of a figure, which is valid SVG without a script."""
    svg = draw(Chart("name", "title", "caption", [paint], reason_if_empty="nothing"), "svg")
    ElementTree.fromstring(svg)
    assert b"<script>" not in svg
    return [unescape(text) for text in re.findall("<text[^>]*>(.*?)</text>", svg.decode())]


def row_names(chart: Chart) -> list[str]:
    (axes,) = chart.figure.axes
    return [tick.get_text() for tick in axes.get_yticklabels()]


@pytest.mark.parametrize("text", ["<b>name</b>", r"$\frac$", "--><script>", "a_b & c ★"])
def test_words_are_not_taken_for_markup_or_formulas(text: str):
    def paint(axes: Any):
        axes.set_title(text)
        name_axis(axes, "y", [text, "second"])

    assert words(paint).count(text) == 2


def test_a_plot_that_can_no_longer_be_drawn_leaves_no_stale_file(tmp_path: Path):
    target = tmp_path / "plots"
    target.mkdir()
    for name in ("history.html", "history.png", "other.png"):
        (target / name).write_text("old")
    write_charts(tmp_path, [Chart("history", "title", "caption", (), reason_if_empty="few")])
    assert [path.name for path in target.iterdir()] == ["other.png"]


def test_a_map_distinguishes_whole_sites_from_halves_and_layers_from_their_surroundings(
    few_shot_study: Path,
):
    subset = "text.mlp.fc2.bias[1:2] + vision.ln_pre + vision.ln_post.bias"
    study = ExampleStudy(few_shot_study)
    study.add_candidate("new", 0.02, val_score=0.9, subset=subset)
    study.choose_other("new")
    chart = tuned_chart(read_study_result(few_shot_study))
    (axes,) = chart.figure.axes
    sites, layers = row_names(chart), [tick.get_text() for tick in axes.get_xticklabels()]
    squares = {
        line.get_label(): {(sites[int(y)], layers[int(x)]) for x, y in line.get_xydata()}
        for line in axes.lines
    }
    assert squares["tuned"] == {("text.mlp.fc2.bias", "1"), ("vision.ln_pre", "in")}
    assert squares["partly tuned"] == {("vision.ln_post", "out")}
    assert ("text.mlp.fc2.bias", "0") in squares["frozen"]


def test_scores_are_drawn_of_the_best_and_of_the_final_model_or_of_all(few_shot_study: Path):
    study = ExampleStudy(few_shot_study)
    study.add_final("labelled")
    names = [name.partition("\n")[0] for name in row_names(scores_chart(study_result(study)))]
    assert names == ["zero-shot CLIP", "tuned CLIPFit", "best configuration", "final model"]
    study.configure("search.trials=0")
    study.drop_search()
    result = study_result(study)
    assert len(row_names(scores_chart(result))) == len(result.rows) == 4


def study_result(study: ExampleStudy) -> Any:
    return read_study_result(study.folder.path)


def test_a_study_has_every_plot_as_png_and_svg_or_the_reason_why_not(
    drawn_study: tuple[Path, tuple[Chart, ...]], tmp_path: Path
):
    charts = {chart.name: chart for chart in drawn_study[1]}
    drawn = {name for name, chart in charts.items() if chart.painters}
    assert drawn == {"scores", "recalls", "tuned", "agreement", "pareto", "learning-rates"}
    assert "expected 30 or more" in charts["importance-search"].reason_if_empty
    files = write_charts(tmp_path, tuple(charts.values()))
    assert {path.name for path in files} == {f"{n}.{end}" for n in drawn for end in ("png", "svg")}
    assert {*(tmp_path / "plots").iterdir()} == {*files}
    assert sum(path.stat().st_size for path in files) < 1_500_000
    StudyFolder(tmp_path / "new").create(dump_config(build_config({}, "test")), {})
    empty = make_charts(read_study_result(tmp_path / "new"))
    assert not any(chart.painters for chart in empty)
    assert write_charts(tmp_path / "new", empty) == []


def test_the_front_holds_what_no_cheaper_point_beats():
    points = [(2.0, 0.7), (1.0, 0.6), (3.0, 0.65), (2.0, 0.5), (4.0, 0.8), (5.0, 0.8)]
    assert list(pareto_front(points).items()) == [(1.0, 0.6), (2.0, 0.7), (4.0, 0.8)]


def test_bars_are_the_importances_in_their_order(few_shot_study: Path):
    write_journal(few_shot_study, "search", 40)
    result = read_study_result(few_shot_study)
    weights = importances(not_none(load_open_search(result.folder))).weights
    chart = importance_chart(result)
    names = row_names(chart)
    assert names == sorted(weights, key=weights.__getitem__)
    widths = [bar.get_width() for bar in chart.figure.axes[0].patches]
    assert widths == [100 * weights[name] for name in names]


def test_what_moved_is_drawn_and_what_was_zero_is_written_alone(tmp_path: Path):
    infinite = FC2.replace("3", "4")
    before = {FC2: torch.ones(2), PRE: torch.full((2,), 4.0), infinite: torch.zeros(2)}
    drifts = parameter_drift(before, [dict.fromkeys(before, torch.full((2,), 2.0))])
    drift = StudyDrift(drifts, text=FeatureDrift(-1.0, 1.0))
    rows = csv.DictReader(write_drift(tmp_path, drift)[0].read_text().splitlines())
    found = {row["name"]: float(row["relative"]) for row in rows}
    assert found == {FC2: 1.0, PRE: 0.5, infinite: float("inf")}
    axes = drift_chart(drifts).figure.axes
    assert [[*line.get_xydata()[0]] for one in axes for line in one.lines] == [[4, 1.0], [0, 0.5]]
    assert not drift_chart(()).painters
    assert "mean cosine -1.0000, linear CKA 1.0000" in describe_drift(drift)
