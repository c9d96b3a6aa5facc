"""Every plot is drawn, or says why it is not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from study.analysis.charts import Chart
from study.analysis.comparison import leaderboard
from study.analysis.plots import make_plots, write_plots
from study.analysis.results import read_results

PNG = b"\x89PNG"


def test_a_finished_study_has_every_plot_as_png_and_svg(
    drawn_study: tuple[Path, tuple[Chart, ...]], tmp_path: Path
) -> None:
    charts = {chart.name: chart for chart in drawn_study[1]}
    drawn = {name for name, chart in charts.items() if not chart.missing}
    assert drawn == {
        "agreement",
        "pareto",
        "learning-rates",
        "rungs",
        "history",
        "importance-search",
    }
    for name in charts.keys() - drawn:
        assert "of the 10 complete trials" in (charts[name].missing or "")
    files = write_plots(tmp_path, tuple(charts.values()))
    assert {path.name for path in files} == {f"{n}.{end}" for n in drawn for end in ("png", "svg")}
    assert {*(tmp_path / "plots").iterdir()} == {*files}
    assert all(path.read_bytes().startswith((PNG, b"<?xml")) for path in files)
    assert sum(path.stat().st_size for path in files) < 1_500_000


def test_a_study_without_results_says_why_there_is_no_plot(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    results = read_results(tmp_path)
    plots = make_plots(results, leaderboard(results))
    assert len(plots) == 5
    assert all(plot.missing for plot in plots)
    assert write_plots(tmp_path, plots) == ()


def test_an_ablation_has_its_own_plots_instead(few_shot_study: Path) -> None:
    results = read_results(few_shot_study)
    assert make_plots(replace(results, ablates=True), leaderboard(results)) == ()


def test_a_plot_that_can_no_longer_be_drawn_leaves_no_stale_file(tmp_path: Path) -> None:
    target = tmp_path / "plots"
    target.mkdir()
    for name in ("history.html", "history.png", "other.png"):
        (target / name).write_text("old")
    write_plots(tmp_path, [Chart("history", "title", "caption", (), otherwise="few")])
    assert [path.name for path in target.iterdir()] == ["other.png"]


def test_one_confirmed_seed_is_drawn_without_an_interval(make_study: Callable[..., Path]) -> None:
    folder = make_study()
    for path in sorted((folder / "trials").glob("confirm-*-seed[2-5]/*")):
        path.unlink()
    results = read_results(folder)
    plots = make_plots(results, leaderboard(results))
    agreement = next(plot for plot in plots if plot.name == "agreement")
    assert agreement.missing is None
    errors = [one.y_error for panel in agreement.panels for one in panel.series]
    assert errors == [[0.0]] * len(errors)
