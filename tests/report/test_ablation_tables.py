"""What is told of an ablation's cells is told only where it is so, and noise is called noise."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from study.report.ablation_charts import ablation_plots
from study.report.ablation_tables import (
    ablation_csv,
    ablation_markdown,
    ablation_verdict,
    cell_table,
    write_ablation,
)
from study.results.study_result import read_study_result
from tests.changed_studies import forget_images, leave_one_seed
from tests.not_none import not_none
from tests.results.test_ablation import searched


def test_each_cell_is_told_as_it_is_found(ablation_study: Path):
    table = not_none((read_study_result(ablation_study)).ablation)
    noise = [cell.label for cell in table.cells if cell.finding == "not significant"]
    assert {*noise} == {
        "only text.attn.v.bias",
        "only vision.ln[0:2]",
        "only vision.ln[2:4]",
    }
    _, *rest = ablation_verdict(table)
    (of_noise,) = [sentence for sentence in rest if sentence.startswith("Within noise")]
    for cell in table.cells:
        assert (f"“{cell.label}”" in of_noise) == (cell.label in noise)
        told = any(sentence.startswith(f"“{cell.label}”: ") for sentence in rest)
        assert told == (cell.finding == "significant")


def test_without_intervals_nothing_is_tested(ablation_study: Path):
    table = not_none((read_study_result(leave_one_seed(forget_images(ablation_study)))).ablation)
    cells = {row[0]: row for row in cell_table(table).texts}
    p = cell_table(table).header.index("p")
    assert {row[p] for row in cells.values()} == {"–"}
    assert "Beyond noise" not in " ".join(ablation_verdict(table))


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
def test_rates_at_the_end_of_what_was_tried_are_told(
    ablation_study: Path, rates: list[tuple[float, float]], edges: str
):
    label = "only text.attn.v.bias"
    tried = [{"bias": bias, "ln": ln} for bias, ln in rates]
    table = not_none((searched(read_study_result(ablation_study), label, *tried)).ablation)
    told = [line for line in ablation_verdict(table) if "tried" in line and label in line]
    assert len(told) == bool(edges)
    rows = {row["label"]: row for row in csv.DictReader(io.StringIO(ablation_csv(table)))}
    assert (rows["base"]["edges"], rows[label]["edges"]) == ("", edges)


def test_all_files_hold_the_same_cells(ablation_study: Path):
    table = not_none((read_study_result(ablation_study)).ablation)
    files = {path.name: path for path in write_ablation(ablation_study, table)}
    drawn = {f"ablation-{name}.{end}" for name in ("forest", "map") for end in ("svg", "png")}
    assert set(files) == {"ablation.csv", "ablation.md", *drawn}
    assert files["ablation.csv"].read_text() == ablation_csv(table)
    assert files["ablation.md"].read_text() == ablation_markdown(table)
    first = next(csv.DictReader(files["ablation.csv"].read_text().splitlines()))
    assert float(first["score_mean"]) == table.cells[0].score.mean < 1, "in full"


def test_a_base_alone_has_a_table_and_no_plots(ablation_study: Path):
    results = read_study_result(ablation_study)
    base = tuple(trial for trial in results.trial_results if trial.label == "base")
    table = not_none(replace(results, trial_results=base).ablation)
    assert len(table.cells) == 1
    assert all(plot.missing_reason for plot in ablation_plots(table))
