"""The leaderboard reads well and claims no more than its intervals allow."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

from rich.console import Console

from study.analysis.comparison import leaderboard
from study.analysis.formatting import interval, percent, verdict
from study.analysis.leaderboard import render, target_table, to_csv, to_markdown
from study.analysis.results import read_results


def printed(folder: Path) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render(leaderboard(read_results(folder))))
    return console.export_text()


def test_it_fits_a_hundred_columns_without_breaking_a_number(
    few_shot_study: Path, base_to_new_study: Path
) -> None:
    for folder in (few_shot_study, base_to_new_study):
        text = printed(folder)
        entry = leaderboard(read_results(folder)).entry("clipfit-tuned")
        assert max(map(len, text.splitlines())) <= 100
        assert entry is not None
        for cell in ("clipfit-tuned", interval(entry.test), interval(entry.parts.get("base"))):
            assert cell in text


def test_failures_are_told_with_their_causes(few_shot_study: Path) -> None:
    failed = leaderboard(read_results(few_shot_study)).failures
    assert len(failed) == 3
    for text in (printed(few_shot_study), to_markdown(leaderboard(read_results(few_shot_study)))):
        for failure in failed:
            (line,) = [line for line in text.splitlines() if failure.trial_id in line]
            assert failure.reason is not None
            assert failure.reason in unescape(line.replace("\\", ""))
            assert "NonFiniteLossError" in failure.reason


def test_of_many_failures_the_last_are_told(few_shot_study: Path) -> None:
    board = leaderboard(read_results(few_shot_study))
    many = replace(board, failures=board.failures * 10)
    assert to_markdown(many).count("NonFiniteLossError") == 10
    assert "and 20 before" in to_markdown(many)


def test_without_a_confirm_stage_nothing_is_claimed(few_shot_study: Path) -> None:
    for path in sorted((few_shot_study / "trials").glob("confirm-*/*")):
        path.unlink()
    assert "Nothing is confirmed" in " ".join(verdict(leaderboard(read_results(few_shot_study))))
    assert "Search budgets" in printed(few_shot_study)


def test_markdown_escapes_what_would_break_a_table(few_shot_study: Path) -> None:
    text = to_markdown(leaderboard(read_results(few_shot_study)))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows
    assert "\\[" in text


def test_chance_stands_beside_zero_shot_in_every_form(
    make_study: Callable[..., Path],
) -> None:
    folder = make_study(images=(62, 20, 18))
    board = leaderboard(read_results(folder))
    told = "Always naming the largest class would score 62.0 % (chance); zero-shot scores 60.0"
    for text in (printed(folder), to_markdown(board)):
        assert told in " ".join(text.split())
        assert "best ★" in text
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert {row["chance"] for row in rows} == {"0.62"}
    assert [row["label"] for row in rows if row["winner"] == "True"] == ["best"]


def test_at_chance_no_form_names_a_winner(guessing_study: Path) -> None:
    board = leaderboard(read_results(guessing_study))
    best = board.entry("best")
    assert best is not None
    mean = percent(best.test.mean)
    for text in (printed(guessing_study), to_markdown(board)):
        words = " ".join(text.split())
        assert (
            f"The choice does not beat chance ({mean} % against 80.0 %), so there is no winner. "
            "Nothing that was tested beats chance."
        ) in words.replace("\\", "")
        assert "★" not in words
        assert words.count("winner") == 1
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert {row["winner"] for row in rows} == {"False"}
    assert {row["chance"] for row in rows} == {"0.8"}


def test_csv_keeps_fractions_in_full(few_shot_study: Path) -> None:
    board = leaderboard(read_results(few_shot_study))
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert [row["label"] for row in rows] == [entry.label for entry in board.entries]
    assert float(rows[0]["test_mean"]) == board.entries[0].test.mean < 1
    assert rows[0]["base_mean"] == ""


def test_every_further_dataset_is_a_row_of_a_table_and_columns_of_the_csv(
    few_shot_study: Path,
) -> None:
    for path in few_shot_study.glob("trials/confirm-*/reports.jsonl"):
        text = path.read_text().replace('"test_accuracy"', '"test_source"')
        path.write_text(text.rstrip().removesuffix("}") + ', "test_dtd": 0.25}\n')
    board = leaderboard(read_results(few_shot_study))
    assert board.targets == ("source", "dtd")
    table = target_table(board)
    assert len(table.header) == 1 + len(board.entries)
    assert [row[0] for row in table.rows] == ["source", "dtd"]
    assert table.rows[1][1] == "25.0 ± 0.0"
    assert "Accuracy by dataset" in to_markdown(board)
    row = next(csv.DictReader(io.StringIO(to_csv(board))))
    assert row["dtd_mean"] == "0.25"
