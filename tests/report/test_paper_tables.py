"""The tables of a sweep: averages as published ones are made, ours beside them."""

import csv
from collections.abc import Callable
from pathlib import Path

from study.protocols import hmean
from study.report.paper_tables import sweep_tables, write_sweep_tables
from study.results.sweep_scores import read_sweep
from tests.changed_studies import board_of
from tests.not_none import not_none
from tests.results.test_sweep_scores import placed


def test_ours_stand_beside_the_published_averages(base_to_new_study: Path, tmp_path: Path) -> None:
    folder = placed(base_to_new_study, "eurosat")
    results = read_sweep([folder])
    averages, by_dataset = sweep_tables(results)
    rows = {row[0]: row[1:] for row in averages.texts}
    assert rows["CLIPFit (published)"] == ["–", "–", "78.97", "–", "11"]
    assert rows["CLIP (published)"][:3] == ["69.34", "74.22", "71.70"]
    entry = not_none(board_of(folder).find_entry("clipfit"))
    mean = hmean(entry.parts["base"].mean, entry.parts["new"].mean)
    ours = rows[f"{entry.label}, shots 16"]
    assert ours[2:] == [f"{100 * mean:.2f}", f"{100 * entry.test.mean:.2f}", "1"]
    assert "over 1 of them, so the averages do not compare" in averages.note
    assert [row[0] for row in by_dataset.rows] == ["eurosat"]
    path = write_sweep_tables(results, tmp_path)
    assert "78.97" in path.read_text()
    rows_csv = list(csv.DictReader(path.with_suffix(".csv").open()))
    assert float(rows_csv[0]["test"]) > 0


def test_published_averages_stand_beside_no_other_experiment(few_shot_study: Path) -> None:
    averages, _ = sweep_tables(read_sweep([placed(few_shot_study, "dtd", "few_shot")]))
    assert not [row for row in averages.texts if "published" in row[0]]


def test_an_average_is_over_the_datasets(make_study: Callable[..., Path]) -> None:
    first, second = (
        placed(make_study(), "dtd", "few"),
        placed(make_study("other"), "eurosat", "few"),
    )
    averages, by_dataset = sweep_tables(read_sweep([first, second]))
    boards = [board_of(folder).find_entry("clipfit") for folder in (first, second)]
    means = [entry.test.mean for entry in boards if entry is not None]
    row = next(row for row in averages.texts if row[0].startswith("clipfit,"))
    assert row[1:] == [f"{50 * sum(means):.2f}", "2"]
    assert [row[0] for row in by_dataset.rows] == ["dtd", "eurosat"]
