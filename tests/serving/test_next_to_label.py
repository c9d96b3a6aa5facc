"""Which images are chosen: as many of each class, the least sure, and unlike each other."""

import numpy as np
import pytest

from study.serving.next_to_label import CANDIDATES, choose_next, disagreement, k_centres, quotas
from tests.case_tables import from_table

ONE_HOT = np.eye(3)[:, None, :]
"""Three models that are sure of three answers, (models, images, classes)."""


@pytest.mark.parametrize(
    "answers, bits",
    [
        (ONE_HOT, np.log2(3)),
        (ONE_HOT[[0, 0, 1]], 0.9183),
        (ONE_HOT[[2, 2, 2]], 0),
        (ONE_HOT[:1], 0),
    ],
)
def test_disagreement_is_the_divergence_of_the_answers(answers: np.ndarray, bits: float):
    assert disagreement(answers) == pytest.approx([bits], abs=1e-4)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("count", [1, 7, 60, 1000])
def test_a_choice_is_balanced_and_unique_and_of_the_least_sure(seed: int, count: int):
    rng = np.random.default_rng(seed)
    images = int(rng.integers(1, 300))
    predicted = np.minimum(rng.integers(0, 6, images), rng.integers(0, 6, images))
    margin, features = rng.random(images), rng.normal(size=(images, 4))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    chosen = choose_next(predicted, margin, np.zeros(images), features, count)
    assert len(chosen) == len(set(chosen)) == min(count, images)
    sizes, taken = np.bincount(predicted), np.bincount(predicted[chosen])
    for label, number in enumerate(taken):
        assert number == sizes[label] or number >= taken.max() - 1
        rows = np.flatnonzero(predicted == label)
        least_sure = rows[np.argsort(margin[rows])]
        assert {*least_sure[: min(1, number)]} <= {*chosen}.intersection(rows)
        assert {*chosen}.intersection(rows) <= {*least_sure[: CANDIDATES * number]}
    # The first of each class come before the second of any.
    present = len(set(predicted))
    assert len(set(predicted[chosen[:present]])) == min(count, present)


def test_disagreement_counts_as_much_as_the_margin():
    margin, divergence = np.array([0.3, 0.2, 0.1, 0.0]), np.array([0.9, 0.0, 0.5, 0.0])
    chosen = choose_next(np.zeros(4, int), margin, divergence, np.ones((4, 1)), 4)
    assert chosen == [2, 3, 0, 1]


def test_of_equal_images_another_one_is_chosen_before_the_copy():
    features = np.array([[1, 0], [1, 0], [0.6, 0.8], [0, 1.0]])
    assert k_centres(features, 4) == [0, 3, 2, 1]
    margin = np.array([0.1, 0.2, 0.3, 0.4])
    assert choose_next(np.zeros(4, int), margin, margin * 0, features, 2) == [0, 3]


@from_table
def test_quotas_are_as_equal_as_the_classes_allow(
    sizes: list[int], count: int, expected: list[int]
):
    assert quotas(np.array(sizes), count).tolist() == expected
