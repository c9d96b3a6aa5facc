"""The order of validation scores is compared with that of test scores."""

import pytest
from scipy import stats

from study.results.validation_check import rank_agreement
from tests.not_none import not_none


def test_rank_agreement_is_that_of_scipy():
    first, second = (0.7, -1.6, -0.2, -1.2, 3.4, 3.7), (1.9, 0.8, 1.1, 0.1, 4.4, 5.5)
    found = not_none(rank_agreement([*zip(first, second, strict=True)]))
    known = stats.spearmanr(first, second).statistic
    assert (found.n, found.rho) == (6, pytest.approx(known))


@pytest.mark.parametrize("pairs", [[], [(1, 1), (2, 2)], [(1, 1), (1, 2), (1, 3)]])
def test_too_little_to_rank_gives_no_agreement(pairs: list[tuple[float, float]]):
    assert rank_agreement(pairs) is None
