"""How well validation ranked the configurations that were tested."""

from collections.abc import Sequence
from typing import NamedTuple

from scipy import stats

from study.results.rows import Row

CLOSE_TO_BEST = 0.02
"""How far below the best by validation configurations count as close to it, a fraction.

A correlation over all is large where some configuration, such as CLIP as it is, is far below the
rest.
"""
_ROUNDING = 1e-9


class RankAgreement(NamedTuple):
    """Spearman's rank correlation.

    It has no p, since a p supposes independent configurations, and some of these differ by their
    head alone.
    """

    n: int
    """The number of pairs."""
    rho: float
    """1 for the same order, −1 for the reverse."""


class ValidationCheck(NamedTuple):
    """The agreement of validation and test about the rows of the leaderboard."""

    agreement: RankAgreement | None
    """The rank correlation of the rows' validation scores and mean test scores."""
    close: RankAgreement | None
    """The same for the rows that are at most `CLOSE_TO_BEST` below the best on validation."""


def check_validation(rows: Sequence[Row]) -> ValidationCheck:
    """Compare validation and test scores of the rows that validation ranked."""
    scores = [(row.val_score, row.test.mean) for row in rows if row.val_score is not None]
    threshold = max(scores, default=(0.0,))[0] - CLOSE_TO_BEST - _ROUNDING
    close = [pair for pair in scores if pair[0] >= threshold]
    return ValidationCheck(rank_agreement(scores), rank_agreement(close))


def rank_agreement(pairs: Sequence[tuple[float, float]]) -> RankAgreement | None:
    """Return Spearman's rho; None below three pairs or when one side is constant."""
    if len(pairs) < 3 or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return None
    return RankAgreement(len(pairs), float(stats.spearmanr(pairs).statistic))
