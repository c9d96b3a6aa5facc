"""The numbers of images that the choice of a study was trained and tested on, class by class."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from study.results.leaderboard import Leaderboard
from study.results.training_images import read_training_images
from study.trial.predictions import images_of


class ImageCounts(NamedTuple):
    """How many images of each class the choice was trained and tested on, with its first seed."""

    trained: Mapping[str, int] | None
    """The number of training images by class; None where they were not recorded."""
    tested: Mapping[tuple[str, str], int]
    """The number of test images by part and class."""
    order: Sequence[str]
    """The classes in the order of their dataset, where that was recorded."""


def image_counts(board: Leaderboard) -> ImageCounts:
    """Return how many images of each class the choice of validation was trained and tested on."""
    tested = []
    if board.chosen:
        tested = board.tested_trials(board.chosen.label)
    if not tested:
        return ImageCounts(None, {}, ())
    # Of a seed whose predictions are lost, no test images are known.
    first = min(tested, key=lambda trial: (not trial.confusion, trial.seed))
    tested_images = images_of(first.confusion)
    images = read_training_images(board.folder, first.split_hash)
    if images is None:
        return ImageCounts(None, tested_images, ())
    names = images.class_names
    trained = Counter(names[record.label] for record in images.records)
    return ImageCounts(trained, tested_images, names)
