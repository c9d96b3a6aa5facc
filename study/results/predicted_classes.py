"""What confirmed candidates take each test image for: shares of classes, and of images."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from study.config.labels import ZERO_SHOT
from study.errors import DataError
from study.results.leaderboard import Leaderboard
from study.results.study_results import Results
from study.results.trial_results import TrialResult
from study.trial.predictions import images_of, read_predictions


def class_accuracies(results: Results, board: Leaderboard) -> tuple[Any, ...]:
    """Return each class's accuracy before and after tuning, the worst of each part first.

    Returns:
        One row of `_shares` per class; none while validation has chosen no candidate.
    """
    shares = _shares(results, board)
    own = shares[shares["true"] == shares["predicted"]].sort_values(["part", "after", "true"])
    return tuple(own.itertuples(index=False))


def confusions(results: Results, board: Leaderboard, most: int | None = 12) -> tuple[Any, ...]:
    """Return the most frequent confusions on test of the chosen candidate, beside zero-shot.

    Args:
        results: the results of the study.
        board: its leaderboard.
        most: the largest number of confusions to return, as rows of `_shares`; None means all.
    """
    shares = _shares(results, board)
    wrong = shares[shares["true"] != shares["predicted"]].sort_values(
        ["after", "part", "true", "predicted"], ascending=[False, True, True, True]
    )
    return tuple(wrong[:most].itertuples(index=False))


def _shares(results: Results, board: Leaderboard) -> pd.DataFrame:
    """Return the shares of each class's images that are taken for each class, over all seeds.

    Returns:
        A row per pair of classes: the `part` of the test images ("accuracy" for all classes,
        "base", "new" or a transfer target), the `true` and the `predicted` class, the share
        `before`, of zero-shot predictions, and `after`, of those of the candidate that validation
        chose, as fractions, and the `gain`. Where the classes are the same, the share is the
        accuracy of the class. `before` and `gain` are None when zero-shot's were not recorded.
    """
    labels = (ZERO_SHOT, board.chosen.label) if board.chosen else ()
    before, after = [_shares_of(results.confirmed(label)) for label in labels] or ({}, {})
    rows = [
        (*pair, was, share, None if was is None else share - was)
        for pair, share in after.items()
        for was in [before.get(pair, 0.0) if before else None]
    ]
    return pd.DataFrame(rows, columns=["part", "true", "predicted", "before", "after", "gain"])


def _shares_of(trials: Sequence[TrialResult]) -> dict[tuple[str, str, str], float]:
    """Return shares by part, true and predicted class; every class's accuracy is among them."""
    counts = sum((trial.confusion for trial in trials), Counter[tuple[str, str, str]]())
    images = images_of(counts)
    own = ((part, true, true) for part, true in images)
    return {pair: counts[pair] / images[pair[:2]] for pair in (*counts, *own)}


def image_shares(results: Results, one: str, other: str) -> pd.DataFrame:
    """Return how often two candidates are right on each test image, over their common seeds.

    Args:
        results: the results of the study.
        one: the label of the first candidate.
        other: the label of the second.

    Returns:
        A row per image, by part, class and path, with the share of the common seeds in which the
        candidate `one` is right, that of the `other`, and the `gain`, the first less the second;
        then the number of `seeds`, and of those in which one alone is right and the other alone
        (`only_one`, `only_other`). No rows without a common seed that kept predictions.

    Raises:
        DataError: their predictions are not of the same images.
        LedgerError: a file of predictions is damaged.
    """
    first, second = (
        pd.DataFrame(
            {
                trial.seed: {(p.part, p.label, p.path): p.label == p.predicted for p in predictions}
                for trial in results.confirmed(label)
                if (predictions := read_predictions(results.folder, trial.trial_id))
            }
        )
        for label in (one, other)
    )
    seeds = first.columns.intersection(second.columns)
    if pd.concat([first[seeds], second[seeds]], axis=1).isna().any(axis=None):
        raise DataError(f"the predictions of '{one}' and '{other}' are not of the same test images")
    one_right, other_right = first[seeds].astype(bool), second[seeds].astype(bool)
    shares = pd.DataFrame({"one": one_right.mean(axis=1), "other": other_right.mean(axis=1)})
    counted = shares.assign(
        gain=shares["one"] - shares["other"],
        seeds=len(seeds),
        only_one=(one_right & ~other_right).sum(axis=1),
        only_other=(other_right & ~one_right).sum(axis=1),
    )
    found = counted.dropna().sort_index()  # without a seed, there is no mean
    index = pd.MultiIndex.from_tuples(found.index, names=["part", "class", "path"])
    return found.set_index(index)
