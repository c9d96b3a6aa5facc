"""Numbers are worded with their doubt, and tables show every cell as it is."""

import csv
import io
from dataclasses import replace

from study.report.formatting import (
    duration,
    format_count,
    format_difference,
    format_mean,
    format_rate,
    percent,
    points,
    probability,
)
from study.report.tables import Table, csv_text, markdown_text
from study.results.statistics import Interval, mean_interval


def test_numbers_have_the_unit_that_reads_well_and_what_is_unknown_is_a_dash():
    assert [*map(points, (0.0123, -0.0123, -0.0001, 0.0))] == ["+1.2", "−1.2", "0.0", "0.0"]
    assert [*map(duration, (0.4, 119, 600, 9000))] == ["0 s", "119 s", "10 min", "2.5 h"]
    assert [*map(probability, (0.0004, 0.0412, None))] == ["<0.001", "0.041", "–"]
    assert (percent(0.12345, 2), percent(None)) == ("12.35", "–")
    assert (format_rate(0.00123456), format_rate(None)) == ("0.00123", "–")
    assert (format_count(11264), format_count(None)) == ("11,264", "–")


def test_marks_of_markdown_are_escaped_and_others_left():
    for text, escaped in (
        ("vision.ln[0:2]", "vision.ln\\[0:2]"),
        ("*a* _b_ `c` ~d~ e|f", "\\*a\\* \\_b\\_ \\`c\\` \\~d\\~ e\\|f"),
        ("<b> &\n$m$ @n", "&lt;b&gt; &amp; &#36;m&#36; &#64;n"),
        ("+0.4 ± 0.1 %", "+0.4 ± 0.1 %"),
    ):
        assert markdown_text(text) == escaped


def test_values_are_shown_short_and_written_in_full():
    table = Table("Of *a*", ["cell", "s"], [["x", 0.1 + 0.2], [None, 3]], note="s < 1.")
    assert table.csv() == "cell,s\nx,0.30000000000000004\n,3\n"
    head, rows, note = table.markdown().split("\n\n")
    assert (head, note) == ("## Of \\*a\\*", "s &lt; 1.")
    assert rows.splitlines()[1:] == ["| --- | --- |", "| x | 0.30000000000000004 |", "| – | 3 |"]


def test_a_cell_of_csv_stays_one_cell_whatever_is_in_it():
    row = ["cr\rover.png", "crlf\r\n", "new\nline", 'a,"b"', "plain", ""]
    text = csv_text([row, ["next"]])
    assert list(csv.reader(io.StringIO(text, newline=""))) == [row, ["next"]]
    assert text.endswith(",plain,\nnext\n")


def test_an_interval_has_both_ends_where_one_is_at_what_is_possible_and_is_never_nothing():
    none = mean_interval([0.5, 0.5])
    tiny = replace(none, low=0.4999, high=0.5001)
    at_end = mean_interval([0.98, 0.99, 1.0], bounded=True)
    shown = [*map(format_mean, (at_end, tiny, none, None))]
    assert shown == ["99.0 [96.5, 100.0]", "50.0 ± <0.1", "50.0 (no interval)", "–"]


def test_a_difference_has_the_interval_that_decides_verdicts():
    seeds = mean_interval([0.01, 0.03])
    assert format_difference(seeds) == "+2.0 [−10.7, +14.7]"
    wider = replace(seeds, wider=Interval(-0.2, 0.24))
    assert format_difference(wider) == "+2.0 [−20.0, +24.0]"
    assert format_difference(mean_interval([0.01])) == "+1.0 (1 seed)"
    assert format_difference(None) == "–"
