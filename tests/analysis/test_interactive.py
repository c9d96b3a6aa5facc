"""Charts stand on a page of their own, and their words are only words."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from study.analysis.ablation import ablation_plots, ablation_table
from study.analysis.charts import Axis, Chart, Panel, Series
from study.analysis.interactive import write_interactive
from study.analysis.results import read_results
from study.errors import StudyError


def figures(page: str) -> list[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """The traces and the layout of each figure on a page."""
    found = []
    decoder = json.JSONDecoder()
    for call in re.finditer(r'Plotly\.newPlot\(\s*"[^"]+",\s*', page):
        data, end = decoder.raw_decode(page, call.end())
        layout, _ = decoder.raw_decode(page, re.compile(r",\s*").match(page, end).end())  # type: ignore[union-attr]
        found.append((data, layout))
    return found


def written(folder: Path, *panels: Panel) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    chart = Chart("name", "title", "caption", panels, otherwise="nothing")
    (figure,) = figures(write_interactive(folder, [chart]).read_text(encoding="utf-8"))
    return figure


def test_a_study_has_one_page_with_the_library_once(
    drawn_study: tuple[Path, tuple[Chart, ...]], tmp_path: Path
) -> None:
    charts = drawn_study[1]
    path = write_interactive(tmp_path, charts)
    page = path.read_text(encoding="utf-8")
    assert path == tmp_path / "interactive.html"
    assert [*tmp_path.iterdir()] == [path]
    assert len(figures(page)) == sum(not chart.missing for chart in charts) == 7
    for chart in charts:
        assert f"<h2>{chart.title}</h2>" in page
        assert (chart.missing or chart.caption) in page
    assert 4_000_000 < len(page) < 6_000_000
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page)
    assert "default-src 'none'" in page


def test_words_are_not_taken_for_markup(tmp_path: Path) -> None:
    series = Series("<b>name</b>", [1], [0], hover=[("first", "</script><a href='x'>")])
    (trace,), layout = written(tmp_path, Panel(Axis("<i>x"), Axis("", names=["<i>y"]), (series,)))
    assert trace["name"] == "&lt;b&gt;name&lt;/b&gt;"
    assert trace["hovertext"] == ["first<br>&lt;/script&gt;&lt;a href=&#x27;x&#x27;&gt;"]
    assert layout["xaxis"]["title"]["text"] == "&lt;i&gt;x"
    assert layout["yaxis"]["ticktext"] == ["&lt;i&gt;y"]


def test_series_of_one_name_share_an_entry_on_the_page(tmp_path: Path) -> None:
    series = Series("same", [1, 2], [3, 4], style="line", y_error=[0.0, 0.5])
    data, layout = written(
        tmp_path, *(Panel(Axis("x"), Axis("y", line=2), (series,)) for _ in "ab")
    )
    assert [trace["showlegend"] for trace in data] == [True, False]
    assert [trace["xaxis"] for trace in data] == ["x", "x2"]
    assert len(layout["shapes"]) == 2


def test_an_ablation_is_drawn_as_well(ablation_study: Path) -> None:
    charts = ablation_plots(ablation_table(read_results(ablation_study)))
    forest, grid = figures(write_interactive(ablation_study, charts).read_text(encoding="utf-8"))
    assert [trace["error_x"]["array"] for trace in forest[0]]
    assert [trace["type"] for trace in grid[0]] == ["heatmap"]
    assert grid[1]["xaxis"]["ticktext"] == ["all", "0:2", "2:4"]


def test_without_plotly_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.io", None)
    with pytest.raises(StudyError, match=r"pip install 'clipfit-study\[interactive\]'"):
        write_interactive(tmp_path, [])
    assert not list(tmp_path.iterdir())


def test_shares_are_cells_that_say_what_they_are(tmp_path: Path) -> None:
    hover = [("a, taken for <b>", "2.0 % of its images")]
    series = Series("shares", [1], [0], style="shares", values=[-4.0], hover=hover)
    (trace,), _ = written(tmp_path, Panel(Axis("x", names=["a", "b"]), Axis("y"), (series,)))
    assert (trace["type"], trace["z"]) == ("heatmap", [-0.2])
    assert trace["hovertext"] == ["a, taken for &lt;b&gt;<br>2.0 % of its images"]
