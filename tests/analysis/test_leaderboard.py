"""Candidates are compared by seed, and what is said of them claims no more than intervals allow."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from study.analysis.formatting import interval, percent
from study.analysis.leaderboard import (
    below_baselines,
    leaderboard,
    render,
    target_table,
    to_csv,
    to_markdown,
    validation_findings,
    verdict,
)
from study.analysis.results import read_results


def scores_of(folder: Path, label: str) -> list[float | None]:
    return [trial.test_score for trial in read_results(folder).confirmed(label)]


def edit_candidates(folder: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    candidates = json.loads((folder / "candidates.json").read_text())
    change(candidates)
    (folder / "candidates.json").write_text(json.dumps(candidates))


def test_entries_are_sorted_by_their_mean_on_test(few_shot_study: Path) -> None:
    means = [entry.test.mean for entry in leaderboard(read_results(few_shot_study)).entries]
    assert len(means) == 7
    assert means == sorted(means, reverse=True)


def test_the_winner_is_the_choice_of_validation_not_the_best_on_test(
    make_study: Callable[..., Path],
) -> None:
    board = leaderboard(read_results(make_study(edge=-0.015)))
    assert board.winner is not None
    assert board.winner.label == "best"
    assert board.entries[0].label != "best"
    assert {label for label, _ in below_baselines(board)} == {"bitfit", "clipfit-tuned"}


def test_a_comparison_is_the_paired_t_test_over_seeds(few_shot_study: Path) -> None:
    entry = leaderboard(read_results(few_shot_study)).entry("best")
    best, tuned = (scores_of(few_shot_study, label) for label in ("best", "clipfit-tuned"))
    assert entry is not None
    assert entry.versus["clipfit-tuned"] is not None
    assert entry.versus["clipfit-tuned"].paired.difference.mean == pytest.approx(
        np.mean(best) - np.mean(tuned)
    )
    assert entry.versus["clipfit-tuned"].paired.p == pytest.approx(
        stats.ttest_rel(best, tuned).pvalue
    )


def test_a_baseline_is_not_compared_with_itself(few_shot_study: Path) -> None:
    board = leaderboard(read_results(few_shot_study))
    tuned, published = board.entry("clipfit-tuned"), board.entry("clipfit")
    assert tuned is not None
    assert published is not None
    assert tuned.versus["clipfit-tuned"] is None
    assert tuned.versus["clipfit"] is not None
    assert published.versus["clipfit"] is None


def test_holm_corrects_for_the_six_comparisons_with_a_baseline(few_shot_study: Path) -> None:
    board = leaderboard(read_results(few_shot_study))
    comparisons = [
        entry.versus["clipfit-tuned"] for entry in board.entries if entry.versus["clipfit-tuned"]
    ]
    least = min(comparisons, key=lambda comparison: comparison.paired.p or 1)
    assert len(comparisons) == 6
    assert least.holm_p == pytest.approx(6 * (least.paired.p or 0))


def test_a_winner_that_is_a_baseline_appears_once_under_its_own_name(
    few_shot_study: Path,
) -> None:
    def make_baseline_win(candidates: list[dict[str, Any]]) -> None:
        best = next(c for c in candidates if c["label"] == "best")
        best["same_as"] = "clipfit-tuned"

    edit_candidates(few_shot_study, make_baseline_win)
    board = leaderboard(read_results(few_shot_study))
    assert board.winner is board.entry("clipfit-tuned") is board.entry("best")
    assert len(board.entries) == 6
    assert board.winner is not None
    assert (board.winner.name, board.winner.baseline) == ("clipfit-tuned", True)
    assert "best" not in board.untested


def test_tuned_rates_that_are_the_published_ones_are_compared_once_for_both(
    few_shot_study: Path,
) -> None:
    def keep_published_rates(candidates: list[dict[str, Any]]) -> None:
        tuned = next(c for c in candidates if c["label"] == "clipfit-tuned")
        tuned["same_as"] = "clipfit"

    edit_candidates(few_shot_study, keep_published_rates)
    board = leaderboard(read_results(few_shot_study))
    clipfit, best = board.entry("clipfit-tuned"), board.entry("best")
    assert clipfit is not None
    assert best is not None
    assert clipfit.name == "clipfit = clipfit-tuned"
    assert clipfit.versus["clipfit-tuned"] is None
    assert best.versus["clipfit-tuned"] is not None
    assert best.versus["clipfit-tuned"] == best.versus["clipfit"]


def test_a_seed_that_failed_is_missing_from_means_and_pairs(few_shot_study: Path) -> None:
    trial = few_shot_study / "trials/confirm-best-seed3"
    lines = [json.loads(line) for line in (trial / "reports.jsonl").read_text().splitlines()]
    (trial / "reports.jsonl").write_text(json.dumps(lines[0]) + "\n")
    entry = leaderboard(read_results(few_shot_study)).entry("best")
    assert entry is not None
    assert (sorted(entry.scores), entry.seeds_planned) == ([1, 2, 4, 5], 5)
    assert entry.versus["clipfit-tuned"] is not None
    assert entry.versus["clipfit-tuned"].paired.seeds == (1, 2, 4, 5)


def test_what_validation_chose_is_no_winner_at_or_below_chance(guessing_study: Path) -> None:
    board = leaderboard(read_results(guessing_study))
    assert board.chance == 0.8
    assert board.winner is None
    assert board.chosen is board.entry("best")
    assert not [entry for entry in board.entries if entry.winner or entry.above_chance]


def test_chance_is_the_share_of_the_largest_class_and_no_less_than_one_over_their_number(
    make_study: Callable[..., Path], few_shot_study: Path, base_to_new_study: Path
) -> None:
    assert leaderboard(read_results(few_shot_study)).chance == pytest.approx(1 / 12)
    assert leaderboard(read_results(base_to_new_study)).chance == pytest.approx(1 / 6)
    uneven = make_study("uneven", base_to_new=True, images=(300, 100, 100))
    assert leaderboard(read_results(uneven)).chance == pytest.approx(0.6)
    board = leaderboard(read_results(make_study("between", images=(65, 20, 15))))
    zero_shot = board.entry("zero-shot")
    assert zero_shot is not None
    assert (board.chance, zero_shot.above_chance) == (0.65, False)
    assert board.winner is board.entry("best")


def test_of_a_study_without_counts_of_classes_chance_is_unknown(few_shot_study: Path) -> None:
    for path in few_shot_study.glob("trials/*/confusion.json"):
        path.unlink()
    board = leaderboard(read_results(few_shot_study))
    assert board.chance is None
    assert board.winner is board.entry("best")


def test_before_the_confirm_stage_there_is_no_winner(few_shot_study: Path) -> None:
    (few_shot_study / "candidates.json").unlink()
    for trial in (few_shot_study / "trials").glob("confirm-*"):
        for path in trial.iterdir():
            path.unlink()
        trial.rmdir()
    board = leaderboard(read_results(few_shot_study))
    assert (board.winner, board.entries) == (None, ())
    assert board.check.agreement is None


def test_base_and_new_are_kept_apart_in_their_protocol_only(
    few_shot_study: Path, base_to_new_study: Path
) -> None:
    few_shot = leaderboard(read_results(few_shot_study))
    base_to_new = leaderboard(read_results(base_to_new_study))
    assert (few_shot.parts, base_to_new.parts) == ((), ("base", "new"))
    assert (few_shot.metric, base_to_new.metric) == ("accuracy", "hmean")
    assert not any(entry.parts for entry in few_shot.entries)
    assert all(set(entry.parts) == {"base", "new"} for entry in base_to_new.entries)


def test_budgets_count_trials_by_how_they_ended(few_shot_study: Path) -> None:
    arms = {arm.arm: arm for arm in leaderboard(read_results(few_shot_study)).arms}
    search = arms["search"]
    assert (search.trials, arms["clipfit-tuned"].trials) == (24, 8)
    assert search.finished + search.stopped + search.failed + search.running == 24
    assert search.failed == 2
    assert search.stopped > 0
    assert search.epochs < 24 * 12


def test_the_pick_of_base_validation_is_named_when_it_was_tested(base_to_new_study: Path) -> None:
    check = leaderboard(read_results(base_to_new_study)).check
    assert check.base_pick == "best"
    assert check.base_pick_trial is None


def test_a_pick_of_base_validation_that_was_not_tested_is_named_as_such(
    base_to_new_study: Path,
) -> None:
    trials = read_results(base_to_new_study).trials
    finished = [t for t in trials if t.arm == "search" and t.status == "finished"]
    worst = min(finished, key=lambda trial: trial.val_score or 0.0).trial_id
    path = base_to_new_study / f"trials/{worst}/reports.jsonl"
    path.write_text('{"epoch": 1, "val_score": 0.1, "val_base": 0.99, "val_new": 0.05}\n')
    assert leaderboard(read_results(base_to_new_study)).check.base_pick_trial == worst


def test_a_clear_gain_is_called_more_than_noise(make_study: Callable[..., Path]) -> None:
    text = " ".join(verdict(leaderboard(read_results(make_study(edge=0.05)))))
    assert "Against tuned CLIPFit: +" in text
    assert "above, by more than noise" in text
    assert "within noise" not in text


def test_a_small_difference_is_called_within_noise(make_study: Callable[..., Path]) -> None:
    board = leaderboard(read_results(make_study(edge=0.0)))
    assert board.winner is not None
    assert board.winner.versus["clipfit-tuned"] is not None
    assert board.winner.versus["clipfit-tuned"].paired.within_noise
    against_tuned = next(s for s in verdict(board) if "tuned CLIPFit" in s)
    assert against_tuned.endswith("within noise.")


def test_a_winner_below_a_baseline_is_said_to_be(make_study: Callable[..., Path]) -> None:
    text = " ".join(verdict(leaderboard(read_results(make_study(edge=-0.03)))))
    assert "The winner’s mean is below the baseline “clipfit-tuned”: beyond noise" in text
    assert "below the baseline “bitfit”, −" in text
    assert "selecting on test" in text


def test_the_ranking_by_validation_is_reported(base_to_new_study: Path) -> None:
    text = " ".join(validation_findings(leaderboard(read_results(base_to_new_study))))
    assert "over 7 candidates: Spearman’s rho +0." in text
    assert "base validation alone would have picked “best”" in text


def test_a_choice_at_chance_does_not_hide_that_others_are_above_it(
    make_study: Callable[..., Path],
) -> None:
    folder = make_study(edge=-0.3, images=(50, 25, 25))
    text = " ".join(verdict(leaderboard(read_results(folder))))
    assert "The choice does not beat chance (39.9 % against 50.0 %), so there is no winner." in text
    assert "but validation did not choose it; taking it now would be selecting on test." in text
    assert "Nothing that was tested" not in text


def test_a_baseline_that_was_not_tested_is_said_to_be_missing(few_shot_study: Path) -> None:
    for path in (few_shot_study / "trials").glob("confirm-clipfit-seed*/reports.jsonl"):
        path.unlink()
    text = " ".join(verdict(leaderboard(read_results(few_shot_study))))
    assert "CLIPFit as published has no test score" in text
    assert "Against tuned CLIPFit" in text


def test_configurations_tested_as_given_have_no_winner(few_shot_study: Path) -> None:
    for path in few_shot_study.glob("trials/search-*"):
        shutil.rmtree(path)
    board = leaderboard(read_results(few_shot_study))
    assert not board.searched
    sentence, chance = verdict(replace(board, entries=board.entries[:2]))
    assert sentence.startswith("Nothing was searched; configurations tested as given, accuracy: “")
    assert board.entries[1].name in sentence
    assert chance.startswith("Always naming the largest class would score 8.3 % (chance)")
    assert validation_findings(board) == (
        "There was no choice to make, so validation images were not looked at.",
    )


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
