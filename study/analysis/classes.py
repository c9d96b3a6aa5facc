"""What confirmed candidates take the images of each class for, before and after tuning."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from study.analysis.comparison import ZERO_SHOT, Leaderboard
from study.analysis.results import Results, TrialResult
from study.trial.predictions import images_of


@dataclass(frozen=True)
class ClassShare:
    """The share of the images of a class that are taken for one class, over all seeds.

    Where the predicted class is the true one, it is the accuracy of the class.
    """

    part: str
    """The part of the test images: "accuracy" (all classes), "base", "new" or a transfer target."""
    true: str
    """The true class of the images."""
    predicted: str
    """The class that they were taken for."""
    before: float | None
    """The share of zero-shot predictions, a fraction; None when they were not recorded."""
    after: float
    """The share of the predictions of the candidate that validation chose, a fraction."""

    @property
    def gain(self) -> float | None:
        """The share gained by tuning; None when the share before it was not recorded."""
        return None if self.before is None else self.after - self.before


def class_accuracies(results: Results, board: Leaderboard) -> tuple[ClassShare, ...]:
    """Return each class's accuracy before and after tuning, the worst of each part first.

    Returns:
        One entry per class; none while validation has chosen no candidate.
    """
    own = (share for share in _shares(results, board) if share.true == share.predicted)
    return tuple(sorted(own, key=lambda share: (share.part, share.after, share.true)))


def confusions(results: Results, board: Leaderboard, most: int = 12) -> tuple[ClassShare, ...]:
    """Return the most frequent confusions on test of the chosen candidate, beside zero-shot.

    Args:
        results: the results of the study.
        board: its leaderboard.
        most: the largest number of confusions to return.
    """
    wrong = (share for share in _shares(results, board) if share.true != share.predicted)
    ranked = sorted(wrong, key=lambda s: (-s.after, s.part, s.true, s.predicted))
    return tuple(ranked[:most])


def class_shares(trials: Sequence[TrialResult]) -> dict[tuple[str, str, str], float]:
    """Return the share of each class's images taken for each class, over all trials.

    Returns:
        Shares by part, true class and predicted class; the accuracy of every class is among them.
    """
    counts = sum((trial.confusion for trial in trials), Counter[tuple[str, str, str]]())
    images = images_of(counts)
    pairs = dict.fromkeys((*counts, *((part, true, true) for part, true in images)))
    return {pair: counts[pair] / images[pair[:2]] for pair in pairs}


def _shares(results: Results, board: Leaderboard) -> list[ClassShare]:
    labels = (ZERO_SHOT, board.chosen.label) if board.chosen else ()
    before, after = [class_shares(results.confirmed(label)) for label in labels] or ({}, {})
    return [
        ClassShare(*pair, before.get(pair, 0.0) if before else None, share)
        for pair, share in after.items()
    ]
