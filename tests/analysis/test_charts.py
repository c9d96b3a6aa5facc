"""A chart is drawn as PNG and SVG and on a page of its own, and its words are only words."""

import json
import re
import sys
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from study.analysis.ablation import ablation_plots, ablation_table
from study.analysis.charts import Axis, Chart, Panel, Series, draw, write_interactive, write_plots
from study.analysis.results import read_results
from study.errors import StudyError

PNG = b"\x89PNG"
POINT = Series("point", [1], [1])


def chart(*panels: Panel) -> Chart:
    return Chart("name", "title", "caption", panels, otherwise="nothing to draw")


def words(svg: bytes) -> list[str]:
    """The words of a figure, which stand in comments beside their outlines."""
    return [unescape(text.strip()) for text in re.findall("<!--(.*?)-->", svg.decode())]


def drawn(*panels: Panel) -> bytes:
    files = draw(chart(*panels), "png", "svg")
    assert files["png"].startswith(PNG)
    ElementTree.fromstring(files["svg"])
    return files["svg"]


@pytest.mark.parametrize("text", ["<b>name</b>", "$a", r"$\frac$", "--><script>", "a_b & c ★"])
def test_words_are_not_taken_for_markup_or_formulas(text: str) -> None:
    named = (Series(text, [0], [0]), Series("another", [1], [1]))
    svg = drawn(Panel(Axis(text), Axis(text, names=[text, "second"]), named, text))
    assert b"<script>" not in svg
    assert words(svg).count(text.replace("--", "- -")) == 5


def test_series_of_one_name_share_an_entry_in_the_legend() -> None:
    series = (Series("same", [1, 2], [3, 4], style="line"), Series("another", [1], [2]))
    svg = drawn(*(Panel(Axis("x"), Axis("y"), series) for _ in "ab"))
    assert [word for word in words(svg) if word in ("same", "another")] == ["same", "another"]


def test_one_series_needs_no_legend() -> None:
    assert "point" not in words(drawn(Panel(Axis("x"), Axis("y"), (POINT,))))


def test_every_style_and_axis_is_drawn() -> None:
    bars = Series("bars", [0.5, 0.2], [0, 1], style="bars")
    cells = Series("cells", [0, 1], [0, 0], style="cells", values=[-2.0, 0.04])
    steps = Series("steps", [1, 10], [3, 4], style="step")
    errors = Series("errors", [1, 20], [3, 4], marker="star", x_error=[0.0, 1.0], y_error=[0, 2])
    svg = drawn(
        Panel(Axis("importance"), Axis("", names=["first", "second"]), (bars,)),
        Panel(Axis("layers", names=["0:2", "2:4"]), Axis("", names=["ln"]), (cells,)),
        Panel(
            Axis("rate", scale="log", line=2.0), Axis("n", scale="count", line=3.5), (steps, errors)
        ),
    )
    assert {"first", "second", "0:2", "2:4", "ln", "-2.0", "+0.0", "10"} <= set(words(svg))


def test_a_count_begins_at_0_and_has_whole_ticks() -> None:
    series = Series("trials", [1, 2], [3, 4], style="step")
    shown = words(
        drawn(Panel(Axis("epoch", scale="count"), Axis("trials", scale="count"), (series,)))
    )
    assert "0" in shown
    assert not [word for word in shown if "." in word]


def test_what_has_no_mark_is_left_out_and_a_chart_without_any_says_why() -> None:
    empty = Panel(Axis("x"), Axis("never seen"), (Series("empty", [], []),))
    assert chart(empty).missing == "nothing to draw"
    full = chart(empty, Panel(Axis("x"), Axis("y"), (POINT, *empty.series)))
    assert full.missing is None
    assert not {"never seen", "empty"} & set(words(draw(full, "svg")["svg"]))


def test_equal_charts_are_equal_files() -> None:
    panel = Panel(Axis("x"), Axis("y", scale="log"), (POINT,))
    assert draw(chart(panel), "png", "svg") == draw(chart(panel), "png", "svg")


def test_a_plot_that_can_no_longer_be_drawn_leaves_no_stale_file(tmp_path: Path) -> None:
    target = tmp_path / "plots"
    target.mkdir()
    for name in ("history.html", "history.png", "other.png"):
        (target / name).write_text("old")
    write_plots(tmp_path, [Chart("history", "title", "caption", (), otherwise="few")])
    assert [path.name for path in target.iterdir()] == ["other.png"]


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
    assert len(figures(page)) == sum(not chart.missing for chart in charts) == 6
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
