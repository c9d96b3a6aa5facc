"""A leaderboard says the same on the terminal, as Markdown and as CSV."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

from rich.console import Console

from study.analysis.formatting import difference, score_cell
from study.analysis.leaderboard import leaderboard
from study.analysis.leaderboard_output import (
    configuration_table,
    footnote,
    main_table,
    render,
    target_table,
    to_csv,
    to_markdown,
)
from study.analysis.results import read_results
from study.analysis.verdict import verdict
from tests.analysis.conftest import add_answer, keep_predictions


def printed(folder: Path) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render(leaderboard(read_results(folder))))
    return console.export_text()


def test_it_fits_a_hundred_columns_without_breaking_a_number(
    few_shot_study: Path, base_to_new_study: Path
) -> None:
    for folder in (keep_predictions(add_answer(few_shot_study)), add_answer(base_to_new_study)):
        text = printed(folder)
        board = leaderboard(read_results(folder))
        entry = board.entry("clipfit-tuned")
        assert max(map(len, text.splitlines())) <= 100
        assert entry is not None
        versus = difference(board.difference(entry, board.entry("clipfit")))
        for cell in ("clipfit-tuned", score_cell(entry.test), score_cell(entry.parts.get("base"))):
            assert cell in text
        assert versus in text


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
    told = "would have a balanced score of 33.3 % (chance); that of zero-shot is "
    for text in (printed(folder), to_markdown(board)):
        assert told in " ".join(text.split())
        assert "best by validation ★" in text
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert {float(row["chance"]) for row in rows} == {round(1 / 3, 12)}
    assert [row["label"] for row in rows if row["winner"] == "True"] == ["best"]


def test_at_chance_no_form_names_a_winner(guessing_study: Path) -> None:
    board = leaderboard(read_results(guessing_study))
    for text in (printed(guessing_study), to_markdown(board)):
        words = " ".join(text.split())
        assert (
            "The choice does not beat chance (balanced 33.3 % against 33.3 %), so there is no "
            "winner. Nothing that was tested beats chance."
        ) in words.replace("\\", "")
        assert "★" not in words
        assert words.count("winner") == 1
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert {row["winner"] for row in rows} == {"False"}
    assert {float(row["chance"]) for row in rows} == {round(1 / 3, 12)}


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
    assert table.rows[1][1] == "25.0 (no interval)"
    assert "Accuracy by dataset" in to_markdown(board)
    row = next(csv.DictReader(io.StringIO(to_csv(board))))
    assert row["dtd_mean"] == "0.25"


def test_without_a_confirm_stage_nothing_is_claimed(few_shot_study: Path) -> None:
    for path in sorted((few_shot_study / "trials").glob("confirm-*/*")):
        path.unlink()
    assert "Nothing is confirmed" in " ".join(verdict(leaderboard(read_results(few_shot_study))))
    assert "What the search spent" in printed(few_shot_study)


def test_scores_have_an_interval_over_test_images_where_predictions_were_kept(
    few_shot_study: Path,
) -> None:
    before = leaderboard(read_results(few_shot_study))
    assert all(entry.test.images is None for entry in before.entries)
    assert "leave out other test images" in main_table(before).note
    board = leaderboard(read_results(keep_predictions(few_shot_study)))
    table = main_table(board)
    assert [row[1] for row in table.texts] == [score_cell(entry.test) for entry in board.entries]
    assert "leave out other test images" not in table.note
    assert all("over test images alone" in row[1] for row in table.hovers)
    row = next(csv.DictReader(io.StringIO(to_csv(board))))
    test = board.entries[0].test
    assert test.images is not None
    assert test.seeds is not None
    for part, own in (("", test), ("seeds_", test.seeds), ("images_", test.images)):
        assert float(row[f"test_{part}low"]) == own.low
        assert float(row[f"test_{part}high"]) == own.high
    assert test.low is not None
    assert test.low < test.images.low < test.mean


def test_only_the_winner_has_p_values_and_only_of_the_fixed_comparisons(
    few_shot_study: Path,
) -> None:
    board = leaderboard(read_results(add_answer(few_shot_study)))
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    (winner,) = (row for row in rows if row["winner"] == "True")
    for name, label in (("tuned", "clipfit-tuned"), ("peer", "linear")):
        found = board.fixed[label]
        assert float(winner[f"versus_{name}_p"]) == found.paired.p
        assert float(winner[f"versus_{name}_holm_p"]) == found.holm_p
        assert {row[f"versus_{name}_holm_p"] for row in rows if row is not winner} == {""}
    assert {row["peer"] for row in rows} == {"linear"}
    assert not [name for name in winner if name.startswith("versus_published") and "p" in name[17:]]
    assert "p" not in main_table(board).header


def test_the_ladder_is_in_every_form(few_shot_study: Path) -> None:
    board = leaderboard(read_results(add_answer(few_shot_study)))
    for text in (printed(few_shot_study), to_markdown(board)):
        assert "From CLIPFit as published to the winner" in text
        assert "same configuration" in text


def test_the_row_of_tuned_clipfit_says_how_many_of_its_trials_finished(
    few_shot_study: Path,
) -> None:
    results = read_results(few_shot_study)
    ends = [t.status for t in results.stage("search") if t.arm == "clipfit-tuned"]
    assert 0 < ends.count("finished") < len(ends)
    names = [str(row[0]) for row in main_table(leaderboard(results)).rows]
    told = f"({ends.count('finished')} of its {len(ends)} trials finished)"
    assert [name for name in names if told in name] == [f"tuned CLIPFit {told}"]
    assert not [name for name in names if "finished" in name and told not in name]


def test_without_a_search_of_its_own_nothing_is_said_of_trials(few_shot_study: Path) -> None:
    for path in few_shot_study.glob("trials/search-*/config.json"):
        path.write_text(path.read_text().replace('"arm": "clipfit-tuned"', '"arm": "search"'))
    names = [row[0] for row in main_table(leaderboard(read_results(few_shot_study))).rows]
    assert "tuned CLIPFit" in names


def test_rows_have_names_and_the_configurations_their_labels(few_shot_study: Path) -> None:
    board = leaderboard(read_results(add_answer(few_shot_study)))
    names = {row[0] for row in main_table(board).rows}
    assert {"linear on frozen CLIP", "winner without its head", "zero-shot CLIP"} <= names
    labels = {row[0]: row[1] for row in configuration_table(board).rows}
    assert labels["linear"] == "linear on frozen CLIP"
    assert labels["best-plain = best-text"] == "winner without its head"
    assert {row["label"] for row in csv.DictReader(io.StringIO(to_csv(board)))} >= {"linear"}


def test_scores_of_competing_names_stand_beside_the_protocols_own(
    base_to_new_study: Path, few_shot_study: Path
) -> None:
    for path in base_to_new_study.glob("trials/confirm-*/reports.jsonl"):
        *lines, last = path.read_text().splitlines()
        last = json.dumps(json.loads(last) | {"test_generalized": 0.5, "test_ausuc": 0.25})
        path.write_text("".join(line + "\n" for line in (*lines, last)))
    assert "AUSUC" not in footnote(leaderboard(read_results(few_shot_study)))
    board = leaderboard(read_results(base_to_new_study))
    table = main_table(board)
    assert "Where all names compete, H is the harmonic mean" in table.note
    assert [table.header[5:7], table.rows[0][5:7]] == [
        ["H %", "AUSUC %"],
        ["50.0 (no interval)", "25.0 (no interval)"],
    ]
    row = next(csv.DictReader(io.StringIO(to_csv(board))))
    assert (row["generalized_mean"], row["ausuc_mean"]) == ("0.5", "0.25")
    assert max(map(len, printed(base_to_new_study).splitlines())) <= 100
