"""Which class was taken for which on test, as a trial keeps it, and what guessing would score."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from study.protocols import Protocol
from study.storage.ledger import StudyFolder

_ROUNDING = 1e-9
"""Equal accuracies differ by less: one is a quotient of counts, the other a mean over seeds."""

Confusion = dict[str, dict[str, Any]]
"""Classes and pairs by the name of a part."""


def read_confusion(folder: StudyFolder, trial_id: str) -> Confusion:
    """Return classes and pairs per part of one trial; empty when none was kept.

    A pair is the positions of a true and a predicted class, and how many images it has.
    """
    parts: Confusion = folder.read_json(f"trials/{trial_id}/confusion.json") or {}
    for matrix in parts.values():
        # Earlier studies wrote every count, of true by predicted class.
        for true, row in enumerate(matrix.get("counts", ())):
            pairs = [[true, predicted, number] for predicted, number in enumerate(row) if number]
            matrix.setdefault("pairs", []).extend(pairs)
    return parts


def mean(accuracies: Sequence[float]) -> float:
    """Return the average over tasks, rounded so that equal averages are equal numbers.

    Ties between trials are then broken by their rule. Without rounding, folds with 41, 46, 47 and
    47 of 50 correct average to less than folds with 45, 45, 45 and 46.
    """
    return round(sum(accuracies) / len(accuracies), 12)


def chance_level(confusion: Confusion, protocol: Protocol) -> float | None:
    """Return what a trial would have scored on test by naming each part's largest class always.

    Where classes have equally many images that is one over their number, and never less. Parts
    make up a score as their accuracies do.

    Args:
        confusion: what `read_confusion` returned of the trial.
        protocol: the study's protocol.

    Returns:
        The score, a fraction; None when the trial kept no counts.
    """
    shares = {}
    for part, matrix in confusion.items():
        images: Counter[int] = Counter()
        for true, _, number in matrix["pairs"]:
            images[true] += number
        shares[part] = mean([max(images.values()) / images.total()])
    return protocol.score(shares)["score"] if shares else None


def beats_chance(test_score: float, chance: float | None) -> bool:
    """Return whether a mean test score is above chance; if chance is unknown, it counts as above.

    The test score decides although the choice is made by validation: what guesses as well on images
    that no choice has seen is of no use, whatever it scored before.
    """
    return chance is None or test_score > chance + _ROUNDING
