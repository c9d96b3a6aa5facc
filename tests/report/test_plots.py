"""Every plot is drawn, or says why it is not."""

from pathlib import Path

import pytest

from study.config.loading import build_config, dump_config
from study.report.charts import Chart, write_plots
from study.report.plots import agreement_chart, importance_chart, make_plots, pareto_front
from study.results.importance import importances, load_open_search
from study.storage.study_folder import StudyFolder
from tests.changed_studies import board_of
from tests.not_none import not_none
from tests.results.test_importance import write_journal


def test_a_finished_study_has_every_plot_as_png_and_svg(
    drawn_study: tuple[Path, tuple[Chart, ...]], tmp_path: Path
):
    charts = {chart.name: chart for chart in drawn_study[1]}
    drawn = {name for name, chart in charts.items() if not chart.missing_reason}
    of_scores = {"scores", "recalls", "tuned", "agreement", "pareto", "learning-rates"}
    assert drawn == of_scores
    assert "needs 30 finished trials" in (charts["importance-search"].missing_reason or "")
    files = write_plots(tmp_path, tuple(charts.values()))
    assert {path.name for path in files} == {f"{n}.{end}" for n in drawn for end in ("png", "svg")}
    assert {*(tmp_path / "plots").iterdir()} == {*files}
    assert sum(path.stat().st_size for path in files) < 1_500_000


def test_a_study_without_results_says_why_there_is_no_plot(tmp_path: Path):
    StudyFolder(tmp_path / "new").create(dump_config(build_config({}, "test")), {})
    plots = make_plots(board_of(tmp_path / "new"))
    assert all(plot.missing_reason for plot in plots)
    assert write_plots(tmp_path, plots) == []


def test_the_front_holds_what_no_cheaper_point_beats():
    points = [(2.0, 0.7), (1.0, 0.6), (3.0, 0.65), (2.0, 0.5), (4.0, 0.8), (5.0, 0.8)]
    assert list(pareto_front(points).items()) == [(1.0, 0.6), (2.0, 0.7), (4.0, 0.8)]


def test_bars_are_the_importances_in_their_order(few_shot_study: Path):
    write_journal(few_shot_study, "search", 40)
    board = board_of(few_shot_study)
    weights = importances(not_none(load_open_search(board.folder))).weights
    (axes,) = importance_chart(board).figure.axes
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names == sorted(weights, key=weights.__getitem__)
    assert [bar.get_width() for bar in axes.patches] == [100 * weights[name] for name in names]


def test_each_candidate_stands_at_its_validation_and_its_test_score(few_shot_study: Path):
    board = board_of(few_shot_study)
    axes = agreement_chart(board).figure.axes[0]
    places = {(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines}
    for entry in board.rows:
        place = 100 * (entry.val_score or 0.0), 100 * entry.test.mean
        assert any(place == pytest.approx(other) for other in places)
