"""The classes that tested candidates predict for test images."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from study.config.labels import ZERO_SHOT
from study.results.leaderboard import Leaderboard
from study.results.trial_results import TrialResult
from study.trial.predictions import Confusion, images_of


def class_accuracies(board: Leaderboard) -> list[Any]:
    """Return each class's accuracy before and after tuning, the worst of each part first.

    Returns:
        A row per class, with the columns `part`, `true` and `predicted`, which are the same class,
        `before`, `after` and `gain`: the accuracy of zero-shot, that of the choice, and their
        difference, as fractions. `before` and `gain` are None if zero-shot's predictions were not
        recorded. No rows while validation has chosen no candidate.
    """
    shares = _confusion_shares(board)
    accuracies = shares[shares["true"] == shares["predicted"]]
    accuracies = accuracies.sort_values(["part", "after", "true"])
    return list(accuracies.itertuples(index=False))


def confusions(board: Leaderboard) -> list[Any]:
    """Return the chosen candidate's confusions on test, with zero-shot's shares, by frequency.

    Args:
        board: the leaderboard of the study.

    Returns:
        A row per pair of classes, with the columns `part`, `true` and `predicted`, and `before`,
        `after` and `gain`: the share of the images of the true class that zero-shot takes for the
        predicted one, the share that the choice does, and their difference, as fractions. The
        `count` is how often the choice does, over all seeds.
    """
    shares = _confusion_shares(board)
    wrong = shares[shares["true"] != shares["predicted"]]
    wrong = wrong.sort_values(
        ["after", "part", "true", "predicted"], ascending=[False, True, True, True]
    )
    return list(wrong.itertuples(index=False))


def _confusion_shares(board: Leaderboard) -> pd.DataFrame:
    """Return the share of each true class's images that is predicted as each class, over seeds.

    Returns:
        A row per pair of classes: the `part` of the test images ("accuracy" for all classes,
        "base", "new" or a transfer target), the `true` and the `predicted` class, and two shares,
        as fractions: `before`, by zero-shot, and `after`, by the candidate that validation chose.
        The `gain` is their difference. Where the classes are the same, the share is the accuracy of
        the class. `before` and `gain` are None if zero-shot's predictions were not recorded.
    """
    zero_shot = _shares_by_classes(_summed(board.test_trials(ZERO_SHOT)))
    rows = []
    counts = _counts(board)
    for (part, true, predicted), after in _shares_by_classes(counts).items():
        before = gain = None
        if zero_shot:
            before = zero_shot.get((part, true, predicted), 0.0)
            gain = after - before
        rows.append((part, true, predicted, before, after, gain, counts[part, true, predicted]))
    columns = ["part", "true", "predicted", "before", "after", "gain", "count"]
    return pd.DataFrame(rows, columns=columns)


def mean_f1(board: Leaderboard) -> float | None:
    """Return the F1 of the chosen candidate, averaged over classes and parts (macro-F1).

    It is that of the answers of all seeds. None while nothing was tested.
    """
    counts = _counts(board)
    answers: Counter[tuple[str, str]] = Counter()
    for (part, _, predicted), number in counts.items():
        answers[part, predicted] += number
    f1 = [
        2 * counts[part, true, true] / (images + answers[part, true])
        for (part, true), images in images_of(counts).items()
    ]
    return sum(f1) / len(f1) if f1 else None


def _counts(board: Leaderboard) -> Confusion:
    """Return the answers of the chosen candidate, counted over its seeds; empty without one."""
    if board.chosen is None:
        return Counter()
    return _summed(board.test_trials(board.chosen.label))


def _summed(trials: Sequence[TrialResult]) -> Confusion:
    return sum((trial.confusion for trial in trials), Counter())


def _shares_by_classes(counts: Confusion) -> dict[tuple[str, str, str], float]:
    """Return shares by part, true class and predicted class, with the accuracy of every class."""
    images = images_of(counts)
    pairs = dict.fromkeys(counts)
    pairs.update(dict.fromkeys((part, true, true) for part, true in images))
    return {pair: counts[pair] / images[pair[:2]] for pair in pairs}
