"""A row of the leaderboard has its scores on test, with each head, and whether they beat chance."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.changed_studies import board_of
from tests.not_none import not_none


def test_the_best_may_be_below_the_share_of_the_largest_class(make_study: Callable[..., Path]):
    best = not_none(board_of(make_study("unequal", images=(900, 100))).best)
    assert best.label == "best"
    assert best.test.mean < 0.9


def test_each_head_has_an_interval_over_seeds_and_images(few_shot_study: Path):
    for path in few_shot_study.glob("trials/test-*/reports.jsonl"):
        *lines, last = path.read_text().splitlines()
        report = json.loads(last)
        score = report["test_score"]
        report |= {"test_score_text": score, "test_score_linear": score - 0.1}
        path.write_text("\n".join([*lines, json.dumps(report)]) + "\n")
    for row in board_of(few_shot_study).rows:
        assert row.means["score_text"] == row.test
        linear = row.means["score_linear"]
        assert linear.mean == pytest.approx(row.test.mean - 0.1)
        # The fake trials predict the same with both heads.
        images, known = not_none(linear.images), not_none(row.test.images)
        assert images.high - images.low == pytest.approx(known.high - known.low)
