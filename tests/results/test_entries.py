"""A candidate has its scores on test, and whether they beat chance."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.changed_studies import board_of, forget_images
from tests.not_none import not_none


def test_a_winner_below_the_share_of_the_largest_class_is_one(
    make_study: Callable[..., Path],
) -> None:
    winner = not_none(board_of(make_study("unequal", images=(900, 100))).winner)
    assert winner.label == "best"
    assert winner.test.mean < 0.9


@pytest.mark.parametrize(
    ("images", "shown"),
    [
        ((300, 300), True),
        ((4, 4), False),
        ((300, 300, 1), False),  # the recall of one image has no spread that could be estimated
    ],
)
def test_a_winner_is_known_to_beat_chance_where_all_its_interval_is_above_it(
    make_study: Callable[..., Path], images: tuple[int, ...], shown: bool
) -> None:
    known = not_none(not_none(board_of(make_study(images=images)).winner).against_chance)
    assert (known.above, known.is_proven, known.images) == (
        True,
        shown,
        sum(images),
    )
    assert (known.low is None) == (1 in images)


def test_without_predictions_chance_is_not_known_nor_whether_it_is_beaten(
    few_shot_study: Path,
) -> None:
    board = board_of(forget_images(few_shot_study))
    assert board.chance is None
    assert board.winner is board.find_entry("best")
    assert not_none(board.winner).against_chance is None
