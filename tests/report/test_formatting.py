"""Numbers are worded with their doubt, and tables show every cell as it is."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from study.process.terminal_table import TerminalTable
from study.report.formatting import (
    Table,
    describe_difference,
    describe_missed,
    duration,
    format_count,
    format_mean,
    format_rate,
    markdown_text,
    percent,
    points,
    probability,
    score_cell,
)
from study.results.intervals import Interval, mean_interval


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123, "+1.2"), (-0.0123, "−1.2"), (-0.0001, "0.0"), (0.0, "0.0")]
)
def test_points_are_signed_percentage_points(value: float, text: str) -> None:
    assert points(value) == text


def test_numbers_are_worded_with_their_doubt() -> None:
    assert format_mean(mean_interval([0.5, 0.52, 0.54])) == "52.0 ± 5.0"
    assert (probability(0.0004), probability(0.0412), probability(None)) == ("<0.001", "0.041", "–")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations_are_told_in_the_unit_that_reads_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_what_is_unknown_is_a_dash() -> None:
    assert {percent(None), format_mean(None), format_rate(None), format_count(None)} == {"–"}
    assert (percent(0.12345, 2), format_rate(0.00123456), format_count(11264)) == (
        "12.35",
        "0.00123",
        "11,264",
    )


def test_a_cell_of_many_lines_is_one_row_of_markdown() -> None:
    text = Table("", ["cause"], [["p < 0.001\nof a|b"]]).markdown()
    assert text == "| cause |\n| --- |\n| p &lt; 0.001 of a\\|b |"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("vision.ln[0:2]", "vision.ln\\[0:2]"),
        ("*a* _b_ `c` ~d~", "\\*a\\* \\_b\\_ \\`c\\` \\~d\\~"),
        ("<b> & $m$ @n", "&lt;b&gt; &amp; &#36;m&#36; &#64;n"),
        ("+0.4 ± 0.1 %", "+0.4 ± 0.1 %"),
    ],
)
def test_marks_of_markdown_are_escaped_and_others_left(text: str, escaped: str) -> None:
    assert markdown_text(text) == escaped


def test_a_terminal_shows_brackets_and_keeps_numbers_to_the_right() -> None:
    table = Table("Title", ["cell", "s"], [["[bold]x[/bold]", "7"]])
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(table)
    (row,) = [line for line in console.export_text().splitlines() if "x" in line]
    assert row == "│ [bold]x[/bold] │ 7 │"


def test_a_table_goes_to_the_terminal_with_all_that_it_knows() -> None:
    table = Table("All", ["a", "b", "c"], [[1, None, "x"]], left=2, keys=2, break_at=2)
    assert table.__rich__() == TerminalTable(
        ["a", "b", "c"], [["1", "–", "x"]], title="All", words=2, keys=2, break_at=2
    )


def test_a_column_that_says_the_same_in_every_row_can_be_left_out() -> None:
    table = Table("", ["part", "class", "s"], [["all", "a", 1], ["all", "b", 1]], left=2, keys=2)
    alone = table.without_constant("part")
    assert (alone.header, alone.rows) == (["class", "s"], [["a", 1], ["b", 1]])
    assert (alone.left, alone.keys) == (1, 1)
    assert table.without_constant("class") is table
    last = table.without_constant("s")
    assert (last.header, last.left, last.keys) == (["part", "class"], 2, 2)


def test_values_are_shown_short_and_written_in_full() -> None:
    table = Table("Of *a*", ["cell", "s"], [["x", 0.1 + 0.2], [None, 3]], note="s < 1.")
    assert table.texts == [["x", "0.30000000000000004"], ["–", "3"]]
    assert table.csv() == "cell,s\nx,0.30000000000000004\n,3\n"
    head, rows, note = table.markdown().split("\n\n")
    assert (head, note) == ("## Of \\*a\\*", "s &lt; 1.")
    assert rows.splitlines()[-1] == "| – | 3 |"


def test_records_are_rows_under_the_names_of_their_fields() -> None:
    records: list[dict[str, object]] = [{"a": 1, "b": None}, {"a": 2, "b": True}]
    assert Table.from_records(records).csv() == "a,b\n1,\n2,True\n"
    assert Table.from_records([]).rows == []


def test_a_score_has_one_interval_and_shows_its_parts_on_hover() -> None:
    seeds = mean_interval([0.5, 0.52, 0.54])
    cell = score_cell(replace(seeds, images=Interval(0.49, 0.57)))
    assert cell == score_cell(seeds) == "52.0 ± 5.0"
    assert "47.0 to 57.0" in cell.hover
    assert "49.0 to 57.0" in cell.hover
    assert (score_cell(mean_interval([0.5])), score_cell(None)) == ("50.0 (1 seed)", "–")


def test_an_interval_that_ends_at_what_is_possible_has_both_ends_printed() -> None:
    assert format_mean(mean_interval([0.98, 0.99, 1.0], highest=1.0)) == "99.0 [96.5, 100.0]"


def test_no_interval_is_printed_as_nothing() -> None:
    tiny = replace(mean_interval([0.5, 0.5]), low=0.4999, high=0.5001)
    assert format_mean(tiny) == "50.0 ± <0.1"
    assert format_mean(mean_interval([0.5, 0.5])) == "50.0 (no interval)"


def test_a_difference_is_spelt_with_what_its_interval_leaves_out() -> None:
    seeds = mean_interval([0.01, 0.03])
    ends = "−10.7 to +14.7"
    assert describe_difference(seeds) == (
        f"+2.0 points (95 % interval over seeds alone {ends}, test images left out)"
    )
    both = replace(seeds, images=Interval(-0.01, 0.05))
    assert describe_difference(both) == f"+2.0 points (95 % interval {ends})"
    wider = replace(both, wider=Interval(-0.2, 0.24))
    assert describe_difference(wider).endswith(f"{ends}, for other labelled images −20.0 to +24.0)")
    assert "no interval" in describe_difference(mean_interval([0.01]))


def test_beside_a_verdict_stands_the_difference_that_would_be_missed_half_the_time() -> None:
    found = mean_interval([0.01, 0.03])
    assert found.reach == pytest.approx(0.127, abs=1e-3)
    assert "12.7 points" in describe_missed(found)
    assert describe_missed(mean_interval([0.01])) == ""
