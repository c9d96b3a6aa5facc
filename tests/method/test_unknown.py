"""Whether an image is of none of the classes."""

import numpy as np
import pytest

from study.errors import DataError
from study.method.unknown import check_unknown, found_share, p_values, unknown_below
from tests.case_tables import from_table


@from_table
def test_an_unknown_image_is_less_like_its_class_than_all_but_a_share_of_the_known(
    percent: float, expected: int
):
    assert unknown_below(np.arange(19.0), percent) == expected


@pytest.mark.parametrize("percent", [4.9, 0, -1, 100, float("nan")])
def test_a_share_that_is_no_image_or_all_is_refused(percent: float):
    with pytest.raises(DataError, match="allowed is 5 or more, and below 100"):
        unknown_below(np.arange(19.0), percent)


@pytest.mark.parametrize("percent", [5, 12, 50, 99])
def test_the_share_that_is_found_is_that_below_the_threshold(percent: float):
    generator = np.random.default_rng(0)
    known, foreign = np.sort(generator.integers(0, 40, 57)), generator.integers(-10, 30, 31)
    below = foreign < unknown_below(known, percent)
    assert found_share(p_values(known, foreign), percent) == pytest.approx(below.mean())


def test_a_check_has_the_share_at_five_percent_and_the_area_of_the_curve():
    known, foreign = np.arange(19.0), [-1.0, 0.0, 17.5, 30.0]
    found, auroc = check_unknown(known, foreign)
    assert found == 1 / 4  # 0 is not below the least of 19
    assert check_unknown(known[:18], foreign).found is None
    assert auroc == pytest.approx(38.5 / 76)  # 19 + 18.5 + 1 + 0 pairs of 19 by 4
