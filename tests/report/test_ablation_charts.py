"""The charts of an ablation have every cell but the base, and grey what is noise."""

from pathlib import Path

import pytest

from study.report.ablation_charts import ablation_plots
from study.report.charts import GREY
from study.results.study_result import read_study_result
from tests.not_none import not_none


def test_the_forest_has_each_difference_and_the_map_each_single_term(ablation_study: Path):
    table = not_none((read_study_result(ablation_study)).ablation)
    forest, squares = ablation_plots(table)
    (panel,) = forest.panels
    cells = {cell.label: cell for cell in table.cells if cell.label != "base"}
    names = not_none(panel.y.names)
    assert {*names} == cells.keys()
    for series in panel.series:
        for mean, row in zip(series.x, series.y, strict=True):
            cell = cells[names[int(row)]]
            assert mean == pytest.approx(100 * not_none(cell.comparison).mean)
            assert (series.color == GREY) == (cell.finding != "significant")
    (panel,) = squares.panels
    assert panel.x.names == ["all", "0:2", "2:4"]
    assert {*not_none(panel.y.names)} >= {"text.attn.v.bias", "vision.ln"}
