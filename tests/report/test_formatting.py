"""Numbers are worded with their uncertainty; settings and candidates have words and names."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

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
from study.report.names import candidate_name, entry_name
from study.results.statistics import Interval, mean_interval


def test_numbers_have_the_unit_that_reads_well_and_what_is_unknown_is_a_dash():
    assert [*map(points, (0.0123, -0.0123, -0.0001, 0.0))] == ["+1.2", "−1.2", "0.0", "0.0"]
    assert [*map(duration, (0.4, 119, 600, 9000))] == ["0 s", "119 s", "10 min", "2.5 h"]
    assert [*map(probability, (0.0004, 0.0412, None))] == ["<0.001", "0.041", "–"]
    assert (percent(0.12345, 2), percent(None)) == ("12.35", "–")
    assert (format_rate(0.00123456), format_rate(None)) == ("0.00123", "–")
    assert (format_count(11264), format_count(None)) == ("11,264", "–")


def test_a_mean_has_the_ends_of_its_interval_and_a_difference_those_that_decide():
    none = mean_interval([0.5, 0.5])
    tiny = replace(none, low=0.4999, high=0.5001)
    at_end = mean_interval([0.98, 0.99, 1.0], bounded=True)
    shown = [*map(format_mean, (at_end, tiny, none, None))]
    assert shown == ["99.0 [96.5, 100.0]", "50.0 ± <0.1", "50.0 (no interval)", "–"]
    seeds = mean_interval([0.01, 0.03])
    wider = replace(seeds, wider=Interval(-0.2, 0.24))
    shown = [*map(format_difference, (seeds, wider, mean_interval([0.01]), None))]
    assert shown == ["+2.0 [−10.7, +14.7]", "+2.0 [−20.0, +24.0]", "+1.0 (1 seed)", "–"]


def test_candidates_of_the_product_have_names_and_those_that_share_a_training_the_telling_ones():
    assert candidate_name("best-of-40") == f"{candidate_name('best')}, of 40 trials"
    for label in ("found-late-1", "mine-of-40"):
        assert candidate_name(label) == label
    tuned = candidate_name("clipfit-tuned")
    for labels, name in (
        (("clipfit-tuned", "second"), f"{tuned}, also second by validation"),
        (("clipfit-tuned", "best", "best-with-delta"), tuned),
        (("best", "best-with-delta"), candidate_name("best")),
    ):
        row: Any = SimpleNamespace(labels=labels)
        assert entry_name(row) == name
