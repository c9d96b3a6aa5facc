"""The labels of a study's training images that are to be checked, as its search trials doubt them.

Finished trials have scored validation images by models that were not trained on them. The mean over
the better half of these trials is an ensemble that costs no training. Of each model two
probabilities are kept: those of the class it predicts, and of the class that is given. The mean of
another class counts those models alone that predict it, so that it is rather too low.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from study.results.confident_learning import Floats, Labels, doubt_labels
from study.results.trial_results import PARTS, TrialResult
from study.selection.validation import SCHEMA, read_validation
from study.storage.study_folder import StudyFolder

OUT_OF_FOLD, SHIPPED = "out-of-fold", "what ships"
"""The models that doubt a label: those of search trials, or the one that ships."""


class DoubtedLabel(NamedTuple):
    """An image whose label is to be checked."""

    path: str
    """The image's path in its dataset."""
    given: str
    """The name of its class in the dataset."""
    suggested: str
    """The name of the class that the models find instead."""
    agree: int
    """The number of models that predict the suggested class."""
    models: int
    """The number of models that scored the image."""
    confidence: float
    """The mean probability of the given class."""
    source: str
    """`OUT_OF_FOLD` or `SHIPPED`."""

    @property
    def agreement(self) -> str:
        """How many models predict the suggested class."""
        return f"{self.agree} of {self.models}"


class LabelCheck(NamedTuple):
    """The labels that a study's search doubts."""

    doubted: tuple[DoubtedLabel, ...]
    """The doubted labels, the most doubtful first."""
    paths: frozenset[str]
    """The paths of the images that were scored."""
    trials: int
    """The number of trials that scored them."""


class Votes(NamedTuple):
    """What an ensemble makes of labelled images."""

    paths: Sequence[str]
    """The images' paths."""
    class_names: Sequence[str]
    """The names of the classes."""
    given: Labels
    """The label of each image, (images,)."""
    probabilities: Floats
    """The mean probability of each class, (images, classes)."""
    counts: Labels
    """The number of models that predict each class, (images, classes)."""

    def doubted(self, source: str) -> tuple[DoubtedLabel, ...]:
        """Return the doubted labels, the most doubtful first."""
        doubts = doubt_labels(self.probabilities, self.given)
        labels = []
        for image in doubts.doubted:
            given = self.given[image]
            suggested = doubts.suggested[image]
            counts = self.counts[image]
            label = DoubtedLabel(
                self.paths[image],
                self.class_names[given],
                self.class_names[suggested],
                int(counts[suggested]),
                int(counts.sum()),
                float(self.probabilities[image, given]),
                source,
            )
            labels.append(label)
        return tuple(labels)


def check_labels(folder: StudyFolder, trials: Iterable[TrialResult]) -> LabelCheck | None:
    """Return the labels that the better half of the search's finished trials doubt.

    Args:
        folder: the study's folder.
        trials: the study's trials.

    Returns:
        None if no such trial has kept its predictions of validation images.

    Raises:
        LedgerError: a file of a trial is damaged.
    """
    finished = [trial for trial in trials if (trial.stage, trial.status) == ("search", "finished")]
    finished.sort(key=lambda trial: trial.val_score or 0.0, reverse=True)
    tables = []
    for trial in finished[: (len(finished) + 1) // 2]:
        table = read_validation(folder.trial(trial.trial_id))
        if table is not None:
            tables.append(table.select(SCHEMA.names))
    if not tables:
        return None
    rows = pa.concat_tables(tables)
    is_trained = pc.not_equal(rows["part"], PARTS[1])  # class folds also score classes left out
    votes = ensemble_votes(rows.filter(is_trained))
    return LabelCheck(votes.doubted(OUT_OF_FOLD), frozenset(votes.paths), len(tables))


def ensemble_votes(rows: pa.Table) -> Votes:
    """Return what all models together make of images.

    Args:
        rows: a row for each image and model, with the columns of `SCHEMA`.
    """
    paths, image = np.unique(rows["path"].to_pylist(), return_inverse=True)
    labels = rows["label"].to_pylist()
    names, classes = np.unique(labels + rows["predicted"].to_pylist(), return_inverse=True)
    label, predicted = np.split(classes, 2)
    given = np.zeros(len(paths), np.int64)
    given[image] = label
    counts = np.zeros((len(paths), len(names)), np.int64)
    np.add.at(counts, (image, predicted), 1)
    sums = np.zeros(counts.shape)
    np.add.at(sums, (image, predicted), rows["probability"].to_numpy())
    sums[np.arange(len(paths)), given] = np.bincount(image, rows["true_probability"].to_numpy())
    means = sums / counts.sum(axis=1, keepdims=True)
    return Votes(paths.tolist(), names.tolist(), given, means, counts)
