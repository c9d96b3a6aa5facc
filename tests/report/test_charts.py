"""A chart is drawn as PNG and SVG, each once, and its words are only words."""

import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from study.report.charts import (
    Chart,
    Painter,
    draw,
    log_scale,
    name_axis,
    write_plots,
)


def drawn(*painters: Painter) -> bytes:
    chart = Chart("name", "title", "caption", painters, reason_if_empty="nothing")
    assert draw(chart, "png").startswith(b"\x89PNG")
    svg = draw(chart, "svg")
    ElementTree.fromstring(svg)
    return svg


def words(svg: bytes) -> list[str]:
    """The words of a figure."""
    return [unescape(text) for text in re.findall("<text[^>]*>(.*?)</text>", svg.decode())]


def named(names: Sequence[str]) -> Painter:
    def paint(axes: Any):
        axes.plot([0, 1], [0, 1], label="line")
        axes.set_title(names[0])
        name_axis(axes, "y", names)

    return paint


@pytest.mark.parametrize("text", ["<b>name</b>", "$a", r"$\frac$", "--><script>", "a_b & c ★"])
def test_words_are_not_taken_for_markup_or_formulas(text: str):
    svg = drawn(named([text, "second"]))
    assert b"<script>" not in svg
    assert words(svg).count(text) == 2


def test_panels_stand_side_by_side_with_scales_of_their_own():
    def paint(axes: Any):
        axes.plot([1, 20], [3, 4])
        log_scale(axes)

    assert {"first", "second", "10"} <= {*words(drawn(named(["first", "second"]), paint))}


def test_a_plot_that_can_no_longer_be_drawn_leaves_no_stale_file(tmp_path: Path):
    target = tmp_path / "plots"
    target.mkdir()
    for name in ("history.html", "history.png", "other.png"):
        (target / name).write_text("old")
    write_plots(tmp_path, [Chart("history", "title", "caption", (), reason_if_empty="few")])
    assert [path.name for path in target.iterdir()] == ["other.png"]
