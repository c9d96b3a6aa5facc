"""The range of pixels that a user or the file of a model names."""

import pytest

from study.data.images.image_reading import check_range
from study.errors import DataError


def test_a_range_is_two_finite_numbers_the_lower_one_first():
    assert check_range([0, 4095]) == (0, 4095)


@pytest.mark.parametrize("values", [[1], [1, 2, 3], [2, 1], [1, 1], [0, 1e999], [-1e308, 1e308]])
def test_another_range_is_refused(values: list[float]):
    with pytest.raises(DataError, match="pixel_range is "):
        check_range(values)
