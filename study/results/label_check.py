"""Training images that are likely mislabelled, as the best configuration's own folds see them.

Its models have scored validation images that they were not trained on. Of each image and model two
probabilities are kept: those of the class it predicts, and of the class that is given. The mean of
another class counts those models alone that predict it, so that it is rather too low.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from study.results.confident_learning import doubt_labels
from study.results.trial_results import PARTS
from study.storage.study_folder import StudyFolder
from study.trial.predictions import read_validation


class MislabelledImage(NamedTuple):
    """A training image whose label is likely wrong."""

    path: str
    """The image's path in its dataset."""
    given: str
    """The name of its class in the dataset."""
    suggested: str
    """The name of the class that the models find instead."""
    confidence: float
    """The mean probability of the given class."""


class LabelCheck(NamedTuple):
    """The labels of a study's training images that are likely wrong."""

    likely_mislabelled: tuple[MislabelledImage, ...]
    """These images, that with the least probable label first."""
    images: int
    """The number of images that were scored."""
    right: float
    """The share of the images whose given label the models predict, a fraction."""


def check_labels(folder: StudyFolder, trial_id: str) -> LabelCheck | None:
    """Return the labels that are likely wrong, by the models of a trial's folds.

    Args:
        folder: the study's folder.
        trial_id: the id of a trial of the search.

    Returns:
        None if the trial has kept no predictions of validation images.

    Raises:
        LedgerError: its file is damaged.
    """
    table = read_validation(folder.trial(trial_id))
    if table is None:
        return None
    rows = table.filter(pc.not_equal(table["part"], PARTS[1]))  # whose classes were left out
    return _check(rows)


def _check(rows: pa.Table) -> LabelCheck:
    """Return the labels that are likely wrong.

    Args:
        rows: a row for each image and model, with the columns `VALIDATION_COLUMNS`.
    """
    paths, image = np.unique(rows["path"].to_pylist(), return_inverse=True)
    labels = rows["label"].to_pylist()
    names, classes = np.unique(labels + rows["predicted"].to_pylist(), return_inverse=True)
    label, predicted = np.split(classes, 2)
    given = np.zeros(len(paths), np.int64)
    given[image] = label
    sums = np.zeros((len(paths), len(names)))
    np.add.at(sums, (image, predicted), rows["probability"].to_numpy())
    sums[np.arange(len(paths)), given] = np.bincount(image, rows["true_probability"].to_numpy())
    means = sums / np.bincount(image)[:, np.newaxis]
    doubts = doubt_labels(means, given)
    doubted = []
    for number in doubts.doubted:
        suggested, confidence = doubts.suggested[number], float(means[number, given[number]])
        own = (str(paths[number]), str(names[given[number]]), str(names[suggested]), confidence)
        doubted.append(MislabelledImage(*own))
    return LabelCheck(tuple(doubted), len(paths), float(np.mean(doubts.suggested == given)))
