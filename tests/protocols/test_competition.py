"""Where all names compete: accuracies, and the area under their curve."""

import functools
import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from study.protocols.competition import (
    Competition,
    Competitors,
    accuracies,
    ausuc,
)

from .conftest import competition

KNOWN = competition(
    # Class 0 has three images and class 1 has one; the second of class 0 is right among no names.
    seen=[(2.0, True, 0), (4.0, False, 0), (-1.0, True, 0), (1.0, True, 1)],
    unseen=[(-2.0, True, 7), (1.0, True, 7), (3.0, True, 8), (-3.0, False, 8)],
)


def test_an_image_without_a_gap_is_right_nowhere():
    broken = competition(seen=[(np.nan, True, 0), (1.0, True, 0)], unseen=[(np.nan, True, 1)])
    assert accuracies([broken]) == (0.5, 0.0)


# Few values, so that gaps are equal within and between both kinds of images.
images = st.lists(
    st.tuples(st.integers(-6, 6).map(float), st.booleans(), st.integers(0, 3)),
    min_size=1,
    max_size=12,
)
folds = st.lists(st.builds(competition, images, images), min_size=1, max_size=3)


def by_hand(competitions: Sequence[Competition], calibration: float) -> tuple[float, float]:
    """Count, image by image and class by class, what a calibration gets right."""
    seen, unseen = [], []
    for one in competitions:
        among_seen = one.seen.gap - calibration > 0
        among_unseen = ~(one.unseen.gap - calibration > 0)
        seen.append(class_average(one.seen.right & among_seen, one.seen.labels))
        unseen.append(class_average(one.unseen.right & among_unseen, one.unseen.labels))
    return float(np.mean(seen)), float(np.mean(unseen))


def class_average(right: Any, labels: Any) -> float:
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


EVERY = np.arange(-7, 7.5, 0.5)
"""A calibration at each gap and between each two, from below all to above all."""


@settings(deadline=None)
@given(folds)
@example([KNOWN])
def test_accuracies_and_their_area_are_what_counting_gives(
    competitions: list[Competition],
):
    counted = [by_hand(competitions, calibration) for calibration in EVERY]
    near = functools.partial(pytest.approx, abs=1e-11)
    assert accuracies(competitions) == near(by_hand(competitions, 0.0))
    seen, unseen = np.array(counted).T
    widths = seen[:-1] - seen[1:]
    heights = unseen[:-1] + unseen[1:]
    assert ausuc(competitions) == near(np.sum(widths * heights / 2))


def test_fifty_thousand_images_are_not_compared_in_pairs():
    """Which would take gigabytes, and minutes."""
    generator = np.random.default_rng(0)
    size = 25_000
    gaps = generator.normal([[1.0], [-1.0]], size=(2, size)).astype(np.float32)
    right = generator.random((2, size)) < 0.7
    labels = generator.integers(500, size=(2, size))
    large = Competition(*map(Competitors, gaps, right, labels))
    tracemalloc.start()
    assert 0 < ausuc([large]) < 0.7**2
    assert 0 < accuracies([large])[0] < 0.7
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500 * 2 * size  # bytes
