"""Trials are read as their files stand, repeated epochs included."""

import json
from pathlib import Path

import pytest

from study.results.study_result import read_study_result
from tests.changed_studies import board_of
from tests.fake_studies import add_candidate
from tests.not_none import not_none


def test_a_training_that_two_candidates_use_with_a_head_each_has_a_score_for_both(
    few_shot_study: Path,
):
    for path in few_shot_study.glob("trials/test-zero-shot-*/reports.jsonl"):
        *lines, last = path.read_text().splitlines()
        report = json.loads(last)
        report["scores"]["linear"] = {"accuracy": 0.65, "score": 0.65}
        path.write_text("".join(f"{line}\n" for line in (*lines, json.dumps(report))))
    add_candidate(few_shot_study, "linear", training="zero-shot", val_score=0.5, head="linear")
    board = board_of(few_shot_study)
    linear, text = not_none(board.find_row("linear")), not_none(board.find_row("zero-shot"))
    assert (linear.labels, text.labels) == (["linear"], ["zero-shot"])
    assert (linear.test.mean, text.test.mean) == pytest.approx((0.65, 0.6))
    assert not_none(board.difference(linear, text)).mean == pytest.approx(0.05)


def test_a_trial_without_a_configuration_is_left_out(few_shot_study: Path):
    (few_shot_study / "trials/begun").mkdir()
    assert "begun" not in {
        trial.trial_id for trial in read_study_result(few_shot_study).trial_results
    }


def test_of_an_epoch_done_again_after_a_crash_the_later_report_holds(
    few_shot_study: Path,
):
    path = few_shot_study / "trials/search-0005/reports.jsonl"
    path.write_text(
        '{"epoch": 1, "val_score": 0.1, "seconds": 2.0, "ended_at": 12.0}\n'
        '{"epoch": 1, "val_score": 0.2, "seconds": 3.0, "ended_at": 23.0}\n'
    )
    (trial,) = [
        t for t in read_study_result(few_shot_study).trial_results if t.trial_id == "search-0005"
    ]
    assert trial.val_score == 0.2
