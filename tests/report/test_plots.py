"""Every plot is drawn, or says why it is not."""

import re
from dataclasses import replace
from pathlib import Path

from study.config.loading import build_config, dump_config
from study.report.charts import Chart, draw, write_plots
from study.report.plots import (
    agreement_chart,
    make_plots,
    pareto_front,
    rates_chart,
    rungs_chart,
)
from study.results.study_results import read_results
from study.storage.study_folder import StudyFolder
from tests.changed_studies import board_of, forget_images, leave_one_seed
from tests.report.conftest import AsKept, rounded

OPENING = ("scores", "recalls", "tuned")


def text_of(chart: Chart) -> str:
    """Return all that a chart shows, a line for each of its panels and series."""
    text = f"{chart.missing_reason}\n{chart!r}"
    return rounded(re.sub(r"(?=Panel\(|Series\()", "\n", text))


def test_the_charts_of_a_study_are_what_was_kept(
    drawn_study: tuple[Path, tuple[Chart, ...]], as_kept: AsKept
):
    as_kept("charts", "\n".join(map(text_of, drawn_study[1])))


def test_a_finished_study_has_every_plot_as_png_and_svg(
    drawn_study: tuple[Path, tuple[Chart, ...]], tmp_path: Path
):
    charts = {chart.name: chart for chart in drawn_study[1]}
    drawn = {name for name, chart in charts.items() if not chart.missing_reason}
    maps = {"confusion-1", "confusion-2"}
    assert drawn == {*OPENING, "agreement", "pareto", "learning-rates", "rungs", "history"} | maps
    for name in charts.keys() - drawn:
        assert "needs 30 finished trials" in (charts[name].missing_reason or "")
    files = write_plots(tmp_path, tuple(charts.values()))
    assert {path.name for path in files} == {f"{n}.{end}" for n in drawn for end in ("png", "svg")}
    assert {*(tmp_path / "plots").iterdir()} == {*files}
    assert sum(path.stat().st_size for path in files) < 1_500_000


def test_a_study_without_results_says_why_there_is_no_plot(tmp_path: Path, as_kept: AsKept):
    StudyFolder(tmp_path / "new").create(dump_config(build_config({}, "test")), {})
    plots = make_plots(board_of(tmp_path / "new"))
    as_kept("charts-of-nothing", "\n".join(map(text_of, plots)))
    assert write_plots(tmp_path, plots) == []


def test_an_ablation_has_its_own_plots_instead(few_shot_study: Path):
    assert make_plots(replace(board_of(few_shot_study), ablates=True)) == []


def test_one_tested_seed_of_unknown_images_is_drawn_without_an_interval(
    few_shot_study: Path,
):
    agreement = agreement_chart(board_of(leave_one_seed(forget_images(few_shot_study))))
    assert agreement.missing_reason is None
    errors = [one.y_error for panel in agreement.panels for one in panel.series]
    assert errors == [[0.0]] * len(errors)


def test_the_front_holds_what_no_cheaper_point_beats():
    points = [(2.0, 0.7), (1.0, 0.6), (3.0, 0.65), (2.0, 0.5), (4.0, 0.8), (5.0, 0.8)]
    assert list(pareto_front(points).items()) == [(1.0, 0.6), (2.0, 0.7), (4.0, 0.8)]


def test_no_arm_is_left_out_however_many_there_are(few_shot_study: Path):
    searched = read_results(few_shot_study).stage("search")
    many = [trial.model_copy(update={"arm": f"arm {n}"}) for n, trial in enumerate(searched)]
    curves, _ = rungs_chart(many).panels
    assert len({series.name for series in curves.series}) == sum(bool(t.curve) for t in many) > 20
    assert draw(rates_chart(many), "svg")
