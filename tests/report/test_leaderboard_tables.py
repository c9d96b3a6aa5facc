"""A leaderboard says the same in each form; a sweep has averages beside published ones."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from study.errors import DataError
from study.protocols import hmean
from study.report.leaderboard_tables import (
    budget_table,
    leaderboard_markdown,
    main_table,
    render_leaderboard,
    render_screen,
    target_table,
    write_leaderboard,
)
from study.report.sweep_tables import sweep_summary, sweep_tables, write_sweep_tables
from study.results.study_result import read_study_result
from study.results.sweep_scores import PUBLISHED_AVERAGES, read_sweep
from study.storage.atomic import StorageError
from tests.example_studies import ExampleStudy
from tests.not_none import not_none
from tests.results.conftest import placed


def report_also(folder: Path, **scores: float):
    """Let all tests have further scores."""
    for path in folder.glob("trials/test-*/reports.jsonl"):
        *lines, last = path.read_text().splitlines()
        last = json.dumps(json.loads(last) | scores)
        path.write_text("".join(f"{line}\n" for line in (*lines, last)))


def test_rows_are_sorted_by_test_and_the_best_configuration_is_marked(few_shot_study: Path):
    ExampleStudy(few_shot_study).add_linear()
    board = read_study_result(few_shot_study)
    table = main_table(board)
    means = [entry.test.mean for entry in board.rows]
    assert means == sorted(means, reverse=True)
    assert [index for index, row in enumerate(table.rows) if "★" in str(row[0])] == [table.marked]
    score = table.header.index("test %")
    assert [float(row[score].split(" ")[0]) for row in table.texts] == [
        pytest.approx(100 * mean, abs=0.05) for mean in means
    ]
    assert "±" in table.texts[0][score], "an interval is shown"


def test_parts_have_columns_and_datasets_a_table(base_to_new_study: Path, few_shot_study: Path):
    header = main_table(read_study_result(base_to_new_study)).header
    assert header[1:5] == ["base %", "new %", "hmean %", "balanced %"]
    report_also(few_shot_study, test_source=0.75, test_dtd=0.25)
    table = target_table(read_study_result(few_shot_study))
    assert [row[0] for row in table.texts] == ["glyphs (source)", "dtd"]
    assert {*table.texts[1][1:]} == {"25.0 (no interval)"}


def test_the_terminal_markdown_and_csv_have_the_same_candidates(base_to_new_study: Path):
    ExampleStudy(base_to_new_study).add_linear()
    board = read_study_result(base_to_new_study)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render_leaderboard(board))
    printed, markdown = console.export_text(), leaderboard_markdown(board)
    assert max(map(len, printed.splitlines())) <= 100
    write_leaderboard(board)
    written = (base_to_new_study / "leaderboard.csv").read_text()
    rows = [*csv.DictReader(written.splitlines())]
    found = [(row["label"], float(row["test_mean"])) for row in rows]
    assert found == [(entry.label, entry.test.mean) for entry in board.rows], "in full"
    assert [row["label"] for row in rows if row["best"] == "True"] == ["best"]
    for entry in board.rows:
        assert entry.label in printed
        assert f"| {entry.label} |" in markdown


def test_a_screen_is_enough_for_a_leaderboard_however_many_candidates(base_to_new_study: Path):
    ExampleStudy(base_to_new_study).add_linear()
    board = read_study_result(base_to_new_study)
    vars(board)["rows"] = board.rows * 9
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render_screen(board))
    lines = console.export_text().splitlines()
    assert len(lines) <= 39
    assert max(map(len, lines)) <= 80
    assert any("★" in line for line in lines)


def test_what_was_spent_counts_every_trial_once(few_shot_study: Path):
    board = read_study_result(few_shot_study)
    spent = {row[0]: row[1] for row in budget_table(board).rows}
    assert spent["test"] == len(board.stage("test"))
    assert sum(map(int, map(str, spent.values()))) == len(board.each_trial)


def test_a_column_shows_the_score_with_each_head_where_there_are_several(few_shot_study: Path):
    report_also(few_shot_study, test_score_text=0.75)
    assert "text head" not in main_table(read_study_result(few_shot_study)).header
    report_also(few_shot_study, test_score_linear=0.25)
    table = main_table(read_study_result(few_shot_study))
    start = table.header.index("text head")
    assert table.header[start + 1] == "linear head"
    for row in table.texts:
        assert [cell[:5] for cell in row[start : start + 2]] == ["75.0 ", "25.0 "]


def test_ours_stand_beside_the_published_averages(base_to_new_study: Path):
    averages, _ = sweep_tables(read_sweep([placed(base_to_new_study, "eurosat")]))
    rows = {row[0]: row[1:] for row in averages.texts}
    entry = not_none(read_study_result(base_to_new_study).find_row("clipfit"))
    mean = hmean(entry.means["base"].mean, entry.means["new"].mean)
    ours = [f"{100 * mean:.2f}", f"{100 * entry.test.mean:.2f}", "1", "–"]
    assert rows["clipfit, shots 16"][2:] == ours
    assert rows["CLIPFit (published)"][-2:] == ["11", "arXiv 2409.16718"]
    for published in PUBLISHED_AVERAGES["base_to_new 16"]:
        if published.base and published.new:
            assert hmean(published.base, published.new) == pytest.approx(published.hmean, abs=0.01)


def test_the_tables_replace_earlier_ones_and_no_other_file(few_shot_study: Path, tmp_path: Path):
    results = read_sweep([placed(few_shot_study, "dtd", "few_shot")])
    path = write_sweep_tables(results, tmp_path)
    before = path.read_text()
    assert write_sweep_tables(results, tmp_path).read_text() == before
    path.with_suffix(".csv").write_text("name,score\nmine,1\n")
    with pytest.raises(StorageError, match=r"tables\.csv is not a table of a sweep"):
        write_sweep_tables(results, tmp_path)


def test_an_average_is_over_the_datasets_and_beside_no_other_experiment(
    make_study: Callable[..., Path],
):
    folders = [placed(make_study(name), name, "few") for name in ("dtd", "eurosat")]
    averages, by_dataset = sweep_tables(read_sweep(folders))
    means = [
        not_none(read_study_result(folder).find_row("clipfit")).test.mean for folder in folders
    ]
    row = next(row for row in averages.texts if row[0].startswith("clipfit,"))
    assert row[1:] == [f"{50 * sum(means):.2f}", "2"]
    assert not [row for row in averages.texts if "published" in row[0]]
    assert [row[0] for row in by_dataset.rows] == ["dtd", "eurosat"]
    summary = {row[1]: row[2:] for row in sweep_summary(read_sweep(folders)).texts}
    assert "clipfit, shots 16" not in summary
    tuned = [
        not_none(read_study_result(folder).find_row("clipfit-tuned")).test.mean
        for folder in folders
    ]
    assert summary["clipfit-tuned, shots 16"] == [f"{50 * sum(tuned):.2f}", "2"]


def test_studies_outside_a_sweep_are_reported(few_shot_study: Path):
    with pytest.raises(DataError, match="no finished study of a sweep"):
        read_sweep([few_shot_study])
