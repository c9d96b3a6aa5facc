"""Means, intervals, paired differences and rank agreement, computed with scipy.

Scores are fractions. Every interval but that of `bootstrap` is a two-sided t interval over seeds:
it covers only what changes with the seed, so not the choice of the test images.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from scipy import stats

CONFIDENCE = 0.95

# In float64, differences of fractions k/n that are mathematically equal differ by less than this.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds."""

    n: int
    """The number of values."""
    mean: float
    """The mean of the values."""
    sd: float | None
    """The sample standard deviation (divisor n - 1); None for a single value."""
    low: float | None
    """The lower end of the interval; None for a single value."""
    high: float | None
    """The upper end of the interval; None for a single value."""

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval, which is printed after ±; None for a single value."""
        return None if self.high is None else self.high - self.mean


@dataclass(frozen=True)
class PairedDifference:
    """The mean of `value - base` over the seeds that both have."""

    difference: Estimate
    """The mean, standard deviation and interval of the differences."""
    p: float | None
    """The two-sided p of the paired t test.

    None when only one seed is common, or when all seeds differ by the same amount (not 0), which
    leaves no spread to test against.
    """
    seeds: tuple[int, ...]
    """The common seeds."""

    @property
    def within_noise(self) -> bool:
        """Whether the interval contains 0, or nothing could be tested."""
        low, high = self.difference.low, self.difference.high
        return self.p is None or low is None or high is None or low <= 0.0 <= high


@dataclass(frozen=True)
class Comparison:
    """A candidate against a baseline over common seeds."""

    paired: PairedDifference
    """The difference, its interval and p over the common seeds."""
    holm_p: float | None
    """The p after Holm's correction for all comparisons with the same baseline."""


@dataclass(frozen=True)
class RankAgreement:
    """Spearman's rank correlation; `p` is scipy's two-sided t approximation, rough for small n."""

    n: int
    rho: float
    p: float


@dataclass(frozen=True)
class Regret:
    """The test score that selecting by validation lost."""

    picked: str
    """The name with the highest validation score."""
    best: str
    """The name with the highest test score."""
    loss: float
    """The test score of `best` minus that of `picked`; never negative."""


def estimate(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Return the mean, sample standard deviation and t interval of `values`.

    Raises:
        ValueError: no values, or a value that is not finite.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"values: expected at least one finite number, got {list(values)}")
    mean = float(np.mean(values))
    if len(values) == 1:
        return Estimate(1, mean, None, None, None)
    sd = float(np.std(values, ddof=1))
    reach = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * sd / math.sqrt(len(values))
    return Estimate(len(values), mean, sd, mean - reach, mean + reach)


def bootstrap(
    values: Sequence[float], confidence: float = CONFIDENCE, *, draws: int = 10_000, seed: int = 0
) -> Estimate:
    """Return the mean of `values` with its percentile interval over images drawn again.

    Args:
        values: a value of each test image: whether it is predicted rightly, the share of seeds in
            which it is, or for a paired difference that of one candidate less that of another.
        confidence: coverage of the interval.
        draws: how many sets of images are drawn with replacement, each as large as the test set.
        seed: the seed of the draws.

    Raises:
        ValueError: see `estimate`.
    """
    found = estimate(values, confidence)
    # How often each different value is drawn is multinomial, so that no image is drawn by itself.
    different, counts = np.unique(values, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(found.n, counts / found.n, size=draws)
    ends = np.quantile(drawn @ different / found.n, [(1 - confidence) / 2, (1 + confidence) / 2])
    return replace(found, low=float(ends[0]), high=float(ends[1]))


def paired_difference(
    values: Mapping[int, float], base: Mapping[int, float]
) -> PairedDifference | None:
    """Compare two sets of scores, seed by seed.

    Args:
        values: score per seed.
        base: score per seed of the baseline.

    Returns:
        The difference `values - base`, or None when no seed is common.
    """
    seeds = tuple(sorted(values.keys() & base.keys()))
    if not seeds:
        return None
    difference = estimate([values[seed] - base[seed] for seed in seeds])
    return PairedDifference(difference, _t_test(difference), seeds)


def compare(scores: Mapping[str, Mapping[int, float]], baseline: str) -> dict[str, Comparison]:
    """Compare all others with a baseline over common seeds, corrected for their number.

    Args:
        scores: the score of each seed, by label.
        baseline: the label of the baseline; without scores of it, nothing is compared.
    """
    paired = {
        label: difference
        for label, values in scores.items()
        if label != baseline and (difference := paired_difference(values, scores.get(baseline, {})))
    }
    p_values = [difference.p for difference in paired.values()]
    return dict(zip(paired, map(Comparison, paired.values(), holm(p_values)), strict=True))


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return p values after Holm's step-down correction over one family; None stays None."""
    tests = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    steps = (min(1.0, p * (len(tests) - rank)) for rank, (p, _) in enumerate(tests))
    adjusted = {index: p for (_, index), p in zip(tests, accumulate(steps, max), strict=True)}
    return tuple(map(adjusted.get, range(len(p_values))))


def rank_agreement(first: Sequence[float], second: Sequence[float]) -> RankAgreement | None:
    """Return Spearman's rho and its p; None below three pairs or when one side is constant."""
    if len(first) < 3 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    result = stats.spearmanr(first, second)
    return RankAgreement(len(first), float(result.statistic), float(result.pvalue))


def regret(validation: Mapping[str, float], test: Mapping[str, float]) -> Regret | None:
    """Return the test score lost by picking the best on validation; None if no name is in both."""
    names = [name for name in validation if name in test]
    if not names:
        return None
    picked = max(names, key=lambda name: validation[name])
    best = max(names, key=lambda name: (test[name], name == picked))
    return Regret(picked, best, test[best] - test[picked])


def _t_test(difference: Estimate) -> float | None:
    if difference.sd is None:
        return None
    if difference.sd < _ROUNDING:
        return 1.0 if abs(difference.mean) < _ROUNDING else None
    t = difference.mean / (difference.sd / math.sqrt(difference.n))
    return float(2 * stats.t.sf(abs(t), difference.n - 1))
