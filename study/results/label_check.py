"""Training images that are likely mislabelled, as the best configuration's own folds see them.

Its models have scored validation images that they were not trained on. Of each image and model two
probabilities are kept: those of the class it predicts, and of the class that is given. The mean of
another class counts those models alone that predict it, so that it is rather too low.

The confident joint of given and latent classes states how many labels are wrong. Which ones, states
the probability of the given class, whose order found more wrong labels than the joint itself.

Source: Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
Labels".
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from study.results.trial_results import PARTS
from study.storage.study_folder import StudyFolder
from study.trial.predictions import read_validation

MIN_ACCURACY = 0.5
"""The least accuracy of models whose predictions question labels: of thirty classes of photographs,
models that were right on a third questioned half of all labels."""
_ROUNDING = 1e-9
"""By how much a probability may be below the mean of equal ones."""
Labels = npt.NDArray[np.int64]


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
    """The training images of a study that are likely mislabelled."""

    likely_mislabelled: tuple[MislabelledImage, ...]
    """These images, that with the least probable label first; none if `reliable` is false."""
    images: int
    """The number of images that were scored."""
    accuracy: float
    """The share of the images whose given label the models predict, a fraction."""

    @property
    def reliable(self) -> bool:
        """Whether the models are accurate enough to question labels."""
        return self.accuracy >= MIN_ACCURACY


def check_labels(folder: StudyFolder, trial_id: str) -> LabelCheck | None:
    """Return the labels that are likely wrong, by the models of a trial's folds.

    Args:
        folder: the study's folder.
        trial_id: the id of a trial of the search.

    Returns:
        None if the trial has kept no predictions of validation images.

    Raises:
        FolderError: its file is damaged.
    """
    table: pa.Table | None = read_validation(folder.trial(trial_id))
    if table is None:
        return None
    rows = table.filter(pc.not_equal(table["part"], PARTS[1]))  # whose classes were left out
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
    suggested = means.argmax(axis=1)
    check = LabelCheck((), len(paths), float(np.mean(suggested == given)))
    if not check.reliable:
        return check
    found = []
    for n in find_mislabelled(means, given):
        texts = str(paths[n]), str(names[given[n]]), str(names[suggested[n]])
        found.append(MislabelledImage(*texts, float(means[n, given[n]])))
    return check._replace(likely_mislabelled=tuple(found))


def find_mislabelled(probabilities: npt.NDArray[np.float64], given: Labels) -> Labels:
    """Return the numbers of images whose labels are likely wrong, the least probable label first.

    They are as many as there are images off the diagonal of the confident joint, less those whose
    label is the most probable class. In the joint, an image counts for the most probable of the
    classes whose probability is at least their threshold, which is the mean over the images that
    have this class as their label.

    Args:
        probabilities: those of each class by models that did not see the image, (images, classes).
        given: the label of each image, (images,).
    """
    confidence = probabilities[np.arange(len(given)), given]
    classes = probabilities.shape[1]
    counts = np.bincount(given, minlength=classes)
    sums = np.bincount(given, weights=confidence, minlength=classes)
    with np.errstate(invalid="ignore"):  # a class without images has no threshold
        thresholds = sums / counts - _ROUNDING
    confident = np.where(probabilities >= thresholds, probabilities, 0.0)
    off_diagonal = confident.max(axis=1) > confident[np.arange(len(given)), given]
    first = confidence.argsort(kind="stable")[: off_diagonal.sum()]
    likely: Labels = first[probabilities[first].max(axis=1) > confidence[first]]
    return likely
