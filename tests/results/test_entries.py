"""A candidate has its scores on test, and whether they beat chance."""

from collections.abc import Callable
from pathlib import Path

from tests.changed_studies import board_of
from tests.not_none import not_none


def test_a_winner_below_the_share_of_the_largest_class_is_one(
    make_study: Callable[..., Path],
):
    winner = not_none(board_of(make_study("unequal", images=(900, 100))).best)
    assert winner.label == "best"
    assert winner.test.mean < 0.9
