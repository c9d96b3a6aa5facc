"""Means, intervals, paired differences and rank agreement, all through scipy.

Scores are fractions. Every interval is a two-sided t interval over seeds: it covers what changes
with the seed and nothing else, so not the choice of the test images.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95

# Differences of fractions k/n that are equal on paper differ by this much at most in float64.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        n: number of values.
        mean: their mean.
        sd: sample standard deviation (n - 1); None for a single value.
        low: lower end of the interval; None for a single value.
        high: upper end of the interval; None for a single value.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval: what is printed after ±."""
        return None if self.high is None else self.high - self.mean


@dataclass(frozen=True)
class PairedDifference:
    """The mean of `value - base` over the seeds that both have.

    Attributes:
        difference: mean, sd and interval of the differences.
        p: two-sided p of the paired t test; None when one seed is common, or when all differ by
            the same amount: then there is no spread to test against.
        seeds: the common seeds.
    """

    difference: Estimate
    p: float | None
    seeds: tuple[int, ...]

    @property
    def within_noise(self) -> bool:
        """True when the interval contains 0, or when nothing could be tested."""
        low, high = self.difference.low, self.difference.high
        return self.p is None or low is None or high is None or low <= 0.0 <= high


@dataclass(frozen=True)
class RankAgreement:
    """Spearman's rank correlation; `p` is scipy's two-sided t approximation, rough for small n."""

    n: int
    rho: float
    p: float


@dataclass(frozen=True)
class Regret:
    """What selecting by validation cost on test.

    Attributes:
        picked: name with the highest validation score.
        best: name with the highest test score.
        loss: test score of `best` less that of `picked`; never negative.
    """

    picked: str
    best: str
    loss: float


def estimate(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Mean, sample standard deviation and t interval of `values`.

    Raises:
        ValueError: no values, a value that is not finite, or a confidence outside (0, 1).
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"values: expected at least one finite number, got {list(values)}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence: expected a number in (0, 1), got {confidence}")
    mean = float(np.mean(values))
    if len(values) == 1:
        return Estimate(1, mean, None, None, None)
    sd = float(np.std(values, ddof=1))
    reach = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * sd / math.sqrt(len(values))
    return Estimate(len(values), mean, sd, mean - reach, mean + reach)


def paired_difference(
    values: Mapping[int, float], base: Mapping[int, float], confidence: float = CONFIDENCE
) -> PairedDifference | None:
    """Compare two sets of scores, seed by seed.

    Args:
        values: score per seed.
        base: score per seed of what is compared against.
        confidence: coverage of the interval.

    Returns:
        The paired difference, or None when no seed is common.
    """
    seeds = tuple(sorted(values.keys() & base.keys()))
    if not seeds:
        return None
    differences = [values[seed] - base[seed] for seed in seeds]
    difference = estimate(differences, confidence)
    return PairedDifference(difference, _t_test(difference), seeds)


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Holm's step-down correction over one family of tests; a None is no test and stays None."""
    tests = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, index) in enumerate(tests):
        running = max(running, min(1.0, p * (len(tests) - rank)))
        adjusted[index] = running
    return tuple(adjusted)


def rank_agreement(first: Sequence[float], second: Sequence[float]) -> RankAgreement | None:
    """Spearman's rho; None below three pairs or when one side is constant."""
    if len(first) != len(second):
        raise ValueError(f"expected pairs, got {len(first)} and {len(second)} values")
    if len(first) < 3 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    result = stats.spearmanr(first, second)
    return RankAgreement(len(first), float(result.statistic), float(result.pvalue))


def regret(validation: Mapping[str, float], test: Mapping[str, float]) -> Regret | None:
    """The test score lost by picking the best on validation; None when no name is in both."""
    names = [name for name in validation if name in test]
    if not names:
        return None
    picked = max(names, key=lambda name: validation[name])
    best = max(names, key=lambda name: test[name])
    if test[picked] == test[best]:
        best = picked
    return Regret(picked, best, test[best] - test[picked])


def _t_test(difference: Estimate) -> float | None:
    if difference.sd is None:
        return None
    if difference.sd < _ROUNDING:
        return 1.0 if abs(difference.mean) < _ROUNDING else None
    t = difference.mean / (difference.sd / math.sqrt(difference.n))
    return float(2 * stats.t.sf(abs(t), difference.n - 1))
