"""What confirmed candidates predict: each class before and after tuning, and image by image."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from study.analysis.formatting import spelt
from study.analysis.leaderboard import NAMES, PUBLISHED, TUNED, ZERO_SHOT, Leaderboard
from study.analysis.results import Results, TrialResult
from study.analysis.statistics import bootstrap
from study.trial.predictions import images_of, read_predictions


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
    return tuple(sorted(wrong, key=lambda s: (-s.after, s.part, s.true, s.predicted))[:most])


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


def image_gains(results: Results, one: str, other: str) -> dict[str, list[float]]:
    """Return how much more often one candidate is right than another, for each test image.

    Args:
        results: the results of the study.
        one: the label of the first candidate.
        other: the label of the second.

    Returns:
        By part, the share of the common seeds in which the first is right less that of the second,
        in the order of class and path; empty without a common seed that kept predictions.

    Raises:
        LedgerError: a file of predictions is damaged.
    """
    first, second = (
        {
            trial.seed: {(p.part, p.label, p.path): p.label == p.predicted for p in predictions}
            for trial in results.confirmed(label)
            if (predictions := read_predictions(results.folder, trial.trial_id))
        }
        for label in (one, other)
    )
    seeds = first.keys() & second.keys()
    gains: dict[str, list[float]] = defaultdict(list)
    for image in sorted(first[min(seeds)]) if seeds else ():
        right = [fmean(candidate[seed][image] for seed in seeds) for candidate in (first, second)]
        gains[image[0]].append(right[0] - right[1])
    return gains


def image_findings(results: Results, board: Leaderboard) -> tuple[str, ...]:
    """Return sentences on how the winner would compare with baselines on other test images.

    Returns:
        The sentences; none without a winner, or in a study that kept no predictions.
    """
    winner = board.winner
    if winner is None:
        return ()
    others = {
        entry.label: baseline
        for baseline in (PUBLISHED, TUNED)
        if (entry := board.entry(baseline)) is not None and entry is not winner
    }
    return tuple(
        f"Against {NAMES[baseline]}, over other test images (bootstrap): "
        + "; ".join(f"{part} {spelt(bootstrap(values))}" for part, values in gains.items())
        + "."
        for label, baseline in others.items()
        if (gains := image_gains(results, winner.label, label))
    )
