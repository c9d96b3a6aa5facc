"""Known data give the numbers that scipy and statsmodels give."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from study.results.intervals import MeanInterval, mean_interval
from study.results.statistics import (
    is_significant,
    make_comparisons,
    rank_agreement,
)
from tests.case_tables import from_table
from tests.not_none import not_none

# Sleep gained under two drugs by ten patients (Student, 1908).
FIRST = (0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)
SECOND = (1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)


def adjusted(*p_values: float | None) -> list[float | None]:
    """The p values of differences after the correction, in their order."""
    differences: dict[str, MeanInterval | None] = {}
    for number, p_value in enumerate(p_values):
        differences[f"{number}"] = MeanInterval(5, 0.1, 0.1, 0.0, 0.2, p_value=p_value)
    return [difference.holm_p for difference in make_comparisons(differences).values()]


def test_holm_is_that_of_statsmodels():
    for seed in range(5):
        p_values = np.random.default_rng(seed).uniform(0, 0.2, size=8).tolist()
        known = multipletests(p_values, method="holm")[1]
        assert adjusted(*p_values) == pytest.approx(tuple(known))


def test_holm_leaves_out_what_was_not_tested():
    assert adjusted(0.01, None, 0.04) == pytest.approx([0.02, None, 0.04])
    assert adjusted() == []
    assert make_comparisons({"not compared": None}) == {}


@pytest.mark.parametrize("tests", [1, 3, 13])
def test_a_detectable_difference_is_the_least_that_the_first_of_holms_tests_finds(tests: int):
    differences = {f"{n}": mean_interval([0.0, 0.1, 0.3]) for n in range(tests)}
    found = make_comparisons(differences)["0"].detectable
    critical = stats.t.ppf(1 - 0.05 / (2 * tests), 2) * stats.sem([0.0, 0.1, 0.3])
    assert found == pytest.approx(critical)
    mean = sum([0.0, 0.1, 0.3]) / 3
    for size, significant in ((critical * 0.999, False), (critical * 1.001, True)):
        moved = mean_interval([value - mean + size for value in (0.0, 0.1, 0.3)])
        corrected = make_comparisons(differences | {"0": moved})["0"]
        assert is_significant(corrected) is significant


def test_rank_agreement_is_that_of_scipy():
    found = rank_agreement([*zip(FIRST, SECOND, strict=True)])
    known = stats.spearmanr(FIRST, SECOND)
    assert (not_none(found).n, not_none(found).rho) == (10, pytest.approx(known.statistic))


@from_table
def test_too_little_to_rank_gives_no_agreement(pairs: list[tuple[float, float]]):
    assert rank_agreement(pairs) is None
