"""An ablation's cells are described only where it holds, and noise is called noise."""

from dataclasses import replace
from pathlib import Path

import pytest

from study.report.ablation_tables import cell_table, forest_chart
from study.report.formatting import points
from study.report.verdict import ablation_notes, ablation_verdict
from study.results.study_result import read_study_result
from tests.not_none import not_none


def test_what_differs_is_named_with_its_difference_and_what_is_uncertain_noted(
    ablation_study: Path,
):
    ablation = not_none(read_study_result(ablation_study).ablation)
    sentence = ablation_verdict(ablation)
    assert "3 of 6 cells" in sentence
    for cell in ablation.cells:
        if cell.comparison:
            named = f"{cell.label} {points(cell.comparison.mean)}" in sentence
            assert named == (cell.finding == "significant")
    assert ablation_notes(ablation) == []
    first, *others = ablation.cells
    cells = [replace(first, rate_edges={"ln": "highest"}), *others]
    notes = ablation_notes(replace(ablation, cells=cells, unscored=["lost"]))
    for label in ("lost", f"{first.label} (highest of ln)"):
        assert sum(f": {label}." in note for note in notes) == 1


def test_the_forest_has_each_difference_and_is_not_drawn_of_a_base_alone(ablation_study: Path):
    result = read_study_result(ablation_study)
    ablation = not_none(result.ablation)
    (forest,) = forest_chart(ablation).figure.axes
    names = [tick.get_text() for tick in forest.get_yticklabels()]
    places = [point for marks in forest.containers for point in marks.lines[0].get_xydata()]
    assert {names[int(y)]: x for x, y in places} == {
        cell.label: pytest.approx(100 * cell.comparison.mean)
        for cell in ablation.cells
        if cell.comparison
    }
    base = [trial for trial in result.trial_results if trial.label == "base"]
    alone = not_none(replace(result, trial_results=base).ablation)
    assert len(alone.cells) == 1
    assert not forest_chart(alone).painters


def test_each_cell_has_a_value_in_each_column(ablation_study: Path):
    table = cell_table(read_study_result(ablation_study))
    assert {len(row) for row in table.rows} == {len(table.header)}
