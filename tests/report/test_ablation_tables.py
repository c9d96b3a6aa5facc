"""What is told of an ablation's cells is told only where it is so, and noise is called noise."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import yaml

from study.report.ablation_charts import ablation_plots
from study.report.ablation_tables import (
    ablation_csv,
    ablation_markdown,
    ablation_verdict,
    write_ablation,
)
from study.results.ablation import ablation_table
from study.results.study_results import read_results
from study.storage.ledger_files import JsonObject
from tests.changed_studies import forget_images, leave_one_seed, share_images
from tests.report.conftest import AsKept, rounded
from tests.results.test_ablation import searched


def test_a_cell_that_its_own_interval_alone_tells_apart_is_not_called_noise(ablation_study: Path):
    table = ablation_table(read_results(ablation_study))
    cells = []
    for cell in table.cells:
        comparison = cell.comparison
        if comparison:
            clear = replace(comparison, mean=-0.15, holm_p=0.12)
            cell = replace(cell, comparison=clear)
        cells.append(cell)
    text = " ".join(ablation_verdict(replace(table, cells=cells)))
    assert "own intervals, but not once corrected" in text
    assert "−15.0" in text
    assert "Within noise" not in text


def forget_tests(folder: Path):
    """Let what was tested have been validated instead."""
    for path in folder.glob("trials/*/reports.jsonl"):
        path.write_text(path.read_text().replace('"test_', '"val_'))


@pytest.mark.parametrize(
    "name, change",
    [
        ("as-it-is", lambda _: None),
        ("of-unknown-images", forget_images),
        ("of-one-seed", leave_one_seed),
        ("of-the-same-training-images", partial(share_images, share=1.0)),
        ("of-much-the-same-training-images", partial(share_images, share=0.95)),
        ("that-was-not-tested", forget_tests),
    ],
)
def test_an_ablation_is_told_as_it_was_kept(
    ablation_study: Path,
    as_kept: AsKept,
    name: str,
    change: Callable[[Path], object],
):
    change(ablation_study)
    table = ablation_table(read_results(ablation_study))
    as_kept(f"ablation-{name}", ablation_markdown(table) + rounded(ablation_csv(table)))


CASES = yaml.safe_load(Path(__file__).with_name("rate_edges.yaml").read_text())


@pytest.mark.parametrize("case", CASES)
def test_rates_at_the_end_of_what_was_tried_are_told(ablation_study: Path, case: JsonObject):
    label = "only text.attn.v.bias"
    rates = [{"bias": bias, "ln": ln} for bias, ln in case["tried"]]
    results = searched(read_results(ablation_study), label, *rates)
    table = ablation_table(results)
    assert [line for line in ablation_verdict(table) if "tried" in line] == case.get("told", [])
    rows = {row["label"]: row for row in csv.DictReader(io.StringIO(ablation_csv(table)))}
    assert rows["base"]["edges"] == ""
    assert rows[label]["edges"] == case.get("edges", "")


def test_a_cell_that_depends_much_on_the_seed_is_named(ablation_study: Path):
    table = ablation_table(read_results(ablation_study))
    first, *others = table.cells
    wide = replace(first, score=replace(first.score, sd=1.0))
    told = " ".join(ablation_verdict(replace(table, cells=[wide, *others])))
    assert f"the median cell: “{first.label}”." in told


def test_all_files_hold_the_same_cells(ablation_study: Path):
    table = ablation_table(read_results(ablation_study))
    files = {path.name: path for path in write_ablation(ablation_study, table)}
    drawn = {f"ablation-{name}.{end}" for name in ("forest", "map") for end in ("svg", "png")}
    assert set(files) == {"ablation.csv", "ablation.md", *drawn}
    assert files["ablation.csv"].read_text() == ablation_csv(table)
    assert files["ablation.md"].read_text() == ablation_markdown(table)
    first = next(csv.DictReader(files["ablation.csv"].read_text().splitlines()))
    assert float(first["score_mean"]) == table.cells[0].score.mean < 1, "in full"


def test_a_base_alone_has_a_table_and_no_plots(ablation_study: Path):
    results = read_results(ablation_study)
    base = tuple(trial for trial in results.trials if trial.label == "base")
    table = ablation_table(replace(results, trials=base))
    assert len(table.cells) == 1
    assert all(plot.missing_reason for plot in ablation_plots(table))
    assert "differ" not in " ".join(ablation_verdict(table))
