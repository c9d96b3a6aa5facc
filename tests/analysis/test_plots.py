"""Every plot is drawn twice, or says why it is not drawn."""

import re
from collections.abc import Callable
from pathlib import Path

from study.analysis.charts import Plot
from study.analysis.comparison import leaderboard
from study.analysis.plots import make_plots, write_plots
from study.analysis.results import read_results

PNG = b"\x89PNG"


def test_a_finished_study_has_every_plot_as_html_and_png(
    drawn_study: tuple[Path, tuple[Plot, ...]], tmp_path: Path
) -> None:
    plots = {plot.name: plot for plot in drawn_study[1]}
    drawn = {name for name, plot in plots.items() if plot.figure is not None}
    assert drawn == {
        "agreement",
        "pareto",
        "learning-rates",
        "rungs",
        "history",
        "importance-search",
        "parallel-search",
    }
    assert all((plots[name].png or b"").startswith(PNG) for name in drawn)
    for name in plots.keys() - drawn:
        assert "of the 10 complete trials" in (plots[name].missing or "")
    files = write_plots(tmp_path, tuple(plots.values()))
    assert {path.name for path in files} == {f"{n}.{end}" for n in drawn for end in ("html", "png")}


def test_an_html_file_needs_nothing_from_outside(
    drawn_study: tuple[Path, tuple[Plot, ...]], tmp_path: Path
) -> None:
    plots = [plot for plot in drawn_study[1] if plot.name == "pareto"]
    html = write_plots(tmp_path, plots)[0].read_text()
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", html)
    assert "Plotly.newPlot" in html


def test_a_study_without_results_says_why_there_is_no_plot(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    results = read_results(tmp_path)
    plots = make_plots(results, leaderboard(results))
    assert len(plots) == 5
    assert all(plot.missing and plot.figure is None for plot in plots)
    assert write_plots(tmp_path, plots) == ()


def test_a_plot_that_can_no_longer_be_drawn_leaves_no_stale_file(tmp_path: Path) -> None:
    stale = tmp_path / "plots" / "importance-clipfit-tuned.html"
    stale.parent.mkdir()
    stale.write_text("old")
    write_plots(tmp_path, [Plot("importance-clipfit-tuned", "title", "caption", missing="few")])
    assert not stale.exists()


def test_one_confirmed_seed_is_drawn_without_an_interval(make_study: Callable[..., Path]) -> None:
    folder = make_study()
    for path in sorted((folder / "trials").glob("confirm-*-seed[2-5]/*")):
        path.unlink()
    results = read_results(folder)
    plots = make_plots(results, leaderboard(results))
    agreement = next(plot for plot in plots if plot.name == "agreement")
    assert agreement.png is not None
