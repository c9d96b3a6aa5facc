"""Accuracy per class and confusions of confirmed candidates, before and after tuning."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from study.analysis.comparison import ZERO_SHOT, Leaderboard
from study.analysis.results import Results, TrialResult


@dataclass(frozen=True)
class ClassAccuracy:
    """One class in one part of the test images; accuracies are means over seeds, fractions."""

    part: str
    """The part of the test images: "accuracy" (all classes), "base", "new" or a transfer target."""
    name: str
    """The name of the class."""
    before: float | None
    """The zero-shot accuracy; None when it was not recorded."""
    after: float
    """The accuracy of the candidate that validation chose."""

    @property
    def gain(self) -> float | None:
        """The accuracy gained by tuning; None when the accuracy before it was not recorded."""
        return None if self.before is None else self.after - self.before


@dataclass(frozen=True)
class Confusion:
    """Images of one class taken for another, as a share of the images of the true class."""

    part: str
    """The part of the test images, as in `ClassAccuracy`."""
    true: str
    """The true class of the images."""
    predicted: str
    """The class that they were taken for."""
    before: float | None
    """The share of zero-shot predictions; None when it was not recorded."""
    after: float
    """The share of the predictions of the candidate that validation chose, over seeds."""


def class_accuracies(results: Results, board: Leaderboard) -> tuple[ClassAccuracy, ...]:
    """Return each class's accuracy before and after tuning, the worst of each part first.

    Returns:
        One entry per class; none while validation has chosen no candidate.
    """
    chosen = board.chosen
    if chosen is None:
        return ()
    before, after = (
        _mean_accuracy(results.confirmed(label)) for label in (ZERO_SHOT, chosen.label)
    )
    classes = [
        ClassAccuracy(part, name, before.get((part, name)), value)
        for (part, name), value in after.items()
    ]
    return tuple(sorted(classes, key=lambda entry: (entry.part, entry.after, entry.name)))


def confusions(results: Results, board: Leaderboard, most: int = 12) -> tuple[Confusion, ...]:
    """Return the most frequent confusions on test of the chosen candidate, beside zero-shot.

    Args:
        results: the results of the study.
        board: its leaderboard.
        most: the largest number of confusions to return.
    """
    chosen = board.chosen
    if chosen is None:
        return ()
    before, after = (_shares(results.confirmed(label)) for label in (ZERO_SHOT, chosen.label))
    ranked = sorted(after, key=lambda pair: (-after[pair], pair))[:most]
    return tuple(
        Confusion(*pair, before.get(pair, 0.0) if before else None, after[pair]) for pair in ranked
    )


def _mean_accuracy(trials: Sequence[TrialResult]) -> dict[tuple[str, str], float]:
    values: dict[tuple[str, str], list[float]] = {}
    for trial in trials:
        for part, accuracies in trial.per_class.items():
            for name, accuracy in accuracies.items():
                values.setdefault((part, name), []).append(accuracy)
    return {key: sum(found) / len(found) for key, found in values.items()}


def _shares(trials: Sequence[TrialResult]) -> dict[tuple[str, str, str], float]:
    """Return the share of each class's images taken for each other class, over all seeds.

    Returns:
        Shares by part, true class and predicted class.
    """
    wrong: Counter[tuple[str, str, str]] = Counter()
    images: Counter[tuple[str, str]] = Counter()
    for trial in trials:
        for part, matrix in trial.confusion.items():
            names: Sequence[str] = matrix["classes"]
            for true, predicted, number in matrix["pairs"]:
                images[part, names[true]] += number
                if predicted != true:
                    wrong[part, names[true], names[predicted]] += number
    return {key: number / images[key[:2]] for key, number in wrong.items()}
