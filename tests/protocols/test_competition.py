"""Where all names compete: accuracies, the area under their curve, and the best calibration."""

import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from study.protocols.competition import (
    Competition,
    accuracies,
    ausuc,
    best_calibration,
    hmean,
)

Images = Sequence[tuple[float, bool, int]]
"""Gap, whether the best name of its own kind is right, and class, of each image."""


def competition(seen: Images, unseen: Images) -> Competition:
    """Make a competition of images."""
    columns = [
        np.array(column) for images in (seen, unseen) for column in zip(*images, strict=True)
    ]
    return Competition(*columns)


KNOWN = competition(
    # Class 0 has three images and class 1 has one; the second of class 0 is right among no names.
    seen=[(2.0, True, 0), (4.0, False, 0), (-1.0, True, 0), (1.0, True, 1)],
    unseen=[(-2.0, True, 7), (1.0, True, 7), (3.0, True, 8), (-3.0, False, 8)],
)


def test_the_best_calibration_has_a_known_value() -> None:
    # Of the pairs of KNOWN, (5/6, 1/4) has the highest mean: any number from -2 to -1 gives it.
    assert best_calibration([KNOWN]) == (-1.5, pytest.approx(5 / 13, abs=1e-11))
    moved = competition(seen=[(5.0, True, 0)], unseen=[(3.0, True, 1)])
    assert best_calibration([moved]) == (4.0, 1.0)


def test_without_a_better_one_there_is_no_calibration() -> None:
    hopeless = competition(seen=[(5.0, False, 0), (4.0, True, 0)], unseen=[(9.0, False, 1)])
    assert best_calibration([hopeless]) == (0.0, 0.0)
    assert ausuc([hopeless]) == 0.0


def test_of_equally_good_calibrations_the_least_is_taken() -> None:
    # Images of wrong names part the same accuracies; between 1 and 5 any number serves.
    one = competition(
        seen=[(5.0, True, 0), (4.0, False, 0)], unseen=[(1.0, True, 1), (2.0, False, 1)]
    )
    assert best_calibration([one]) == (3.0, 0.5)
    # 1.5 and 3.5 give (3/4, 1/2) and (1/2, 3/4).
    two = competition(
        seen=[(9.0, True, 0), (8.0, True, 0), (3.0, True, 0), (0.5, True, 0)],
        unseen=[(1.0, True, 1), (0.6, True, 1), (4.0, True, 1), (8.5, True, 1)],
    )
    assert accuracies([two], 2.0) == (0.75, 0.5)
    assert accuracies([two], 6.0) == (0.5, 0.75)
    assert best_calibration([two]) == (2.0, pytest.approx(0.6))


def test_neighbouring_numbers_are_parted() -> None:
    first = np.nextafter(1.0, 2.0)
    # Of the number half-way, the first pair's lower one is the nearest, and the second's upper one.
    for low, high in ((1.0, first), (first, np.nextafter(first, 2.0))):
        one = competition(seen=[(high, True, 0)], unseen=[(low, True, 1)])
        assert best_calibration([one]) == (low, 1.0)


def test_an_image_without_a_gap_is_right_nowhere() -> None:
    broken = competition(seen=[(np.nan, True, 0), (1.0, True, 0)], unseen=[(np.nan, True, 1)])
    assert accuracies([broken]) == (0.5, 0.0)
    assert accuracies([broken], -9.0) == (0.5, 0.0)
    assert best_calibration([broken]) == (0.0, 0.0)


# Few values, so that gaps are equal within and between both kinds of images.
images = st.lists(
    st.tuples(st.integers(-6, 6).map(float), st.booleans(), st.integers(0, 3)),
    min_size=1,
    max_size=12,
)
folds = st.lists(st.builds(competition, images, images), min_size=1, max_size=3)


def by_hand(competitions: Sequence[Competition], calibration: float) -> tuple[float, float]:
    """Count, image by image and class by class, what a calibration gets right."""
    kinds: Any = ([], [])
    for one in competitions:
        seen = one.seen_right & (one.seen_gap - calibration > 0)
        unseen = one.unseen_right & ~(one.unseen_gap - calibration > 0)
        pairs = ((seen, one.seen_labels), (unseen, one.unseen_labels))
        for kind, (right, labels) in zip(kinds, pairs, strict=True):
            kind.append(np.mean([right[labels == c].mean() for c in set(labels.tolist())]))
    return float(np.mean(kinds[0])), float(np.mean(kinds[1]))


EVERY = np.arange(-7, 7.5, 0.5)
"""A calibration at each gap and between each two, from below all to above all."""


@settings(deadline=None)
@given(folds)
@example([KNOWN])
def test_every_calibration_gives_what_counting_gives(competitions: list[Competition]) -> None:
    for calibration in EVERY:
        expected = by_hand(competitions, calibration)
        assert accuracies(competitions, calibration) == pytest.approx(expected, abs=1e-11)


@settings(deadline=None)
@given(folds)
def test_no_calibration_is_better_than_the_best(competitions: list[Competition]) -> None:
    calibration, best = best_calibration(competitions)
    means = [hmean(*by_hand(competitions, tried)) for tried in EVERY]
    assert best == pytest.approx(max(means), abs=1e-11)
    assert hmean(*accuracies(competitions, calibration)) == pytest.approx(best, abs=1e-11)
    assert calibration == 0.0 or best > hmean(*accuracies(competitions))


@settings(deadline=None)
@given(folds)
@example([KNOWN])
def test_the_area_is_that_of_the_curve_of_all_calibrations(
    competitions: list[Competition],
) -> None:
    seen, unseen = np.array([by_hand(competitions, tried) for tried in EVERY]).T
    area = np.sum((seen[:-1] - seen[1:]) * (unseen[:-1] + unseen[1:]) / 2)
    assert ausuc(competitions) == pytest.approx(area, abs=1e-11)


def test_fifty_thousand_images_are_not_compared_in_pairs() -> None:
    """Which would take gigabytes, and minutes."""
    generator = np.random.default_rng(0)
    size = 25_000
    columns: list[Any] = []
    for centre in (1.0, -1.0):
        columns.append(generator.normal(centre, size=size).astype(np.float32))
        columns.append(generator.random(size) < 0.7)
        columns.append(generator.integers(500, size=size))
    large = Competition(*columns)
    tracemalloc.start()
    assert 0 < ausuc([large]) < 0.7**2
    assert best_calibration([large])[1] < 0.7
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500 * 2 * size  # bytes
