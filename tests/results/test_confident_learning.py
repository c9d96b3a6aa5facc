"""Labels that confident learning doubts: known answers, and what holds for any probabilities."""

import numpy as np
import pytest

from study.results.confident_learning import Floats, Labels, doubt_labels


def sampled(seed: int, *, flipped: int = 0) -> tuple[Floats, Labels]:
    """Return fairly sure probabilities of 60 images, whose first labels are of the next class."""
    rng = np.random.default_rng(seed)
    true = rng.permutation(np.arange(60) % 4)
    probabilities = rng.dirichlet([0.3] * 4, 60) * 0.4
    probabilities[np.arange(60), true] += 0.6
    given = true.copy()
    given[:flipped] = (true[:flipped] + 1) % 4
    return probabilities, given


def test_what_counts_off_the_diagonal_is_doubted() -> None:
    """Thresholds are 0.6 = (0.9 + 0.8 + 0.1) / 3, and 0.5 = (0.6 + 0.9 + 0) / 3.

    The third image counts for the second class, and the last, which is below both, for none. So one
    label is doubted: that of the lowest probability.
    """
    first = np.array([0.9, 0.8, 0.1, 0.4, 0.1, 0.55])
    probabilities = np.array([first, [0.1, 0.2, 0.9, 0.6, 0.9, 0.0], np.zeros(6)]).T
    doubts = doubt_labels(probabilities, np.array([0, 0, 0, 1, 1, 1]))
    assert doubts.order.tolist() == [5, 2, 3, 1, 0, 4]
    assert doubts.suggested.tolist() == [0, 0, 1, 1, 1, 0]
    assert doubts.doubted.tolist() == [5]
    third = probabilities[:, [2, 0, 1]]  # a class without images is no answer
    assert doubt_labels(third, np.array([1, 1, 1, 2, 2, 2])).doubted.tolist() == [5]


@pytest.mark.parametrize("seed", range(5))
def test_flipped_labels_of_sure_models_come_first_and_right_ones_are_not_doubted(
    seed: int,
) -> None:
    assert doubt_labels(*sampled(seed)).doubted.size == 0
    probabilities, given = sampled(seed, flipped=8)
    doubts = doubt_labels(probabilities, given)
    assert sorted(doubts.order[:8]) == [*range(8)]
    assert 0 < len(doubts.doubted) <= 8
    assert (doubts.suggested[:8] == (given[:8] - 1) % 4).all()


def test_the_order_of_images_and_classes_does_not_matter() -> None:
    probabilities, given = sampled(7, flipped=8)
    images, classes = np.random.default_rng(7).permutation(60), np.array([2, 0, 3, 1])
    moved = doubt_labels(probabilities[images][:, classes], np.argsort(classes)[given[images]])
    doubts = doubt_labels(probabilities, given)
    assert images[moved.doubted].tolist() == doubts.doubted.tolist()
    assert (classes[moved.suggested] == doubts.suggested[images]).all()


def test_models_that_tell_nothing_doubt_nothing() -> None:
    assert doubt_labels(np.full((7, 3), 1 / 3), np.arange(7) % 3).doubted.size == 0
