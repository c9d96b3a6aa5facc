"""Every plot is drawn, or says why it is not."""

from dataclasses import replace
from pathlib import Path

from study.config.labels import TUNED
from study.config.loading import build_config, dump_config
from study.report.arms import arm_name
from study.report.charts import Chart, draw, write_plots
from study.report.plots import (
    agreement_chart,
    history_chart,
    make_plots,
    pareto_chart,
    pareto_front,
    rates_chart,
    rungs_chart,
)
from study.results.study_results import read_results
from study.storage.study_folder import StudyFolder
from tests.changed_studies import board_of, forget_images, leave_one_seed

PNG = b"\x89PNG"


def test_a_finished_study_has_every_plot_as_png_and_svg(
    drawn_study: tuple[Path, tuple[Chart, ...]], tmp_path: Path
) -> None:
    charts = {chart.name: chart for chart in drawn_study[1]}
    drawn = {name for name, chart in charts.items() if not chart.missing_reason}
    maps = {"confusion-1", "confusion-2"}
    assert drawn == {"agreement", "pareto", "learning-rates", "rungs", "history"} | maps
    for name in charts.keys() - drawn:
        assert "needs 30 finished trials" in (charts[name].missing_reason or "")
    files = write_plots(tmp_path, tuple(charts.values()))
    assert {path.name for path in files} == {f"{n}.{end}" for n in drawn for end in ("png", "svg")}
    assert {*(tmp_path / "plots").iterdir()} == {*files}
    assert sum(path.stat().st_size for path in files) < 1_500_000


def test_a_study_without_results_says_why_there_is_no_plot(tmp_path: Path) -> None:
    StudyFolder(tmp_path / "new").create(dump_config(build_config({}, "test")), {})
    plots = make_plots(read_results(tmp_path / "new"), board_of(tmp_path / "new"))
    assert len(plots) == 5
    assert all(plot.missing_reason for plot in plots)
    assert write_plots(tmp_path, plots) == ()


def test_an_ablation_has_its_own_plots_instead(few_shot_study: Path) -> None:
    results = replace(read_results(few_shot_study), ablates=True)
    assert make_plots(results, board_of(few_shot_study)) == ()


def test_one_confirmed_seed_of_unknown_images_is_drawn_without_an_interval(
    few_shot_study: Path,
) -> None:
    agreement = agreement_chart(board_of(leave_one_seed(forget_images(few_shot_study))))
    assert agreement.missing_reason is None
    errors = [one.y_error for panel in agreement.panels for one in panel.series]
    assert errors == [[0.0]] * len(errors)


def test_the_front_holds_what_no_cheaper_point_beats() -> None:
    points = [(2.0, 0.7), (1.0, 0.6), (3.0, 0.65), (2.0, 0.5), (4.0, 0.8), (5.0, 0.8)]
    assert pareto_front(points) == [(1.0, 0.6), (2.0, 0.7), (4.0, 0.8)]


def test_rates_are_drawn_by_arm_and_never_for_failed_trials(few_shot_study: Path) -> None:
    searched = read_results(few_shot_study).stage("search")
    chart = rates_chart(searched)
    expected = [
        t for t in searched if "ln" in t.settings.rates and t.status in ("finished", "stopped")
    ]
    assert sum(len(series.x) for series in chart.panels[1].series) == len(expected)


def test_survivors_never_increase_over_epochs(few_shot_study: Path) -> None:
    chart = rungs_chart(read_results(few_shot_study).stage("search"))
    for series in chart.panels[1].series_with_marks:
        assert list(series.y) == sorted(series.y, reverse=True)
        assert series.y[0] in (24, 8)
        assert series.y[-1] < series.y[0]


def test_test_scores_stand_in_the_panel_of_candidates_alone(few_shot_study: Path) -> None:
    board = board_of(few_shot_study)
    search, tested = pareto_chart(read_results(few_shot_study).stage("search"), board).panels
    assert "validation" in search.y.title
    assert "test" in tested.y.title
    assert len(tested.series) == sum(bool(entry.trainable) for entry in board.entries)
    stars = [series.name for series in tested.series if series.marker == "star"]
    assert stars == ["best by validation ★"]


def test_agreement_is_drawn_again_without_zero_shot_which_is_far_off(few_shot_study: Path) -> None:
    chart = agreement_chart(board_of(few_shot_study))
    every, near = ({series.name for series in panel.series} for panel in chart.panels)
    assert every - near == {"zero-shot CLIP"}
    assert not near - every


def test_history_has_each_finished_trial_of_the_search_and_the_best_of_its_arm_so_far(
    few_shot_study: Path,
) -> None:
    searched = read_results(few_shot_study).stage("search")
    tuned, best_tuned, search, best = history_chart(searched).panels[0].series_with_marks
    names = [series.name for series in (tuned, best_tuned, search, best)]
    parts = [arm_name(TUNED), arm_name("search")]
    assert names == [f"{part}{more}" for part in parts for more in ("", ", best so far")]
    finished = [t for t in searched if t.arm == "search" and t.status == "finished"]
    assert list(search.x) == list(best.x) == [trial.number for trial in finished]
    assert list(search.y) == [100 * (trial.val_score or 0.0) for trial in finished]
    assert [max(search.y[: n + 1]) for n in range(len(finished))] == list(best.y)


def test_trials_without_an_effect_of_the_weight_are_not_at_one(few_shot_study: Path) -> None:
    searched = read_results(few_shot_study).stage("search")
    weights = rates_chart(searched).panels[2]
    assert "λ" in weights.x.title
    assert all(x > 0 for series in weights.series for x in series.x)


def test_no_arm_is_left_out_however_many_there_are(few_shot_study: Path) -> None:
    searched = read_results(few_shot_study).stage("search")
    many = [trial.model_copy(update={"arm": f"arm {n}"}) for n, trial in enumerate(searched)]
    curves, _ = rungs_chart(many).panels
    assert len({series.name for series in curves.series}) == sum(bool(t.curve) for t in many) > 20
    assert draw(rates_chart(many), "svg")
