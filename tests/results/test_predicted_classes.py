"""What candidates take images for is counted class by class, and image by image."""

from pathlib import Path

import pytest

from study.results.predicted_classes import class_accuracies, confusions, mean_f1
from tests.changed_studies import board_of


def test_accuracies_and_confusions_of_classes_follow_from_predictions(predicted: Path):
    board = board_of(predicted)
    worst, other = class_accuracies(board)
    assert (worst.true, worst.before, worst.after) == ("a", 0.5, 8 / 12)
    assert worst.gain == pytest.approx(8 / 12 - 0.5)
    assert (other.true, other.before, other.after) == ("b", 0.5, 11 / 12)
    assert [(s.true, s.predicted, s.before, s.after) for s in confusions(board)] == [
        ("a", "b", 0.5, 4 / 12),
        ("b", "a", 0.5, 1 / 12),
    ]
    assert board.chance == 0.5
    # Of 24 answers, 8 are right for a and 11 for b; 9 say a, and 15 say b.
    assert mean_f1(board) == pytest.approx((2 * 8 / (12 + 9) + 2 * 11 / (12 + 15)) / 2)
    assert [pair.count for pair in confusions(board)] == [4, 1]


def test_without_kept_zero_shot_predictions_nothing_is_said_of_before(predicted: Path):
    (predicted / "trials/test-zero-shot-seed1/predictions.parquet").unlink()
    board = board_of(predicted)
    entries = [*class_accuracies(board), *confusions(board)]
    assert {entry.before for entry in entries} == {None}


def test_without_a_winner_there_is_nothing_to_show(few_shot_study: Path):
    for path in few_shot_study.glob("trials/test-best-*/reports.jsonl"):
        path.unlink()
    board = board_of(few_shot_study)
    assert class_accuracies(board) == confusions(board) == []
    assert mean_f1(board) is None
