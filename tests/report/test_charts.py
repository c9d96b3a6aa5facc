"""A chart is drawn as PNG and SVG, each once, and its words are only words."""

import re
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest

from study.report.charts import Axis, Chart, Panel, Series, draw, write_plots
from study.report.formatting import HoverText

POINT = Series("point", [1], [1])


def chart(*panels: Panel) -> Chart:
    return Chart("name", "title", "caption", panels, reason_if_empty="nothing to draw")


def words(svg: bytes) -> list[str]:
    """The words of a figure."""
    return [unescape(text) for text in re.findall("<text[^>]*>(.*?)</text>", svg.decode())]


def drawn(*panels: Panel) -> bytes:
    shown = chart(*panels)
    assert draw(shown, "png").startswith(b"\x89PNG")
    svg = draw(shown, "svg")
    ElementTree.fromstring(svg)
    return svg


@pytest.mark.parametrize("text", ["<b>name</b>", "$a", r"$\frac$", "--><script>", "a_b & c ★"])
def test_words_are_not_taken_for_markup_or_formulas(text: str):
    named = (Series(text, [0], [0]), Series("another", [1], [1]))
    svg = drawn(Panel(Axis(text), Axis(text, names=[text, "second"]), named, text))
    assert b"<script>" not in svg
    assert words(svg).count(text) == 5


def test_a_name_says_under_the_mouse_what_is_behind_it_and_the_text_stays_text():
    hover = """70 < 80 & "90" <b>'%'</b>"""
    svg = drawn(Panel(Axis("x"), Axis("", names=[HoverText("named", hover), "plain"]), (POINT,)))
    titles = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}title")
    assert [title.text for title in titles] == [hover]


def test_every_style_and_axis_is_drawn():
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


def test_what_has_no_mark_is_left_out_and_a_chart_without_any_says_why():
    empty = Panel(Axis("x"), Axis("never seen"), (Series("empty", [], []),))
    assert chart(empty).missing_reason == "nothing to draw"
    full = chart(empty, Panel(Axis("x"), Axis("y"), (POINT, *empty.series)))
    assert full.missing_reason is None
    assert not {"never seen", "empty"} & set(words(draw(full, "svg")))


def test_a_plot_that_can_no_longer_be_drawn_leaves_no_stale_file(tmp_path: Path):
    target = tmp_path / "plots"
    target.mkdir()
    for name in ("history.html", "history.png", "other.png"):
        (target / name).write_text("old")
    write_plots(tmp_path, [Chart("history", "title", "caption", (), reason_if_empty="few")])
    assert [path.name for path in target.iterdir()] == ["other.png"]


def test_a_picture_of_shares_is_one_image_in_the_svg():
    x, y = [0, 0, 1, 1], [0, 1, 0, 1]
    cells = Series("shares", x, y, style="shares", values=[5.0, 97.6, -2.0, -0.4])
    svg = drawn(Panel(Axis("", names=["<b>$x$"] * 2), Axis("", names=[""] * 2), (cells,)))
    assert svg.count(b"<image") == 1
    assert {"5", "98", "2", "<1"} <= {*words(svg)}, "without a sign"
    assert b"<b>" not in svg
