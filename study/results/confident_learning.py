"""Confident learning: which given labels are doubtful, from probabilities out of sample.

The confident joint of given and latent classes says how many labels are wrong. Which ones, says the
probability of the given class, whose order found more wrong labels than that of the joint itself.

Source: Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
Labels".
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_ROUNDING = 1e-9
"""By how much a probability may be below the mean of equal ones."""

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


class Doubts(NamedTuple):
    """How doubtful the labels of images are."""

    order: Labels
    """The numbers of all images, (images,); the lower the probability of the label, the earlier."""
    doubted: Labels
    """The numbers of the images whose labels are to be checked, in this order."""
    suggested: Labels
    """The most probable class of each image, (images,)."""


def doubt_labels(probabilities: Floats, given: Labels) -> Doubts:
    """Doubt as many labels as there are images off the diagonal of the confident joint.

    In the joint, an image counts for the most probable of the classes whose probability is at least
    their threshold, which is the mean over the images that have this class as their label.

    Args:
        probabilities: those of each class by models that did not see the image, (images, classes).
        given: the label of each image, (images,).
    """
    images = np.arange(len(given))
    confidence = probabilities[images, given]
    classes = probabilities.shape[1]
    counts = np.bincount(given, minlength=classes)
    sums = np.bincount(given, weights=confidence, minlength=classes)
    with np.errstate(invalid="ignore"):  # a class without images has no threshold
        thresholds = sums / counts - _ROUNDING
    confident = np.where(probabilities >= thresholds, probabilities, 0.0)
    off_diagonal = confident.max(axis=1) > confident[images, given]
    order = confidence.argsort(kind="stable")
    first = order[: off_diagonal.sum()]
    doubted = first[probabilities[first].max(axis=1) > confidence[first]]
    return Doubts(order, doubted, probabilities.argmax(axis=1))
