"""The probabilities of what ships, as a table and as a chart."""

from study.report.reliability_table import reliability_chart, reliability_table
from study.results.reliability import Bin, Calibration, Reliability

FOUND = Calibration(
    "base",
    Reliability(0.5, (Bin(10, 0.95, 0.75), Bin(30, 0.6, 0.6))),
    Reliability(0.4, (Bin(40, 0.7, 0.65),)),
)


def test_each_part_stands_without_and_with_the_temperature():
    table = reliability_table([FOUND])
    assert [*table.rows] == [["base", "0.500", "0.400", "5.0", "5.0"]]


def test_the_chart_has_a_point_for_each_bin():
    (panel,) = reliability_chart([FOUND]).panels
    ideal, before, after = panel.series
    assert (ideal.x, ideal.y) == ([0, 100], [0, 100])
    assert (before.x, before.y) == ([95.0, 60.0], [75.0, 60.0])
    assert (after.name, after.x, after.y) == ("with temperature", [70.0], [65.0])
