"""The test images class by class: what the best configuration takes them for."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from study.results.statistics import MeanInterval, recall_intervals
from study.results.trial_results import TrialResult
from study.trial.predictions import Confusion, images_of


class ClassRow(NamedTuple):
    """One class in one part of the test images; shares are fractions of its images."""

    part: str
    """The part of the test images: "accuracy" for all classes, "base", "new" or a dataset."""
    name: str
    """The class."""
    trained: int | None
    """The number of images that were trained on with the first seed; None where it is not known."""
    tested: int
    """The number of its test images with the first seed."""
    before: float | None
    """The recall of zero-shot CLIP; None if its predictions were not kept."""
    after: float
    """The recall of the best configuration, over all seeds."""
    recall: MeanInterval | None
    """The same with an interval; see `recall_intervals`."""


@dataclass(frozen=True)
class ConfusedPair:
    """A class, and another one that some of its images are taken for; shares are fractions."""

    part: str
    true: str
    predicted: str
    before: float | None
    """The share of the images of the true class that zero-shot takes for the predicted one."""
    after: float
    """The share that the best configuration does, over all seeds."""
    count: int
    """How often it does, over all seeds."""


@dataclass(frozen=True)
class Classes:
    """The test images of the best configuration by validation, class by class."""

    rows: Sequence[ClassRow]
    """The classes, the worst of each part first; empty if no predictions were kept."""
    confused: Sequence[ConfusedPair]
    """The pairs of classes that are confused, the most frequent first."""


def make_classes(
    trials: Sequence[TrialResult],
    zero_shot: Sequence[TrialResult],
    trained: Mapping[str, str] | None,
    *,
    overlap: float | None,
    datasets: Collection[str],
) -> Classes:
    """Summarize what a configuration takes test images for.

    Args:
        trials: its test trials, one a seed.
        zero_shot: the test trials of zero-shot CLIP.
        trained: the class of each training image of its first seed; None if they are not known.
        overlap: the mean share of training images that two seeds have in common.
        datasets: the parts that are further datasets, whose classes are not trained.
    """
    counts = _summed(trials)
    shares, before = _shares(counts), _shares(_summed(zero_shot))
    recalls = recall_intervals(trials, overlap)
    trained_of = Counter(trained.values()) if trained else None
    tested = images_of(first_seed(trials).confusion) if trials else Counter()
    rows, confused = [], []
    for (part, true, predicted), after in shares.items():
        share_before = before.get((part, true, predicted), 0.0) if before else None
        if true != predicted:
            count = counts[part, true, predicted]
            confused.append(ConfusedPair(part, true, predicted, share_before, after, count))
            continue
        # Classes of another dataset are not trained, even where they have the same name.
        of_class = trained_of[true] if trained_of is not None and part not in datasets else None
        recall = recalls.get((part, true))
        rows.append(ClassRow(part, true, of_class, tested[part, true], share_before, after, recall))
    return Classes(
        rows=sorted(rows, key=lambda row: (row.part, row.after, row.name)),
        confused=sorted(confused, key=lambda p: (-p.after, p.part, p.true, p.predicted)),
    )


def first_seed(trials: Sequence[TrialResult]) -> TrialResult:
    """Return the trial of the first seed, of those that kept their predictions if any did."""
    return min(trials, key=lambda trial: (not trial.confusion, trial.seed))


def _summed(trials: Sequence[TrialResult]) -> Confusion:
    return sum((trial.confusion for trial in trials), Counter())


def _shares(counts: Confusion) -> dict[tuple[str, str, str], float]:
    """Return the share of each class's images by part, class and predicted class.

    Every class has its recall, even if no image was right.
    """
    images = images_of(counts)
    pairs = dict.fromkeys(counts)
    pairs.update(dict.fromkeys((part, true, true) for part, true in images))
    return {pair: counts[pair] / images[pair[:2]] for pair in pairs}
