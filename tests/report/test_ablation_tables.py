"""An ablation's cells are described only where it holds, and noise is called noise."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from study.report.ablation_tables import (
    ablation_markdown,
    ablation_records,
    cell_table,
    forest_chart,
    write_ablation,
)
from study.report.formatting import points
from study.report.verdict import ablation_notes, ablation_verdict
from study.results.study_result import read_study_result
from tests.example_studies import ExampleStudy
from tests.not_none import not_none
from tests.results.test_ablation import searched


def test_the_verdict_names_the_cells_that_differ_and_by_how_much(ablation_study: Path):
    table = not_none(read_study_result(ablation_study).ablation)
    sentence = ablation_verdict(table)
    for cell in table.cells:
        if cell.comparison:
            named = f"{cell.label} {points(cell.comparison.mean)}" in sentence
            assert named == (cell.finding == "significant")
    assert sentence.count("3 of 6 cells") == 1


def test_without_intervals_nothing_is_tested(ablation_study: Path):
    study = ExampleStudy(ablation_study)
    study.leave_one_seed()
    study.forget_images()
    table = not_none(read_study_result(ablation_study).ablation)
    cells = {row[0]: row for row in cell_table(table).texts}
    p = cell_table(table).header.index("p")
    assert {row[p] for row in cells.values()} == {"–"}
    assert "No cell can be tested" in ablation_verdict(table)


def test_the_forest_has_each_difference(ablation_study: Path):
    table = not_none(read_study_result(ablation_study).ablation)
    (forest,) = forest_chart(table).figure.axes
    names = [tick.get_text() for tick in forest.get_yticklabels()]
    differences = {cell.label: cell.comparison for cell in table.cells if cell.comparison}
    assert {*names} == differences.keys()
    places = [point for marks in forest.containers for point in marks.lines[0].get_xydata()]
    assert {names[int(y)]: x for x, y in places} == {
        label: pytest.approx(100 * difference.mean) for label, difference in differences.items()
    }


@pytest.mark.parametrize(
    "rates, edges",
    [
        ([(1.0, 1.0), (0.1, 0.1), (10.0, 10.0)], ""),
        ([(1.0, 1.0), (10.0, 10.0)], "bias: lowest; ln: lowest"),
        ([(1.0, 1.0)], ""),
        (
            [(0.2, 0.3), (0.2, 0.1), (0.1, 0.3), (0.1, 0.1), (0.4, 0.3), (0.4, 0.1)],
            "ln: highest",
        ),
    ],
)
def test_rates_at_the_end_of_what_was_tried_are_flagged(
    ablation_study: Path, rates: list[tuple[float, float]], edges: str
):
    label = "only text.attn.v.bias"
    tried = [{"bias": bias, "ln": ln} for bias, ln in rates]
    table = not_none(searched(read_study_result(ablation_study), label, *tried).ablation)
    noted = [line for line in ablation_notes(table) if "tried" in line and label in line]
    assert len(noted) == bool(edges)
    found = {row["label"]: row["rate_edges"] for row in ablation_records(table)}
    assert (found["base"], found[label]) == (None, edges or None)


def test_all_files_hold_the_same_cells(ablation_study: Path):
    table = not_none(read_study_result(ablation_study).ablation)
    write_ablation(ablation_study, table)
    written = (ablation_study / "ablation.csv").read_text()
    assert (ablation_study / "ablation.md").read_text() == ablation_markdown(table)
    first, *others = csv.DictReader(written.splitlines())
    assert [first["label"], *(row["label"] for row in others)] == [c.label for c in table.cells]
    assert float(first["score_mean"]) == table.cells[0].score.mean < 1, "in full"


def test_a_base_alone_has_a_table_and_no_plots(ablation_study: Path):
    results = read_study_result(ablation_study)
    base = [trial for trial in results.trial_results if trial.label == "base"]
    table = not_none(replace(results, trial_results=base).ablation)
    assert len(table.cells) == 1
    assert forest_chart(table).missing_reason
