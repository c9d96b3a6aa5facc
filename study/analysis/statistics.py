"""Means, intervals, paired differences and rank agreement, computed with scipy.

Scores are fractions. A two-sided t interval over seeds covers only what changes with the seed, so
not the choice of the test images; a percentile interval over images drawn again covers that alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
DRAWS = 2_000
"""How many sets of images are drawn; an interval's half width is then known to about 3 %."""
LARGEST_BATCH = 2**23
"""The largest number of counts that are drawn at a time, which take 8 bytes each."""

# In float64, differences of fractions k/n that are mathematically equal differ by less than this.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Interval:
    """A 95 % interval, such as that of a mean over other test images."""

    low: float
    """The lower end."""
    high: float
    """The upper end."""

    @property
    def half_width(self) -> float:
        """Half the width of the interval, whose middle need not be the mean."""
        return (self.high - self.low) / 2


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
    images: Interval | None = None
    """The interval over test images drawn again; None where no predictions were kept."""

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
    """A candidate against another over common seeds, as one of several that are tested."""

    paired: PairedDifference
    """The difference, its interval and p over the common seeds."""
    holm_p: float | None
    """The p after Holm's correction for all that are tested."""


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
    # As many right images give one mean, whichever seed has them; the rest is rounding.
    mean = round(float(np.mean(values)), 9)
    if len(values) == 1:
        return Estimate(1, mean, None, None, None)
    sd = float(np.std(values, ddof=1))
    reach = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * sd / math.sqrt(len(values))
    return Estimate(len(values), mean, sd, mean - reach, mean + reach)


def resampled_means(values: np.ndarray, rng: np.random.Generator, draws: int = DRAWS) -> np.ndarray:
    """Return the means of columns over rows drawn again, the same rows for all columns.

    Args:
        values: ``(images, columns)``; a column for each trial, such as whether it is right.
        rng: the generator that draws.
        draws: how many sets of rows are drawn with replacement, each as large as the given one.

    Returns:
        The means, ``(draws, columns)``.
    """
    # How often each different row is drawn is multinomial, so that equal images are drawn at once.
    rows, counts = np.unique(values, axis=0, return_counts=True)
    images, rows = len(values), rows.astype(np.float64)
    batches = range(0, draws, batch := max(1, LARGEST_BATCH // len(rows)))
    drawn = (
        rng.multinomial(images, counts / images, size=min(batch, draws - start))
        for start in batches
    )
    return np.concatenate([counts @ rows for counts in drawn]) / images


def percentile_interval(drawn: np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """Return the percentile interval of what was computed on each set of images drawn again."""
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def bootstrap(
    values: Sequence[float], confidence: float = CONFIDENCE, *, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """Return the percentile interval of the mean of `values` over images drawn again.

    Args:
        values: a value of each test image, such as the share of seeds in which it is predicted
            rightly by one candidate less that by another.
        confidence: coverage of the interval.
        draws: how many sets of images are drawn.
        seed: the seed of the draws.

    Raises:
        ValueError: see `estimate`.
    """
    estimate(values)  # refuses what has no mean
    drawn = resampled_means(np.array(values)[:, None], np.random.default_rng(seed), draws)
    return percentile_interval(drawn[:, 0], confidence)


def proportion_difference(
    found: int, of: int, base_found: int, base_of: int, confidence: float = CONFIDENCE
) -> Interval:
    """Return the interval of the difference of two shares, by Newcombe's method 10.

    It is made of the Wilson intervals of both shares (Newcombe 1998, “Interval estimation for the
    difference between independent proportions”), so that it suits small numbers, and shares of 0
    and 1. The two groups are supposed to have no member in common.

    Args:
        found: how many members of the first group count.
        of: how many members it has, at least one.
        base_found: how many members of the second group count.
        base_of: how many members it has, at least one.
        confidence: coverage of the interval.
    """
    share, base = found / of, base_found / base_of
    own, other = (
        stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
        for k, n in ((found, of), (base_found, base_of))
    )
    return Interval(
        share - base - math.hypot(share - own.low, other.high - base),
        share - base + math.hypot(own.high - share, base - other.low),
    )


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
    return corrected(paired)


def corrected(paired: Mapping[str, PairedDifference]) -> dict[str, Comparison]:
    """Return differences with their p values after Holm's correction for their number."""
    p_values = holm([difference.p for difference in paired.values()])
    return dict(zip(paired, map(Comparison, paired.values(), p_values), strict=True))


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
