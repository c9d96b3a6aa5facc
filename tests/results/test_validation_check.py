"""The ranking by validation is compared with the one on test."""

from pathlib import Path

from study.results.study_results import read_results
from study.results.validation_check import find_highest
from tests.changed_studies import board_of


def test_a_pick_of_base_validation_that_was_not_tested_is_named_as_such(
    base_to_new_study: Path,
):
    trials = read_results(base_to_new_study).trials
    finished = [t for t in trials if t.group == "search" and t.status == "finished"]
    worst = min(finished, key=lambda trial: trial.val_score or 0.0).trial_id
    path = base_to_new_study / f"trials/{worst}/reports.jsonl"
    path.write_text('{"epoch": 1, "val_score": 0.1, "val_base": 0.99, "val_new": 0.05}\n')
    assert board_of(base_to_new_study).validation_check.base_pick_trial == worst


def test_of_equal_scores_the_first_is_the_highest_and_missing_ones_are_passed_over():
    assert find_highest({"a": None, "b": 0.5, "c": 0.5}) == ("b", 0.5)
    assert find_highest({"a": None})[0] is None
