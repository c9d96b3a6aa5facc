"""The tables of a sweep: averages as published ones are made, ours beside them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study.protocols import hmean
from study.report.paper_tables import sweep_summary, sweep_tables, write_sweep_tables
from study.results.sweep_scores import read_sweep
from study.storage.atomic import StorageError
from tests.changed_studies import board_of
from tests.not_none import not_none
from tests.results.conftest import placed


def test_ours_stand_beside_the_published_averages(base_to_new_study: Path):
    averages, _ = sweep_tables(read_sweep([placed(base_to_new_study, "eurosat")]))
    rows = {row[0]: row[1:] for row in averages.texts}
    entry = not_none(board_of(base_to_new_study).find_row("clipfit"))
    mean = hmean(entry.means["base"].mean, entry.means["new"].mean)
    ours = [f"{100 * mean:.2f}", f"{100 * entry.test.mean:.2f}", "1"]
    assert rows["clipfit, shots 16"][2:] == ours
    assert rows["CLIPFit (published)"][-1] == "11"


def test_the_tables_replace_earlier_ones_and_no_other_file(few_shot_study: Path, tmp_path: Path):
    results = read_sweep([placed(few_shot_study, "dtd", "few_shot")])
    path = write_sweep_tables(results, tmp_path)
    before = path.read_text()
    assert write_sweep_tables(results, tmp_path).read_text() == before
    path.with_suffix(".csv").write_text("name,score\nmine,1\n")
    with pytest.raises(StorageError, match=r"tables\.csv is no table of a sweep"):
        write_sweep_tables(results, tmp_path)


def test_an_average_is_over_the_datasets_and_beside_no_other_experiment(
    make_study: Callable[..., Path],
):
    folders = [placed(make_study(name), name, "few") for name in ("dtd", "eurosat")]
    averages, by_dataset = sweep_tables(read_sweep(folders))
    means = [not_none(board_of(folder).find_row("clipfit")).test.mean for folder in folders]
    row = next(row for row in averages.texts if row[0].startswith("clipfit,"))
    assert row[1:] == [f"{50 * sum(means):.2f}", "2"]
    assert not [row for row in averages.texts if "published" in row[0]]
    assert [row[0] for row in by_dataset.rows] == ["dtd", "eurosat"]
    summary = {row[1]: row[2:] for row in sweep_summary(read_sweep(folders)).texts}
    assert "clipfit, shots 16" not in summary
    tuned = [not_none(board_of(folder).find_row("clipfit-tuned")).test.mean for folder in folders]
    assert summary["clipfit-tuned, shots 16"] == [f"{50 * sum(tuned):.2f}", "2"]
