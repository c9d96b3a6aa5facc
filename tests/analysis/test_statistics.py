"""Known data give the numbers that scipy and statsmodels give."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep
from statsmodels.stats.weightstats import DescrStatsW

from study.analysis.statistics import (
    bootstrap,
    estimate,
    holm,
    paired_difference,
    proportion_difference,
    rank_agreement,
    regret,
)

# Sleep gained under two drugs by ten patients (Student, 1908).
FIRST = (0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)
SECOND = (1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)


def by_seed(values: tuple[float, ...]) -> dict[int, float]:
    return dict(enumerate(values))


def test_the_estimate_is_that_of_statsmodels() -> None:
    found, known = estimate(FIRST), DescrStatsW(FIRST)
    assert (found.n, found.mean) == (10, pytest.approx(0.75))
    assert found.sd == pytest.approx(stats.tstd(FIRST))
    assert (found.low, found.high) == pytest.approx(known.tconfint_mean(0.05))
    assert found.half_width == pytest.approx((found.high or 0) - found.mean)


def test_a_single_value_has_no_interval() -> None:
    found = estimate([0.5])
    assert (found.mean, found.sd, found.low, found.half_width) == (0.5, None, None, None)


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [float("inf")]])
def test_an_estimate_of_nothing_or_of_nan_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        estimate(values)


def test_the_paired_difference_is_students() -> None:
    found = paired_difference(by_seed(SECOND), by_seed(FIRST))
    known = stats.ttest_rel(SECOND, FIRST)
    assert found is not None
    assert found.difference.mean == pytest.approx(1.58)
    assert found.p == pytest.approx(known.pvalue) == pytest.approx(0.00283, abs=1e-5)
    ends = known.confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx((ends.low, ends.high))
    assert not found.within_noise


def test_only_common_seeds_are_paired() -> None:
    found = paired_difference({1: 0.5, 2: 0.6, 3: 0.9}, {2: 0.5, 3: 0.6, 4: 0.1})
    assert found is not None
    assert found.seeds == (2, 3)
    assert found.difference.mean == pytest.approx(0.2)
    assert paired_difference({1: 0.5}, {2: 0.5}) is None


def test_a_difference_whose_interval_holds_zero_is_within_noise() -> None:
    found = paired_difference({1: 0.50, 2: 0.52, 3: 0.51}, {1: 0.51, 2: 0.50, 3: 0.51})
    assert found is not None
    assert found.within_noise


def test_equal_scores_do_not_differ() -> None:
    found = paired_difference({1: 0.5, 2: 0.6}, {1: 0.5, 2: 0.6})
    assert found is not None
    assert (found.p, found.within_noise) == (1.0, True)


def test_differences_without_spread_are_not_tested() -> None:
    found = paired_difference({1: 0.5, 2: 0.7}, {1: 0.4, 2: 0.6})
    assert found is not None
    assert (found.p, found.within_noise) == (None, True)


def test_one_common_seed_tests_nothing() -> None:
    found = paired_difference({1: 0.9}, {1: 0.5})
    assert found is not None
    assert (found.p, found.within_noise) == (None, True)


def test_holm_is_that_of_statsmodels() -> None:
    for seed in range(20):
        p_values = np.random.default_rng(seed).uniform(0, 0.2, size=8).tolist()
        known = multipletests(p_values, method="holm")[1]
        assert holm(p_values) == pytest.approx(tuple(known))


def test_holm_leaves_out_what_was_not_tested() -> None:
    assert holm([0.01, None, 0.04]) == pytest.approx((0.02, None, 0.04))
    assert holm([]) == ()


def test_rank_agreement_is_that_of_scipy() -> None:
    found, known = rank_agreement(FIRST, SECOND), stats.spearmanr(FIRST, SECOND)
    assert found is not None
    assert (found.n, found.rho) == (10, pytest.approx(known.statistic))
    assert found.p == pytest.approx(known.pvalue)


@pytest.mark.parametrize(("first", "second"), [([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3])])
def test_too_little_to_rank_gives_no_agreement(first: list[float], second: list[float]) -> None:
    assert rank_agreement(first, second) is None


def test_regret_is_what_the_validated_pick_loses_on_test() -> None:
    found = regret({"a": 0.9, "b": 0.8, "c": 1.0}, {"a": 0.7, "b": 0.75})
    assert found is not None
    assert (found.picked, found.best) == ("a", "b")
    assert found.loss == pytest.approx(0.05)


def test_a_tie_on_test_is_no_regret() -> None:
    found = regret({"a": 0.8, "b": 0.9}, {"a": 0.7, "b": 0.7})
    assert found is not None
    assert (found.picked, found.best, found.loss) == ("b", "b", 0.0)


@pytest.mark.parametrize(("right", "images"), [(70, 100), (5, 8), (1990, 2000)])
def test_the_bootstrap_of_an_accuracy_is_binomial(right: int, images: int) -> None:
    found = bootstrap([1.0] * right + [0.0] * (images - right))
    known = stats.binom.ppf([0.025, 0.975], images, right / images) / images
    assert (found.low, found.high) == pytest.approx(known, abs=1.001 / images)


def test_the_bootstrap_of_differences_is_that_of_scipy() -> None:
    differences = np.subtract(SECOND, FIRST)
    known = stats.bootstrap((differences,), np.mean, method="percentile", random_state=1)
    found = bootstrap(differences.tolist())
    interval = known.confidence_interval
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.05)
    narrow = bootstrap(differences.tolist(), confidence=0.5)
    assert found.low < narrow.low < differences.mean() < narrow.high < found.high
    assert found.half_width == pytest.approx((found.high - found.low) / 2)


def test_the_bootstrap_is_the_same_every_time() -> None:
    values = [0.0, 1 / 3, 2 / 3, 1.0] * 20
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values) != bootstrap(values, seed=1)
    assert (bootstrap([0.25] * 9).low, bootstrap([0.25] * 9).high) == (0.25, 0.25)
    with pytest.raises(ValueError, match="at least one finite number"):
        bootstrap([])


@pytest.mark.parametrize(
    ("found", "of", "base_found", "base_of", "low", "high"),
    [  # Newcombe 1998, table II, method 10
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (10, 10, 0, 20, 0.6791, 1.0),
        (0, 10, 0, 20, -0.1611, 0.2775),
    ],
)
def test_the_difference_of_shares_is_newcombes(
    found: int, of: int, base_found: int, base_of: int, low: float, high: float
) -> None:
    interval = proportion_difference(found, of, base_found, base_of)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=2e-4)
    known = confint_proportions_2indep(found, of, base_found, base_of, method="newcomb")
    assert (interval.low, interval.high) == pytest.approx(known)
