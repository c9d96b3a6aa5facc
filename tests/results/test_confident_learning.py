"""Labels that confident learning doubts: known answers, and what holds for any probabilities."""

import numpy as np
import pytest

from study.results.confident_learning import doubt_labels


def test_as_many_labels_are_doubted_as_count_off_the_diagonal():
    """Thresholds are 0.6 = (0.9 + 0.8 + 0.1) / 3, and 0.5 = (0.6 + 0.9 + 0) / 3.

    The third image counts for the second class, and the last, which is below both, for none. So one
    label is doubted: that of the lowest probability.
    """
    first = [0.9, 0.8, 0.1, 0.4, 0.1, 0.55]
    second = [0.1, 0.2, 0.9, 0.6, 0.9, 0.0]
    probabilities = np.array([first, second, np.zeros(6)]).T
    doubts = doubt_labels(probabilities, np.arange(6) // 3)
    assert doubts.order.tolist() == [5, 2, 3, 1, 0, 4]
    assert doubts.suggested.tolist() == [0, 0, 1, 1, 1, 0]
    assert doubts.doubted.tolist() == [5]


@pytest.mark.parametrize("seed", range(5))
def test_flipped_labels_of_sure_models_come_first_and_right_ones_are_not_doubted(
    seed: int,
):
    rng = np.random.default_rng(seed)
    true = rng.permutation(np.arange(60) % 4)
    probabilities = rng.dirichlet([0.3] * 4, 60) * 0.4
    probabilities[np.arange(60), true] += 0.6
    assert doubt_labels(probabilities, true).doubted.size == 0
    doubts = doubt_labels(probabilities, (true + (np.arange(60) < 8)) % 4)
    assert sorted(doubts.order[:8]) == [*range(8)]
    assert 0 < len(doubts.doubted) <= 8
    assert (doubts.suggested == true).all()


def test_models_that_tell_nothing_doubt_nothing():
    assert doubt_labels(np.full((7, 3), 1 / 3), np.arange(7) % 3).doubted.size == 0
