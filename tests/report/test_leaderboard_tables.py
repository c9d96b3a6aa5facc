"""A leaderboard says the same on the terminal, as Markdown and as CSV."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from study.report.leaderboard_tables import (
    leaderboard_csv,
    leaderboard_markdown,
    main_table,
    render_leaderboard,
)
from tests.changed_studies import board_of
from tests.fake_studies import add_answer
from tests.report.conftest import AsKept, rounded


def compete(folder: Path):
    """Let the names of a study compete."""
    report_also(folder, test_generalized=0.5)


def several_datasets(folder: Path):
    """Let a study test two datasets."""
    report_also(folder, test_source=0.75, test_dtd=0.25)


def report_also(folder: Path, **scores: float):
    """Let all tests have further scores."""
    for path in folder.glob("trials/test-*/reports.jsonl"):
        *lines, last = path.read_text().splitlines()
        last = json.dumps(json.loads(last) | scores)
        path.write_text("".join(f"{line}\n" for line in (*lines, last)))


@pytest.mark.parametrize(
    "name, base_to_new, change",
    [
        ("with-an-answer", False, add_answer),
        ("of-names-that-compete", True, compete),
        ("of-several-datasets", False, several_datasets),
    ],
)
def test_a_leaderboard_is_what_was_kept(
    make_study: Callable[..., Path],
    as_kept: AsKept,
    name: str,
    base_to_new: bool,
    change: Callable[[Path], object],
):
    folder = make_study("glyphs", base_to_new=base_to_new)
    change(folder)
    board = board_of(folder)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render_leaderboard(board))
    printed = console.export_text()
    assert max(map(len, printed.splitlines())) <= 100
    as_kept(f"leaderboard-{name}", printed + rounded(leaderboard_csv(board)))


def test_markdown_is_what_was_kept(base_to_new_study: Path, as_kept: AsKept):
    board = board_of(add_answer(base_to_new_study))
    as_kept("leaderboard-in-markdown", leaderboard_markdown(board))


def test_of_many_failures_the_last_are_told(few_shot_study: Path):
    board = board_of(few_shot_study)
    many = leaderboard_markdown(replace(board, failures=[*board.failures] * 10))
    assert many.count("NonFiniteLossError") == 10
    assert "and 20 before" in many


def test_csv_keeps_fractions_in_full_and_cells_show_their_parts(few_shot_study: Path):
    board = board_of(few_shot_study)
    first = next(csv.DictReader(io.StringIO(leaderboard_csv(board))))
    assert float(first["test_mean"]) == board.entries[0].test.mean < 1
    assert all(
        "over test images alone" in str(getattr(row[1], "hover", ""))
        for row in main_table(board).rows
    )


def test_without_trials_of_its_own_tuned_clipfit_has_its_name_alone(few_shot_study: Path):
    for path in few_shot_study.glob("trials/search-*/config.json"):
        path.write_text(path.read_text().replace('"arm": "clipfit-tuned"', '"arm": "search"'))
    assert "tuned CLIPFit" in [row[0] for row in main_table(board_of(few_shot_study)).rows]


def test_a_column_shows_the_score_with_each_head_where_there_are_several(few_shot_study: Path):
    report_also(few_shot_study, test_score_text=0.75)
    assert "text head" not in main_table(board_of(few_shot_study)).header
    report_also(few_shot_study, test_score_linear=0.25)
    table = main_table(board_of(few_shot_study))
    start = table.header.index("text head")
    assert table.header[start + 1] == "linear head"
    assert {tuple(row[start : start + 2]) for row in table.rows} == {("75.0", "25.0")}
