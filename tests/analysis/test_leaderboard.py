"""The leaderboard reads well and claims no more than its intervals allow."""

import csv
import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from rich.console import Console

from study.analysis.formatting import (
    interval,
    percent,
    points,
    probability,
    validation_findings,
    verdict,
)
from study.analysis.leaderboard import leaderboard, main, render, target_table, to_csv, to_markdown
from study.analysis.statistics import estimate
from study.analysis.tables import markdown_table


def printed(folder: Path) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render(leaderboard(folder)))
    return console.export_text()


def test_it_fits_a_hundred_columns_without_breaking_a_number(
    few_shot_study: Path, base_to_new_study: Path
) -> None:
    for folder in (few_shot_study, base_to_new_study):
        text = printed(folder)
        entry = leaderboard(folder).entry("clipfit-tuned")
        assert max(map(len, text.splitlines())) <= 100
        assert entry is not None
        for cell in ("clipfit-tuned", interval(entry.test), interval(entry.base)):
            assert cell in text


def test_failures_are_told_with_their_causes(few_shot_study: Path) -> None:
    failed = leaderboard(few_shot_study).failures
    assert len(failed) == 3
    for text in (printed(few_shot_study), to_markdown(leaderboard(few_shot_study))):
        for failure in failed:
            (line,) = [line for line in text.splitlines() if failure.trial_id in line]
            assert failure.cause in unescape(line.replace("\\", ""))
            assert "NonFiniteLossError" in failure.cause


def test_of_many_failures_the_last_are_told(few_shot_study: Path) -> None:
    board = leaderboard(few_shot_study)
    many = replace(board, failures=board.failures * 10)
    assert to_markdown(many).count("NonFiniteLossError") == 10
    assert "and 20 before" in to_markdown(many)


def test_a_clear_gain_is_called_more_than_noise(make_study: Callable[..., Path]) -> None:
    text = " ".join(verdict(leaderboard(make_study(edge=0.05))))
    assert "Against tuned CLIPFit: +" in text
    assert "above, by more than noise" in text
    assert "within noise" not in text


def test_a_small_difference_is_called_within_noise(make_study: Callable[..., Path]) -> None:
    board = leaderboard(make_study(edge=0.0))
    assert board.winner is not None
    assert board.winner.versus_tuned is not None
    assert board.winner.versus_tuned.paired.within_noise
    against_tuned = next(s for s in verdict(board) if "tuned CLIPFit" in s)
    assert against_tuned.endswith("within noise.")


def test_a_winner_below_a_baseline_is_said_to_be(make_study: Callable[..., Path]) -> None:
    text = " ".join(verdict(leaderboard(make_study(edge=-0.03))))
    assert "The winner’s mean is below the baseline “clipfit-tuned”: beyond noise" in text
    assert "below the baseline “bitfit”, −" in text
    assert "selecting on test" in text


def test_without_a_confirm_stage_nothing_is_claimed(few_shot_study: Path) -> None:
    for path in sorted((few_shot_study / "trials").glob("confirm-*/*")):
        path.unlink()
    assert "Nothing is confirmed" in " ".join(verdict(leaderboard(few_shot_study)))
    assert "Search budgets" in printed(few_shot_study)


def test_the_ranking_by_validation_is_reported(base_to_new_study: Path) -> None:
    text = " ".join(validation_findings(leaderboard(base_to_new_study)))
    assert "over 7 candidates: Spearman’s rho +0." in text
    assert "base validation alone would have picked “best”" in text


def test_markdown_escapes_what_would_break_a_table(few_shot_study: Path) -> None:
    text = to_markdown(leaderboard(few_shot_study))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows
    assert "\\[" in text


def test_a_cell_of_many_lines_is_one_row_of_markdown() -> None:
    text = markdown_table(["cause"], [["p < 0.001\nof a|b"]])
    assert text == "| cause |\n| --- |\n| p &lt; 0.001 of a\\|b |"


def test_chance_stands_beside_zero_shot_in_every_form(
    make_study: Callable[..., Path],
) -> None:
    folder = make_study(images=(62, 20, 18))
    board = leaderboard(folder)
    told = "Always naming the largest class would score 62.0 % (chance); zero-shot scores 60.0"
    for text in (printed(folder), to_markdown(board)):
        assert told in " ".join(text.split())
        assert "best ★" in text
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert {row["chance"] for row in rows} == {"0.62"}
    assert [row["label"] for row in rows if row["winner"] == "True"] == ["best"]


def test_at_chance_no_form_names_a_winner(guessing_study: Path) -> None:
    board = leaderboard(guessing_study)
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


def test_a_choice_at_chance_does_not_hide_that_others_are_above_it(
    make_study: Callable[..., Path],
) -> None:
    text = " ".join(verdict(leaderboard(make_study(edge=-0.3, images=(50, 25, 25)))))
    assert "The choice does not beat chance (39.9 % against 50.0 %), so there is no winner." in text
    assert "but validation did not choose it; taking it now would be selecting on test." in text
    assert "Nothing that was tested" not in text


def test_csv_keeps_fractions_in_full(few_shot_study: Path) -> None:
    board = leaderboard(few_shot_study)
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert [row["label"] for row in rows] == [entry.label for entry in board.entries]
    assert float(rows[0]["test_mean"]) == board.entries[0].test.mean < 1
    assert rows[0]["base_mean"] == ""


def test_the_command_prints_the_winner(
    few_shot_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(few_shot_study), "--format", "markdown"]) == 0
    assert "best ★" in capsys.readouterr().out


def test_the_command_names_a_folder_that_is_no_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123, "+1.2"), (-0.0123, "−1.2"), (-0.0001, "0.0"), (0.0, "0.0")]
)
def test_points_are_signed_percentage_points(value: float, text: str) -> None:
    assert points(value) == text


def test_numbers_are_worded_with_their_doubt() -> None:
    assert interval(estimate([0.5, 0.52, 0.54])) == "52.0 ± 5.0"
    assert interval(estimate([0.5])) == "50.0 (1 seed)"
    assert (probability(0.0004), probability(0.0412), probability(None)) == ("<0.001", "0.041", "–")


def test_a_baseline_that_was_not_tested_is_said_to_be_missing(few_shot_study: Path) -> None:
    for path in (few_shot_study / "trials").glob("confirm-clipfit-seed*/reports.jsonl"):
        path.unlink()
    text = " ".join(verdict(leaderboard(few_shot_study)))
    assert "CLIPFit as published has no test score" in text
    assert "Against tuned CLIPFit" in text


def test_every_further_dataset_is_a_row_of_a_table_and_columns_of_the_csv(
    few_shot_study: Path,
) -> None:
    for path in few_shot_study.glob("trials/confirm-*/reports.jsonl"):
        text = path.read_text().replace('"test_accuracy"', '"test_source"')
        path.write_text(text.rstrip().removesuffix("}") + ', "test_dtd": 0.25}\n')
    board = leaderboard(few_shot_study)
    assert board.targets == ("source", "dtd")
    header, cells = target_table(board)
    assert len(header) == 1 + len(board.entries)
    assert [row[0] for row in cells] == ["source", "dtd"]
    assert cells[1][1] == "25.0 ± 0.0"
    assert "Accuracy by dataset" in to_markdown(board)
    row = next(csv.DictReader(io.StringIO(to_csv(board))))
    assert row["dtd_mean"] == "0.25"


def test_configurations_tested_as_given_have_no_winner(few_shot_study: Path) -> None:
    for path in few_shot_study.glob("trials/search-*"):
        shutil.rmtree(path)
    board = leaderboard(few_shot_study)
    assert not board.searched
    sentence, chance = verdict(replace(board, entries=board.entries[:2]))
    assert sentence.startswith("Nothing was searched; configurations tested as given, accuracy: “")
    assert board.entries[1].name in sentence
    assert chance.startswith("Always naming the largest class would score 8.3 % (chance)")
    assert validation_findings(board) == (
        "There was no choice to make, so validation images were not looked at.",
    )
