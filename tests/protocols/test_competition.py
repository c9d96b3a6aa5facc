"""Where all names compete: the accuracies."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from study.protocols.competition import Competition, accuracies

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


def by_hand(competitions: Sequence[Competition]) -> tuple[float, float]:
    """Count what is right class by class."""
    seen, unseen = [], []
    for one in competitions:
        among_seen = one.seen.gap > 0
        among_unseen = ~(one.unseen.gap > 0)
        seen.append(class_average(one.seen.right & among_seen, one.seen.labels))
        unseen.append(class_average(one.unseen.right & among_unseen, one.unseen.labels))
    return float(np.mean(seen)), float(np.mean(unseen))


def class_average(right: Any, labels: Any) -> float:
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


@settings(deadline=None)
@given(folds)
@example([KNOWN])
def test_accuracies_are_what_counting_gives(competitions: list[Competition]):
    assert accuracies(competitions) == pytest.approx(by_hand(competitions), abs=1e-11)
