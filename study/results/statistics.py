"""Paired differences, correction for their number, shares and rank agreement, with scipy.

Scores are fractions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, TypeVar

from scipy import stats

from study.results.intervals import SIGNIFICANCE, MeanInterval

Key = TypeVar("Key")
"""What names a difference, such as a label."""
SeedScores = Mapping[int, float]
"""The score of each seed."""


Finding = Literal["significant", "uncorrected", "not significant", "not tested"]
"""How sure a difference is; "uncorrected" is significant by its own interval, not after Holm's."""


class RankAgreement(NamedTuple):
    """Spearman's rank correlation.

    It has no p, since a p supposes independent candidates, and some of these differ by their head
    alone.
    """

    n: int
    """The number of pairs."""
    rho: float
    """1 for the same order, −1 for the reverse."""


def finding(difference: MeanInterval | None) -> Finding:
    """Return how sure a difference is, by its interval and after Holm's correction."""
    if not difference or difference.holm_p is None:
        return "not tested"
    if difference.within_noise:
        return "not significant"
    return "significant" if difference.holm_p <= SIGNIFICANCE else "uncorrected"


def is_significant(difference: MeanInterval | None) -> bool:
    """Return whether a difference is not 0, by its interval and after Holm's correction."""
    return finding(difference) == "significant"


def common_seeds(scores: Sequence[SeedScores]) -> list[int]:
    """Return the seeds that all the scores have in common, sorted."""
    return sorted(set.intersection(*map(set, scores)))


def make_comparisons(differences: Mapping[Key, MeanInterval | None]) -> dict[Key, MeanInterval]:
    """Return differences with their p values, corrected for their number by Holm's method.

    What could not be compared, and has no difference, is left out. What could not be tested, and
    has no p, does not count.
    """
    compared = {key: difference for key, difference in differences.items() if difference}
    tests = [(d.p_value, label) for label, d in compared.items() if d.p_value is not None]
    largest = 0.0
    for rank, (p_value, label) in enumerate(sorted(tests)):
        largest = max(largest, min(1.0, p_value * (len(tests) - rank)))
        compared[label] = replace(compared[label], holm_p=largest, tests=len(tests))
    return compared


def rank_agreement(pairs: Sequence[tuple[float, float]]) -> RankAgreement | None:
    """Return Spearman's rho; None below three pairs or when one side is constant."""
    if len(pairs) < 3 or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return None
    return RankAgreement(len(pairs), float(stats.spearmanr(pairs).statistic))
