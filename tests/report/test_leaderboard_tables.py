"""A leaderboard says the same on the terminal, as Markdown and as CSV."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

from rich.console import Console

from study.report.formatting import format_difference, score_cell
from study.report.leaderboard_tables import (
    configuration_table,
    footnote,
    leaderboard_csv,
    leaderboard_markdown,
    main_table,
    render_leaderboard,
    target_table,
)
from study.results.leaderboard import Leaderboard
from study.results.study_results import read_results
from tests.changed_studies import board_of, forget_images
from tests.fake_studies import add_answer
from tests.not_none import not_none


def printed(folder: Path) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render_leaderboard(board_of(folder)))
    return console.export_text()


def csv_rows(board: Leaderboard) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(leaderboard_csv(board))))


def test_it_fits_a_hundred_columns_without_breaking_a_number(
    few_shot_study: Path, base_to_new_study: Path
) -> None:
    for folder in (add_answer(few_shot_study), add_answer(base_to_new_study)):
        text = printed(folder)
        board = board_of(folder)
        entry = not_none(board.find_entry("clipfit-tuned"))
        assert max(map(len, text.splitlines())) <= 100
        versus = format_difference(board.difference(entry, board.find_entry("clipfit")))
        for cell in (
            score_cell(entry.test),
            score_cell(entry.parts.get("base")),
            versus,
        ):
            assert cell in text


def test_it_says_how_many_comparisons_are_tested(few_shot_study: Path) -> None:
    board = board_of(few_shot_study)
    comparison = board.planned_comparisons["clipfit-tuned"]
    for labels, said in (
        ((), "All differences are descriptive."),
        (("clipfit-tuned",), "One comparison is tested"),
        (("clipfit-tuned", "best-peer"), "Two comparisons are tested"),
    ):
        other = replace(board)
        vars(other)["planned_comparisons"] = dict.fromkeys(labels, comparison)
        assert said in footnote(other)


def test_failures_are_told_with_their_causes(few_shot_study: Path) -> None:
    board = board_of(few_shot_study)
    assert len(board.failures) == 3
    for text in (printed(few_shot_study), leaderboard_markdown(board)):
        for failure in board.failures:
            (line,) = [line for line in text.splitlines() if failure.trial_id in line]
            assert not_none(failure.reason) in unescape(line.replace("\\", ""))


def test_of_many_failures_the_last_are_told(few_shot_study: Path) -> None:
    board = board_of(few_shot_study)
    many = replace(board, failures=board.failures * 10)
    assert leaderboard_markdown(many).count("NonFiniteLossError") == 10
    assert "and 20 before" in leaderboard_markdown(many)


def test_chance_stands_beside_zero_shot_in_every_form(make_study: Callable[..., Path]) -> None:
    folder = make_study(images=(62, 20, 18))
    board = board_of(folder)
    for text in (printed(folder), leaderboard_markdown(board)):
        assert "33.3 % (chance)" in " ".join(text.split())
        assert "best by validation ★" in text
    rows = csv_rows(board)
    assert {float(row["chance"]) for row in rows} == {round(1 / 3, 12)}
    assert [row["label"] for row in rows if row["winner"] == "True"] == ["best"]


def test_at_chance_no_form_names_a_winner(guessing_study: Path) -> None:
    board = board_of(guessing_study)
    for text in (printed(guessing_study), leaderboard_markdown(board)):
        assert "Nothing that was tested beats chance." in " ".join(text.split())
        assert "★" not in text
        assert text.count("winner") == 1
    assert {row["winner"] for row in csv_rows(board)} == {"False"}


def test_csv_keeps_fractions_in_full(few_shot_study: Path) -> None:
    board = board_of(few_shot_study)
    rows = csv_rows(board)
    assert [row["label"] for row in rows] == [entry.label for entry in board.entries]
    assert float(rows[0]["test_mean"]) == board.entries[0].test.mean < 1
    assert rows[0]["base_mean"] == ""


def test_every_further_dataset_is_a_row_of_a_table_and_columns_of_the_csv(
    few_shot_study: Path,
) -> None:
    for path in few_shot_study.glob("trials/confirm-*/reports.jsonl"):
        text = path.read_text().replace('"test_accuracy"', '"test_source"')
        path.write_text(text.rstrip().removesuffix("}") + ', "test_dtd": 0.25}\n')
    board = board_of(few_shot_study)
    assert board.scored_datasets == ("source", "dtd")
    table = target_table(board)
    assert len(table.header) == 1 + len(board.entries)
    assert [row[0] for row in table.rows] == ["source", "dtd"]
    assert table.rows[1][1] == "25.0 (no interval)"
    assert table.title in leaderboard_markdown(board)
    assert csv_rows(board)[0]["dtd_mean"] == "0.25"


def test_scores_have_an_interval_over_test_images_where_predictions_were_kept(
    few_shot_study: Path,
) -> None:
    board = board_of(few_shot_study)
    table = main_table(board)
    assert [row[1] for row in table.texts] == [score_cell(entry.test) for entry in board.entries]
    assert "leave out other test images" not in table.note
    assert all("over test images alone" in row[1] for row in table.hovers)
    row = csv_rows(board)[0]
    test = board.entries[0].test
    intervals: dict[str, Any] = {"": test, "seeds_": test.seeds, "images_": test.images}
    for part, own in intervals.items():
        assert float(row[f"test_{part}low"]) == own.low
        assert float(row[f"test_{part}high"]) == own.high
    unknown = board_of(forget_images(few_shot_study))
    assert "leave out other test images" in main_table(unknown).note


def test_only_the_winner_has_p_values_and_only_of_the_fixed_comparisons(
    few_shot_study: Path,
) -> None:
    board = board_of(add_answer(few_shot_study))
    rows = csv_rows(board)
    (winner,) = (row for row in rows if row["winner"] == "True")
    for name, label in (("tuned", "clipfit-tuned"), ("peer", "linear")):
        found = board.planned_comparisons[label]
        assert float(winner[f"versus_{name}_p"]) == found.paired.p_value
        assert float(winner[f"versus_{name}_holm_p"]) == found.holm_p
        assert {row[f"versus_{name}_holm_p"] for row in rows if row is not winner} == {""}
    assert {row["peer"] for row in rows} == {"linear"}
    assert "p" not in main_table(board).header


def test_the_ladder_is_in_every_form(few_shot_study: Path) -> None:
    board = board_of(add_answer(few_shot_study))
    for text in (printed(few_shot_study), leaderboard_markdown(board)):
        assert "From CLIPFit as published to the winner" in text
        assert "same configuration" in text


def test_the_row_of_tuned_clipfit_says_how_many_of_its_trials_finished(
    few_shot_study: Path,
) -> None:
    search = read_results(few_shot_study).stage("search")
    ends = [trial.status for trial in search if trial.arm == "clipfit-tuned"]
    names = [str(row[0]) for row in main_table(board_of(few_shot_study)).rows]
    told = f"({ends.count('finished')} of its {len(ends)} trials finished)"
    assert [name for name in names if "finished" in name] == [f"tuned CLIPFit {told}"]
    for path in few_shot_study.glob("trials/search-*/config.json"):
        path.write_text(path.read_text().replace('"arm": "clipfit-tuned"', '"arm": "search"'))
    assert "tuned CLIPFit" in [row[0] for row in main_table(board_of(few_shot_study)).rows]


def test_rows_have_names_and_the_configurations_their_labels(few_shot_study: Path) -> None:
    board = board_of(add_answer(few_shot_study))
    names = {row[0] for row in main_table(board).rows}
    assert {"linear on frozen CLIP", "winner without its head", "zero-shot CLIP"} <= names
    labels = {row[0]: row[1] for row in configuration_table(board).rows}
    assert labels["best-plain = best-text"] == "winner without its head"


def test_scores_of_competing_names_stand_beside_the_protocols_own(
    base_to_new_study: Path, few_shot_study: Path
) -> None:
    for path in base_to_new_study.glob("trials/confirm-*/reports.jsonl"):
        *lines, last = path.read_text().splitlines()
        last = json.dumps(json.loads(last) | {"test_generalized": 0.5, "test_ausuc": 0.25})
        path.write_text("".join(line + "\n" for line in (*lines, last)))
    assert "AUSUC" not in footnote(board_of(few_shot_study))
    board = board_of(base_to_new_study)
    table = main_table(board)
    assert "AUSUC" in table.note
    assert table.header[5:7] == ["H %", "AUSUC %"]
    assert table.rows[0][5:7] == ["50.0 (no interval)", "25.0 (no interval)"]
    row = csv_rows(board)[0]
    assert (row["generalized_mean"], row["ausuc_mean"]) == ("0.5", "0.25")
    assert max(map(len, printed(base_to_new_study).splitlines())) <= 100
