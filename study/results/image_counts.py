"""The numbers of images that the choice of a study was trained and tested on, class by class."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from study.results.leaderboard import Leaderboard
from study.results.study_results import Results
from study.results.training_images import read_training_images
from study.results.trial_results import TrialResult
from study.trial.predictions import images_of


@dataclass(frozen=True)
class ImageCounts:
    """How many images of each class the choice was trained and tested on, with its first seed."""

    trained: Mapping[str, int] | None
    """The number of training images by class; None where they were not recorded."""
    tested: Mapping[tuple[str, str], int]
    """The number of test images by part and class."""
    order: tuple[str, ...]
    """The classes in the order of their dataset, where that was recorded."""


def image_counts(results: Results, board: Leaderboard) -> ImageCounts:
    """Return how many images of each class what validation chose was trained and tested on."""
    label = board.chosen.label if board.chosen else None
    tested = (t for t in results.confirmed(label or "") if t.test_score is not None)
    first = min(tested, key=lambda trial: trial.seed, default=None)
    if first is None:
        return ImageCounts(None, {}, ())
    trained, order = _trained_on(results, first)
    return ImageCounts(trained, images_of(first.confusion), order)


def _trained_on(
    results: Results, trial: TrialResult
) -> tuple[Counter[str] | None, tuple[str, ...]]:
    """Return the training images of a trial by class, and the classes, from the record of them."""
    images = read_training_images(results.folder, trial.split_hash)
    if images is None:
        return None, ()
    names = images.class_names
    return Counter(names[record.label] for record in images.records), names
