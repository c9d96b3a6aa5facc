"""Paired differences, correction for their number, shares and rank agreement, with scipy.

Scores are fractions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from scipy import stats

from study.results.intervals import CONFIDENCE, Interval, MeanInterval

SIGNIFICANCE = 0.05
"""The largest Holm-corrected p that counts as more than noise."""


@dataclass(frozen=True)
class PairedDifference:
    """The mean of `value - base` over the seeds that both have."""

    difference: MeanInterval
    """The mean, standard deviation and interval of the differences."""
    seeds: tuple[int, ...]
    """The common seeds."""

    @property
    def p_value(self) -> float | None:
        """The two-sided p of no difference; None where nothing can be tested."""
        return self.difference.p_value

    @property
    def within_noise(self) -> bool:
        """Whether the widest interval contains 0, or nothing could be tested."""
        return self.difference.within_noise


@dataclass(frozen=True)
class Comparison:
    """A candidate against another over common seeds, as one of several that are tested."""

    paired: PairedDifference
    """The difference, its interval and p over the common seeds."""
    holm_p: float | None
    """The p after Holm's correction for all that are tested."""


@dataclass(frozen=True)
class RankAgreement:
    """Spearman's rank correlation.

    It has no p: candidates are no sample of independent ones, since some differ by a head alone.
    """

    n: int
    """The number of pairs."""
    rho: float
    """1 for the same order, −1 for the reverse."""


@dataclass(frozen=True)
class Regret:
    """The test score that selecting by validation lost."""

    picked: str
    """The name with the highest validation score."""
    best: str
    """The name with the highest test score."""
    loss: float
    """The test score of `best` minus that of `picked`; never negative."""


def proportion_difference(found: int, of: int, base_found: int, base_of: int) -> Interval:
    """Return the 95 % interval of the difference of two shares, by Newcombe's method 10.

    It is made of the Wilson intervals of both shares (Newcombe 1998, “Interval estimation for the
    difference between independent proportions”), so that it suits small numbers, and shares of 0
    and 1. The two groups are supposed to have no member in common.

    Args:
        found: how many members of the first group count.
        of: how many members it has, at least one.
        base_found: how many members of the second group count.
        base_of: how many members it has, at least one.
    """
    share, base = found / of, base_found / base_of
    own, other = (
        stats.binomtest(k, n).proportion_ci(CONFIDENCE, method="wilson")
        for k, n in ((found, of), (base_found, base_of))
    )
    return Interval(
        share - base - math.hypot(share - own.low, other.high - base),
        share - base + math.hypot(own.high - share, base - other.low),
    )


def is_significant(comparison: Comparison | None) -> bool:
    """Return whether a difference is not 0, by its interval and after Holm's correction."""
    return (
        comparison is not None
        and not comparison.paired.within_noise
        and comparison.holm_p is not None
        and comparison.holm_p <= SIGNIFICANCE
    )


def common_seeds(scores: Sequence[Mapping[int, float]]) -> tuple[int, ...]:
    """Return the seeds that all of some scores have, in their order."""
    return tuple(sorted(set.intersection(*map(set, scores))))


def make_comparisons(paired: Mapping[str, PairedDifference]) -> dict[str, Comparison]:
    """Return differences with their p values after Holm's correction for their number."""
    p_values = adjust_by_holm([difference.p_value for difference in paired.values()])
    return dict(zip(paired, map(Comparison, paired.values(), p_values), strict=True))


def adjust_by_holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return p values after Holm's step-down correction over one family; None stays None."""
    tests = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    steps = (min(1.0, p * (len(tests) - rank)) for rank, (p, _) in enumerate(tests))
    adjusted = {index: p for (_, index), p in zip(tests, accumulate(steps, max), strict=True)}
    return tuple(map(adjusted.get, range(len(p_values))))


def rank_agreement(first: Sequence[float], second: Sequence[float]) -> RankAgreement | None:
    """Return Spearman's rho; None below three pairs or when one side is constant."""
    if len(first) < 3 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    result = stats.spearmanr(first, second)
    return RankAgreement(len(first), float(result.statistic))


def regret(validation: Mapping[str, float], test: Mapping[str, float]) -> Regret | None:
    """Return the test score lost by picking the best on validation; None if no name is in both."""
    names = [name for name in validation if name in test]
    if not names:
        return None
    picked = max(names, key=lambda name: validation[name])
    best = max(names, key=lambda name: (test[name], name == picked))
    return Regret(picked, best, test[best] - test[picked])
