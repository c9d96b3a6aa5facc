"""The map of layers and sites takes a cell for what it varies; a base alone has none."""

from dataclasses import replace
from pathlib import Path

import pytest

from study.analysis.ablation import ablation_table, ablation_verdict
from study.analysis.ablation_output import render
from study.analysis.ablation_plots import ablation_plots, left_out_term, only_term
from study.analysis.results import read_results


@pytest.mark.parametrize(
    ("subset", "term"),
    [
        ("vision.ln[0:2]", "vision.ln[0:2]"),
        ("text.bias", "text.bias"),
        ("text.bias + vision.ln", None),
        ("none", None),
        ("of another version", None),
    ],
)
def test_a_cell_of_a_single_term_is_about_that_term(subset: str, term: str | None) -> None:
    found = only_term(subset)
    assert (None if found is None else str(found)) == term


@pytest.mark.parametrize(
    ("subset", "term"),
    [
        ("text.bias + vision.ln1", "vision.ln2"),
        ("text.bias + vision.ln1 + vision.ln2 - vision.ln2[0:2]", "vision.ln2[0:2]"),
        ("text.bias", None),
        ("text.bias + vision.ln1 + vision.ln2", None),
        ("text.bias + vision.ln1 - vision.ln1[0:2]", None),
        ("text.ln1 + text.bias + vision.ln1", None),
    ],
)
def test_a_left_out_term_is_found_from_the_base(subset: str, term: str | None) -> None:
    found = left_out_term(subset, "text.bias + vision.ln1 + vision.ln2")
    assert (None if found is None else str(found)) == term


def test_a_base_alone_has_a_table_and_no_plots(ablation_study: Path) -> None:
    results = read_results(ablation_study)
    base = tuple(trial for trial in results.trials if trial.label == "base")
    table = ablation_table(replace(results, trials=base))
    assert len(table.cells) == 1
    assert all(plot.missing for plot in ablation_plots(table))
    assert "0 of 0" in " ".join(ablation_verdict(table))
    render(table)


def test_the_forest_has_every_cell_but_the_base_and_greys_what_is_noise(
    ablation_study: Path,
) -> None:
    table = ablation_table(read_results(ablation_study))
    forest, grid = ablation_plots(table)
    drawn = {series.name: len(series.x) for series in forest.panels[0].series}
    beyond = sum(cell.beyond_noise for cell in table.cells)
    assert drawn == {"beyond noise": beyond, "within noise": 6 - beyond}
    assert list(grid.panels[0].x.names or ()) == ["all", "0:2", "2:4"]
    (cells,) = grid.panels[0].series
    assert len(cells.values) == len(cells.x) == 5
