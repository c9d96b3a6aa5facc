"""A rule that gives a candidate no further seeds once it is told apart from the winner.

After each seed from the `FIRST_LOOK`-th to the last but one, the paired differences to the winner
are tested, each time at `ERROR` over the number of these looks. So by Bonferroni's inequality a
candidate that equals the winner on these test images is stopped with a probability of at most
`ERROR`. On other images it may equal the winner all the same: that an image is scored differently
is noise as well, which the intervals count and this rule does not.
"""

from collections.abc import Collection, Mapping, Sequence

from scipy import stats

from study.config.schema import BEST_PEER, FIRST_LOOK, TUNED, WITH_DELTA
from study.trial.study import BEST, Candidate

ERROR = 0.05
"""The probability that a candidate which equals the winner on the test images is stopped."""
_ROUNDING = 1e-12
"""Below this, differences that are mathematically equal may differ."""


def looks(seeds: int) -> range:
    """Return the numbers of seeds after which candidates may be stopped."""
    return range(FIRST_LOOK, seeds)


def told_apart(differences: Sequence[float], seeds: int) -> bool:
    """Return whether a look finds a candidate other than the winner.

    Args:
        differences: the candidate's scores less the winner's, seed by seed.
        seeds: the number of seeds that the study has.
    """
    # Without any spread there is nothing to test against.
    if len(differences) < FIRST_LOOK or max(differences) - min(differences) < _ROUNDING:
        return False
    return bool(stats.ttest_1samp(differences, 0.0).pvalue < ERROR / len(looks(seeds)))


def stopped(
    candidates: Collection[Candidate],
    scores: Mapping[str, Mapping[int, float]],
    seeds: Sequence[int],
) -> dict[str, int]:
    """Return after how many seeds candidates are stopped, by label; the others are left out.

    A look depends on the seeds before it alone, so that a later answer agrees with this one.

    Args:
        candidates: the candidates.
        scores: the test score of each seed that has one, a fraction, by a candidate's label.
        seeds: all seeds of the study, in their order.
    """
    kept = never_stopped(candidates)
    winner = next((c.same_as or c.label for c in candidates if c.label == BEST), "")
    found: dict[str, int] = {}
    for label, own in scores.items():
        for count in looks(len(seeds)) if label not in kept else ():
            common = [s for s in seeds[:count] if s in own and s in scores.get(winner, {})]
            if told_apart([own[seed] - scores[winner][seed] for seed in common], len(seeds)):
                found[label] = count
                break
    return found


def never_stopped(candidates: Collection[Candidate]) -> set[str]:
    """Return the labels of the candidates that have all seeds, whatever they score.

    They are the winner, the two that it is compared with by a test that is fixed beforehand, and
    the one that is registered.
    """
    peers = [c for c in candidates if c.settings.is_peer and c.val_score is not None]
    best = max(peers, key=lambda c: c.val_score or 0.0, default=None)
    labels = {BEST, TUNED, BEST_PEER, WITH_DELTA, *([best.label] if best else ())}
    return labels | {c.same_as for c in candidates if c.label in labels and c.same_as}
